"""torchvision's video models as backbones: ``torchvision:swin3d_t``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

SEGMENT_FRAMES = 16  # the shortest clip that all models accept


def _resnet(model: Any, x: Tensor) -> Tensor:
    for stage in (model.stem, model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
    return x


def _swin(model: Any, x: Tensor) -> Tensor:
    tokens = model.norm(model.features(model.pos_drop(model.patch_embed(x))))
    return tokens.permute(0, 4, 1, 2, 3)


def _mvit(model: Any, x: Tensor) -> Tensor:
    encoding = model.pos_encoding
    tokens = encoding(model.conv_proj(x).flatten(2).transpose(1, 2))
    size = (encoding.temporal_size, *encoding.spatial_size)
    for block in model.blocks:
        tokens, size = block(tokens, size)
    return model.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, size)


#: By class of model: how to compute its last map, and the name of its head.
_KINDS: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "VideoResNet": (_resnet, "fc"),
    "S3D": (lambda model, x: model.features(x), "classifier.1"),
    "SwinTransformer3d": (_swin, "head"),
    "MViT": (_mvit, "head.1"),
}


class TorchvisionVideoNetwork(FeatureNetwork):
    """A torchvision video model with ``features``, the map that its head pools, and ``logits``."""

    is_video = True
    endpoints = (FEATURES, LOGITS)
    default_endpoint = FEATURES

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, frames: Tensor, endpoint: str) -> Tensor:
        """(N, 3, T, H, W) to (N, C, T', H', W')."""
        if endpoint == LOGITS:
            return self.model(frames)[:, :, None, None, None]
        compute, _ = _KINDS[type(self.model).__name__]
        return compute(self.model, frames)


@register("torchvision:")
def torchvision_video(
    name: str,
    weights: str,
    endpoint: str | None,
    *,
    seed: int = 0,
    transform: Transform | None = None,
    batch_size: int = 2,
    frames_per_segment: int = SEGMENT_FRAMES,
) -> Backbone:
    """Any video model of torchvision: 3D, mixed and (2+1)D ResNets, S3D, Swin3D, MViT.

    Weights: ``"default"`` (torchvision's, downloaded), a file with torchvision's tensor names and
    any number of classes, or ``"random"``. Endpoints: ``features``, ``logits``. MViT requires 16
    frames per segment.

    Torchvision's transforms scale both sides (ResNets: 128 x 171, S3D: 256 x 256) without
    antialiasing; ours scale the short side with antialiasing.
    """
    from torchvision.models import get_model_weights, list_models, video

    member = name.removeprefix("torchvision:")
    checks.one_of("torchvision video model", member, list_models(module=video))
    default = get_model_weights(member).DEFAULT
    if weights == "default":
        try:
            model = _new(member, seed, weights=default)
        except OSError as error:
            advice = "Pass weights=FILE, or weights='random' for an untrained network."
            text = f"weights of {name!r} could not be fetched: {error}. {advice}"
            raise ValueError(text) from error
        record = WeightsRecord(str(default), "torchvision")
    elif weights == "random":
        model, record = _new(member, seed), WeightsRecord.random(seed)
    else:
        file = checkpoints.read_state(weights)
        model = _new(member, seed)
        _, name_of_head = _KINDS[type(model).__name__]
        head = file.state.get(f"{name_of_head}.weight")
        if head is not None:
            model = _new(member, seed, num_classes=head.shape[0])
        checkpoints.load_file(model, file, file.state, name)
        record = WeightsRecord(file.name, file.title)
    backbone = Backbone(
        name,
        TorchvisionVideoNetwork(model),
        transform or _transform(default.transforms()),
        record,
        endpoint=endpoint,
        frames_per_segment=frames_per_segment,
        batch_size=batch_size,
    )
    side = backbone.transform.crop or 224
    n_steps = backbone.output_shape(frames_per_segment, side, side)[1]
    backbone.temporal_stride = max(1, frames_per_segment // n_steps)
    return backbone


def _new(member: str, seed: int, weights: Any = None, **options: Any) -> Any:
    from torchvision.models import get_model

    with seeded(seed):
        return get_model(member, weights=weights, **options)


def _transform(preset: Any) -> Transform:
    short, crop, mode = preset.resize_size[0], preset.crop_size[0], preset.interpolation.value
    return Transform(short, crop, mode, tuple(preset.mean), tuple(preset.std))
