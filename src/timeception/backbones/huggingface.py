"""Video encoders of Hugging Face transformers as backbones: VideoMAE and V-JEPA 2."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from timeception import checks
from timeception.backbones.base import FEATURES, Backbone, FeatureNetwork, WeightsRecord, seeded
from timeception.backbones.registry import register
from timeception.video.transforms import Transform

_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # PIL's numbers, used in files of the hub
_PREPROCESSING_FILES = ("video_preprocessor_config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class _Kind:
    """The properties of a family of encoders.

    Args:
        encode: maps the model and (N, T, 3, H, W) to tokens (N, T' * H' * W', C).
        side: reads the required side of frames from the configuration.
        frames: reads the default number of frames per segment from the configuration.
        is_fixed_length: whether other numbers of frames are refused.
        resize_ratio: short side over ``side``, if no preprocessing file specifies it.
        unused: parts of the model that do not contribute to features.
    """

    encode: Callable[[Any, Tensor], Tensor]
    side: Callable[[Any], int]
    frames: Callable[[Any], int]
    is_fixed_length: bool
    resize_ratio: float = 1.0
    unused: tuple[str, ...] = ()


_KINDS = {
    "videomae": _Kind(
        encode=lambda model, clips: model(pixel_values=clips).last_hidden_state,
        side=lambda config: config.image_size,
        frames=lambda config: config.num_frames,
        is_fixed_length=True,
    ),
    "vjepa2": _Kind(
        encode=lambda model, clips: model.get_vision_features(clips),
        side=lambda config: config.crop_size,
        frames=lambda config: min(16, config.frames_per_clip),
        is_fixed_length=False,
        resize_ratio=256 / 224,
        unused=("predictor",),
    ),
}


class HuggingFaceNetwork(FeatureNetwork):
    """A transformers encoder whose patch tokens form a map, endpoint ``features``.

    Raises:
        ValueError: in ``forward``, if the encoder does not accept frames of that size or number.
    """

    is_video = True
    endpoints = (FEATURES,)
    default_endpoint = FEATURES

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model: Any = model
        for part in self.kind.unused:
            setattr(model, part, nn.Identity())

    @property
    def kind(self) -> _Kind:
        """The properties of the encoder's family."""
        return _KINDS[self.model.config.model_type]

    @property
    def tubelet(self) -> int:
        """Frames per token, that is, per output step."""
        return int(self.model.config.tubelet_size)

    def forward(self, frames: Tensor, endpoint: str) -> Tensor:
        """(N, 3, T, H, W) to (N, C, T / tubelet, H / patch, W / patch)."""
        config, kind = self.model.config, self.kind
        length, *sides = frames.shape[2:]
        side, number = kind.side(config), f"a multiple of {self.tubelet}"
        fits = sides == [side, side] and length % self.tubelet == 0
        if kind.is_fixed_length:
            number, fits = str(kind.frames(config)), fits and length == kind.frames(config)
        must = f"be of {side} x {side} pixels, {number} of them"
        checks.require(fits, "frames", must, tuple(frames.shape))
        tokens = kind.encode(self.model, frames.transpose(1, 2))
        patches = side // config.patch_size
        return tokens.transpose(1, 2).unflatten(2, (length // self.tubelet, patches, patches))


@register("hf:")
def huggingface(
    name: str,
    weights: str,
    endpoint: str | None,
    *,
    seed: int = 0,
    transform: Transform | None = None,
    batch_size: int = 1,
    frames_per_segment: int | None = None,
    **options: Any,
) -> Backbone:
    """VideoMAE and V-JEPA 2 encoders: patch tokens as maps, mean over a segment's steps.

    Names: ``hf:`` and a hub id (``hf:MCG-NJU/videomae-base``), a folder written by
    ``save_pretrained``, or ``videomae`` or ``vjepa2``, which have no weights. Weights:
    ``"default"`` (of the hub id or folder) or ``"random"``. Endpoint: ``features``.

    ``frames_per_segment`` is 16 by default; VideoMAE requires the number of its configuration (16),
    V-JEPA 2 takes any even number. Further options are fields of the model's configuration.

    Raises:
        ImportError: if transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        text = f"{name!r} requires transformers: pip install 'timeception[hf]'"
        raise ImportError(text) from error

    source = name.removeprefix("hf:")
    if source in _KINDS:
        must = f"be 'random' for {name!r}, which is only a configuration"
        advice = "For weights, name a hub id or a folder: 'hf:MCG-NJU/videomae-base'."
        checks.require(weights == "random", "weights", must, weights, advice)
        config = transformers.AutoConfig.for_model(source, **options)
    else:
        config = _from_hub(transformers.AutoConfig.from_pretrained, source, **options)
    checks.one_of(f"model type of {source!r}", config.model_type, tuple(_KINDS))
    advice = "A folder is part of the name: 'hf:FOLDER'."
    checks.one_of("weights", weights, ("default", "random"), advice)
    if weights == "random":
        with seeded(seed):
            model = transformers.AutoModel.from_config(config)
        record = WeightsRecord.random(seed)
    else:
        model = _loaded(source, config, transformers.AutoModel)
        record = WeightsRecord(source, f"transformers {config.model_type}")
    network = HuggingFaceNetwork(model)
    if transform is None:
        settings = {} if source in _KINDS else _preprocessing(source)
        transform = _transform(settings, network.kind, network.kind.side(config))
    return Backbone(
        name,
        network,
        transform,
        record,
        endpoint=endpoint,
        frames_per_segment=frames_per_segment or network.kind.frames(config),
        temporal_stride=network.tubelet,
        batch_size=batch_size,
    )


def _from_hub(read: Callable[..., Any], source: str, **options: Any) -> Any:
    """Read from the hub or a folder; errors name the source."""
    try:
        return read(source, **options)
    except (OSError, ValueError) as error:
        what = "neither a readable folder nor a hub id that could be fetched"
        raise ValueError(f"{source!r} is {what}: {error}") from error


def _loaded(source: str, config: Any, auto: Any) -> Any:
    """The model with its weights, which must be complete."""
    model, report = _from_hub(auto.from_pretrained, source, config=config, output_loading_info=True)
    unused = _KINDS[config.model_type].unused
    missing = [name for name in report["missing_keys"] if not name.startswith(unused or ("\0",))]
    wrong = sorted(missing)[:8] or report["mismatched_keys"]
    must = "contain every tensor of the encoder"
    checks.require(not wrong, f"weights of {source!r}", must, wrong)
    return model


def _preprocessing(source: str) -> Mapping[str, Any]:
    """The preprocessing file of a hub id or a folder."""
    from transformers.utils.hub import cached_file

    for file in _PREPROCESSING_FILES:
        path = cached_file(source, file, _raise_exceptions_for_missing_entries=False)
        if path is not None:
            settings: Mapping[str, Any] = json.loads(Path(path).read_text())
            return settings
    raise ValueError(
        f"{source!r} has no {' or '.join(_PREPROCESSING_FILES)}: "
        "specify the preprocessing of its weights with transform=Transform(...)."
    )


def _transform(settings: Mapping[str, Any], kind: _Kind, side: int) -> Transform:
    """The transform of a preprocessing file; ImageNet's for a configuration without weights."""
    size = settings.get("size", {})
    size = size if isinstance(size, Mapping) else {"shortest_edge": size}
    short = size.get("shortest_edge") or size.get("height") or int(side * kind.resize_ratio)
    imagenet = Transform()
    return Transform(
        resize=max(short, side),
        crop=side,
        interpolation=_INTERPOLATIONS.get(settings.get("resample", 2), "bilinear"),
        mean=tuple(settings.get("image_mean", imagenet.mean)),
        std=tuple(settings.get("image_std", imagenet.std)),
        scale=1 / settings.get("rescale_factor", 1 / 255),
    )
