"""Any timm image model as a backbone with named maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from timeception import checks
from timeception.backbones import checkpoints
from timeception.backbones.base import (
    FEATURES,
    LOGITS,
    Backbone,
    FeatureNetwork,
    WeightsRecord,
    seeded,
)
from timeception.backbones.registry import register
from timeception.video.transforms import Transform


class TimmNetwork(FeatureNetwork):
    """A timm image model with named maps.

    ``features`` is the map that the model's head pools (for transformers, the normalised patch
    tokens as a map, without class and register tokens); ``stage0``, ``stage1``, ... are the maps
    of timm's ``forward_intermediates``; ``logits`` are the class scores.

    Raises:
        ValueError: if the model does not provide its intermediate maps.
    """

    default_endpoint = FEATURES

    def __init__(self, model: Any) -> None:
        super().__init__()
        has_maps = hasattr(model, "forward_intermediates")
        must = "provide its maps (forward_intermediates)"
        checks.require(has_maps, "timm model", must, type(model).__name__, "Use another model.")
        self.model: Any = model
        self.stages = tuple(f"stage{index}" for index in range(len(model.feature_info)))
        self.endpoints = (*self.stages, FEATURES, LOGITS)

    def forward(self, frames: Tensor, endpoint: str) -> Tensor:
        """(B, 3, H, W) to (B, C, H', W')."""
        if endpoint == LOGITS:
            return self.model(frames)[:, :, None, None]
        if endpoint == FEATURES:
            final, maps = self.model.forward_intermediates(frames, indices=1)
            return self._as_map(final, maps[-1].shape[-2:])
        options = {"stop_early": True, "intermediates_only": True}
        index = self.stages.index(endpoint)
        return self.model.forward_intermediates(frames, indices=[index], **options)[0]

    def _as_map(self, features: Tensor, grid: torch.Size) -> Tensor:
        """Reshape the input of the head's pooling to (B, C, H', W')."""
        is_map = isinstance(features, Tensor) and features.ndim in (3, 4)
        must, advice = "be one map or its tokens", f"Use one of {', '.join(self.stages)}."
        checks.require(is_map, "endpoint 'features'", must, type(self.model).__name__, advice)
        if features.ndim == 4:
            is_channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            return features.permute(0, 3, 1, 2) if is_channels_last else features
        n_prefix = features.shape[1] - grid.numel()  # class, distillation and register tokens
        return features[:, n_prefix:].transpose(1, 2).unflatten(2, grid)


def timm_transform(config: dict[str, Any]) -> Transform:
    """The preprocessing of a timm model's weights, from its ``pretrained_cfg``.

    The short side is resized to crop / ``crop_pct``, then the centre is cropped. This applies to
    weights evaluated on squashed images (``crop_mode="squash"``) too: videos keep their aspect
    ratio.
    """
    crop, mean, std = config["input_size"][-1], tuple(config["mean"]), tuple(config["std"])
    return Transform(int(crop / config["crop_pct"]), crop, config["interpolation"], mean, std)


def new_model(name: str, seed: int, **options: Any) -> Any:
    """Make a timm model with random weights that depend only on ``seed``.

    Raises:
        ValueError: if timm has no model of that name; the error suggests the nearest one.
    """
    import timm

    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        hint = checks.did_you_mean(base, timm.list_models())
        raise ValueError(checks.problem("backbone", "name a timm model", f"timm:{name}", hint))
    if tag:
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
        checks.one_of(f"weights tag of 'timm:{base}'", tag, tags)
    with seeded(seed):
        return timm.create_model(name, **options)


def timm_backbone(
    name: str,
    model_name: str,
    weights: str,
    endpoint: str | None,
    *,
    seed: int = 0,
    transform: Transform | None = None,
    batch_size: int = 16,
    **options: Any,
) -> Backbone:
    """Make the backbone ``name`` from timm's model ``model_name``; see ``timm_model``."""
    if weights == "default":
        try:
            model = new_model(model_name, seed, pretrained=True, **options)
        except (OSError, RuntimeError) as error:
            advice = "Pass weights=FILE, or weights='random' for an untrained network."
            what = f"weights of 'timm:{model_name}' could not be fetched"
            raise ValueError(f"{what}: {error}\n{advice}") from error
        config = model.pretrained_cfg
        source = config.get("hf_hub_id") or config.get("url") or config.get("file")
        record = WeightsRecord(f"{source}", "timm", config.get("license") or "unknown")
    elif weights == "random":
        model = new_model(model_name, seed, **options)
        record = WeightsRecord.random(seed)
    else:
        file = checkpoints.read_state(weights)
        model = new_model(model_name, seed, **options)
        head = file.state.get(f"{model.pretrained_cfg.get('classifier')}.weight")
        if head is not None and head.shape[0] != model.num_classes:
            model = new_model(model_name, seed, **{**options, "num_classes": head.shape[0]})
        checkpoints.load_file(model, file, file.state, name)
        record = WeightsRecord(file.name, file.title)
    network, transform = TimmNetwork(model), transform or timm_transform(model.pretrained_cfg)
    return Backbone(name, network, transform, record, endpoint=endpoint, batch_size=batch_size)


@register("timm:")
def timm_model(name: str, weights: str, endpoint: str | None, **options: Any) -> Backbone:
    """Any timm image model: ``timm:resnet50``, ``timm:vit_small_patch14_dinov2.lvd142m``.

    Names may have a weights tag. Weights: ``"default"`` (timm's, from the Hugging Face hub), a file
    with timm's tensor names, or ``"random"``. Endpoints: ``features``, ``stage0``, ..., ``logits``.
    Further options are arguments of ``timm.create_model``.
    """
    return timm_backbone(name, name.removeprefix("timm:"), weights, endpoint, **options)


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

    Weights: ``"default"`` (torchvision's ImageNet weights, from timm's hub); a file with the tensor
    names of torchvision and timm, with or without the prefix ``module.`` and with any number of
    classes, such as gsig's ``resnet_rgb.pth.tar`` of Charades; or ``"random"``. Endpoints:
    ``features``, ``stage0`` to ``stage4``, ``logits``. The default transform is ImageNet's: short
    side 256, crop 224, mean and std per channel.
    """
    model = "resnet152.tv_in1k"
    return timm_backbone(
        name, model, weights, endpoint, seed=seed, transform=transform, batch_size=batch_size
    )
