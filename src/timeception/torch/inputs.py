"""Checks of what is passed to a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from timeception import checks


def check_tensor(x: Any) -> None:
    """Check that an input is a floating-point tensor.

    Raises:
        TypeError: if it is something else, such as a numpy array or a tensor of pixel levels.
    """
    requirement = "be a floating-point torch.Tensor"
    if not isinstance(x, Tensor):
        kind = f"{type(x).__module__}.{type(x).__qualname__}"
        advice = "Pass torch.from_numpy(x).float()." if hasattr(x, "__array__") else ""
        raise TypeError(checks.problem("input", requirement, kind, advice))
    if not x.is_floating_point():
        raise TypeError(
            checks.problem(
                "input",
                requirement,
                x.dtype,
                "Pass x.float(); to classify images, extract features from them first.",
            )
        )


def channels_of(in_channels: int | Sequence[int]) -> int:
    """Return the number of channels, given directly or as the size of an N, C, T, H, W input."""
    if isinstance(in_channels, Sequence):
        checks.require(
            len(in_channels) == 5,
            "in_channels",
            "be a number, or the size of an input of 5 axes, N, C, T, H, W",
            tuple(in_channels),
        )
        in_channels = in_channels[1]
    return checks.positive_int("in_channels", in_channels)
