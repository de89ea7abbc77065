"""The settings of an extraction as a bank stores them, and the objects that they describe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from timeception import checks
from timeception.features.bank.store import timesteps_per_second
from timeception.features.extractor import DEFAULT_PRECISION, PRECISIONS
from timeception.features.segments import (
    FpsSegmenter,
    Segmenter,
    Segmenter2019,
    StrideSegmenter,
    default_stride,
)
from timeception.video import Transform
from timeception.video.sampling import LEGACY_SEGMENT_FRAMES, check_fps

if TYPE_CHECKING:
    from timeception.backbones import Backbone


def extraction_settings(
    backbone: Backbone,
    stride: int | None = None,
    map_size: tuple[int, int] | None = None,
    precision: str = DEFAULT_PRECISION,
    frames_2019: int | None = None,
    fps: float | None = None,
) -> dict[str, Any]:
    """Everything that determines the features of a video, as stored in a bank's settings.

    Segments start ``stride`` frames apart, or 1 / ``fps`` seconds apart; pass one of them at most.
    """
    checks.one_of("precision", precision, PRECISIONS)
    frames_per_segment = backbone.frames_per_segment
    if map_size is not None:
        _require_map_size(backbone, map_size)
    settings = {
        "kind": "extraction",
        "backbone": backbone.describe(),
        "frames_per_segment": frames_per_segment,
        **_spacing(stride, fps, frames_2019, frames_per_segment),
        "segment_mean": True,
        "map_size": None if map_size is None else list(map_size),
        "precision": precision,
    }
    if frames_2019 is not None:
        _require_frames_2019(frames_per_segment, frames_2019)
        settings["frames_2019"] = frames_2019
    return settings


def _spacing(
    stride: int | None, fps: float | None, frames_2019: int | None, frames_per_segment: int
) -> dict[str, Any]:
    """The time from one segment to the next, as stored in settings."""
    if fps is None:
        stride = default_stride(frames_per_segment) if stride is None else stride
        return {"stride": checks.positive_int("stride", stride)}
    advice = "Segments start at equal distances in frames, in seconds, or as in 2019."
    checks.require(stride is None, "stride", "be left out with fps", stride, advice)
    checks.require(frames_2019 is None, "frames_2019", "be left out with fps", frames_2019, advice)
    return {"fps": check_fps(fps)}


def _require_frames_2019(frames_per_segment: int, frames_2019: int) -> None:
    checks.positive_int("frames_2019", frames_2019)
    can = frames_per_segment in (1, LEGACY_SEGMENT_FRAMES)
    must = "be used with a backbone that takes 1 or 8 frames at once"
    checks.require(can, "frames_2019", must, f"{frames_per_segment} frames")
    is_whole = frames_2019 % frames_per_segment == 0
    checks.require(is_whole, "frames_2019", f"be a multiple of {frames_per_segment}", frames_2019)


def _require_map_size(backbone: Backbone, map_size: tuple[int, int]) -> None:
    checks.require(len(map_size) == 2, "map_size", "be (height, width)", map_size)
    for side in map_size:
        checks.positive_int("map_size", side)
    crop = backbone.transform.crop
    if crop is not None:
        height, width = backbone.map_size(crop, crop)
        fits = map_size[0] <= height and map_size[1] <= width
        must = f"be at most {height}x{width}, the size of the maps"
        checks.require(fits, "map_size", must, map_size)


def segmenter_of(settings: Mapping[str, Any]) -> Segmenter:
    """Make the segmenter that a bank's settings describe."""
    transform = Transform.from_dict(settings["backbone"]["transform"])
    frames_per_segment = settings["frames_per_segment"]
    if has_2019_segments(settings):
        return Segmenter2019(frames_per_segment, transform, settings["frames_2019"])
    fps = timesteps_per_second(settings)
    if fps is not None:
        return FpsSegmenter(frames_per_segment, transform, fps)
    return StrideSegmenter(frames_per_segment, transform, settings["stride"])


def has_2019_segments(settings: Mapping[str, Any]) -> bool:
    """Whether a bank's segments follow the 2019 code: spread over the video, they may repeat."""
    return settings.get("frames_2019") is not None


def restore_backbone(settings: Mapping[str, Any], weights: str | None = None) -> Backbone:
    """Make the backbone that computed a bank's features.

    Args:
        settings: of the bank.
        weights: the checkpoint file; ``None`` for a backbone with default or random weights.

    Raises:
        ValueError: if the features were imported, so their backbone is unknown, or if the
            weights differ.
    """
    from timeception.backbones import create_backbone

    made = settings.get("backbone") or {}
    advice = (
        "These features were imported; their backbone is unknown. Predict on feature files, or "
        "pass --bank BANK."
    )
    checks.require(bool(made), "settings", "name a backbone", settings.get("kind"), advice)
    source = made["weights"]["source"]
    options: dict[str, Any] = dict(made.get("options", {}))
    if weights is None and made["weights"]["family"] == "random":
        weights, seed = "random", re.search(r"seed (\d+)", source)
        options |= {"seed": int(seed[1])} if seed else {}
    transform = Transform.from_dict(made["transform"])
    name, wanted = made["name"], made["weights"]["sha256"]
    backbone = create_backbone(name, weights, made["endpoint"], transform=transform, **options)
    found = backbone.weights_hash
    must = f"be the weights of the bank ({source}, {wanted[:12]})"
    received = f"{backbone.weights.source}, {found[:12]}"
    advice = "Pass the checkpoint file as weights."
    checks.require(found == wanted, f"weights of {name!r}", must, received, advice)
    return backbone
