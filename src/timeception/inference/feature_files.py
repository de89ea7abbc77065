"""Features of one video in a file of any known format, for prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from timeception.features.bank import arrays


def is_feature_file(path: Path) -> bool:
    """Whether a file holds arrays, by its content; a missing file, by its suffix."""
    if path.is_file():
        return arrays.looks_like_arrays(path)
    return path.suffix.lower() in arrays.ARRAY_SUFFIXES


def read_features(
    path: Path, in_channels: int, key: str | None = None, axes: str | None = None
) -> NDArray[Any]:
    """Read the features of one video.

    Args:
        path: the file.
        in_channels: channels that the model takes; they help to infer the order of the axes.
        key: name of the array; ``None`` reads the only one.
        axes: order of the axes, such as ``"TC"``; ``None`` infers it from the shape.

    Shape:
        Returns (S, C, H, W).

    Raises:
        KeyRequiredError: if ``key`` does not select an array.
        AxesError: if the order cannot be inferred or does not fit.
        ValueError: if the file is damaged or of an unknown format.
    """
    found = arrays.load(path, key).features
    try:
        order = arrays.parse_axes(axes) if axes else _infer(found.shape, in_channels)
        return arrays.to_steps(found, order)
    except ValueError as error:
        raise AxesError(f"{path}: {error}") from error


class AxesError(ValueError):
    """The order of a file's axes is unknown, or does not fit its features."""


def _infer(shape: tuple[int, ...], in_channels: int) -> str:
    options = arrays.likely_axes(shape)
    fitting = [axes for axes in options if shape[axes.index("C")] == in_channels]
    if len(fitting) == 1:
        return fitting[0]
    fault = "fits no axis order" if not fitting else f"fits {' and '.join(fitting)}"
    raise ValueError(
        f"shape {shape} {fault} with the {in_channels} channels that the model takes. Pass --axes."
    )
