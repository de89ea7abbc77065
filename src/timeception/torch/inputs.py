"""Checks of what is passed to a network."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from timeception import checks


def check_tensor(x: Any) -> None:
    """Check that an input is a floating-point tensor.

    Raises:
        TypeError: if it is something else, such as a numpy array or a tensor of pixel levels.
    """
    if isinstance(x, Tensor):
        if x.is_floating_point():
            return
        kind: Any = x.dtype
        advice = "Pass x.float(); to classify images, extract features from them first."
    else:
        kind = f"{type(x).__module__}.{type(x).__qualname__}"
        advice = "Pass torch.from_numpy(x).float()." if hasattr(x, "__array__") else ""
    raise TypeError(checks.problem("input", "be a floating-point torch.Tensor", kind, advice))
