"""The 2D-ResNet-152 of the published results on Charades."""

from __future__ import annotations

from timeception.backbones.base import Backbone
from timeception.backbones.image import timm_backbone
from timeception.backbones.registry import register
from timeception.video.transforms import Transform


@register("r2d_152")
def r2d_152(
    name: str,
    weights: str,
    endpoint: str | None,
    *,
    seed: int = 0,
    transform: Transform | None = None,
    batch_size: int = 16,
) -> Backbone:
    """ResNet-152 on single frames: 2048 channels, 7x7 at 224, after the last block (res5c).

    Args:
        name: ``"r2d_152"``.
        weights: ``"default"`` (torchvision's ImageNet weights, from timm's hub); a file with the
            tensor names of torchvision and timm, with or without the prefix ``module.`` and with
            any number of classes, such as gsig's ``resnet_rgb.pth.tar`` of Charades; or
            ``"random"``.
        endpoint: ``features``, ``stage0`` to ``stage4``, ``logits``.
        seed: of random weights.
        transform: replaces ImageNet's: short side 256, crop 224, mean and std per channel.
        batch_size: images in one pass.
    """
    return timm_backbone(
        name,
        "resnet152.tv_in1k",
        weights,
        endpoint,
        seed=seed,
        transform=transform,
        batch_size=batch_size,
    )
