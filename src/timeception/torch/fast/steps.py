"""Fused layers that process a video incrementally.

Each layer keeps the past timesteps that its temporal branches still need. Up to rounding, the
output steps are those of a single pass over the whole video, however it is divided into parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Self

import torch
from torch import Tensor

from timeception.spec import LayerSpec
from timeception.torch.fast.native import operators


class TorchSteps:
    """The state, in the middle of a video, of a layer that runs on PyTorch operations.

    A window of timesteps goes through the temporal branches as if it were the whole video. Output
    steps that see the padding at an inner end of the window are discarded.

    Args:
        spec: the layer.
        pointwise: maps an input to its pointwise convolutions, N, G, B, C_b, T, S.
        epilogue: maps those to the layer's output, N, C_out, T // 2, S.
    """

    def __init__(
        self,
        spec: LayerSpec,
        pointwise: Callable[[Tensor], Tensor],
        epilogue: Callable[[Tensor], Tensor],
    ) -> None:
        self._spec, self._pointwise, self._epilogue = spec, pointwise, epilogue
        self._kept: Tensor | None = None  # pointwise convolutions of recent timesteps
        self._first = 0  # timestep of the first of them; even
        self._n_outputs = 0

    def advance(self, x: Tensor, is_last: bool) -> Tensor:
        """Process the next timesteps, N, C, T, H, W; return the output steps they complete."""
        spec, height, width = self._spec, x.shape[3], x.shape[4]
        y = self._pointwise(x)
        window = y if self._kept is None else torch.cat([self._kept, y], dim=4)
        end = self._first + window.shape[4]
        ready = completed_outputs(end, spec.margin, is_last)
        n_new = ready - self._n_outputs
        if n_new:
            out = self._epilogue(window).narrow(2, self._n_outputs - self._first // 2, n_new)
        else:
            out = x.new_empty(x.shape[0], spec.out_channels, 0, height * width)
        first = max(self._first, (2 * ready - spec.margin) // 2 * 2)
        self._kept = window.narrow(4, first - self._first, end - first).clone()
        self._first, self._n_outputs = first, ready
        return out.unflatten(3, (height, width))

    def fork(self) -> Self:
        """Return an independent copy; tensors are shared, since they never change in place."""
        return copy(self)


class NativeSteps:
    """The state of a layer that runs on the C++ kernels: their rings of recent timesteps."""

    def __init__(self, spec: LayerSpec, folded: operators.FoldedArrays) -> None:
        self._spec, self._folded = spec, folded
        self._rings: Tensor | None = None
        self._n_steps = 0

    def advance(self, x: Tensor, is_last: bool) -> Tensor:
        """Process the next timesteps; return the output steps they complete."""
        if self._rings is None:
            self._rings = operators.new_rings(x, self._spec.out_channels)
        margin, n_steps = self._spec.margin, self._n_steps + x.shape[2]
        before = completed_outputs(self._n_steps, margin, is_last=False)
        n_outputs = completed_outputs(n_steps, margin, is_last) - before
        part = operators.VideoPart(self._n_steps, is_last, before, n_outputs)
        self._n_steps = n_steps
        return operators.evaluate_part(x, self._folded, part, self._rings)

    def fork(self) -> Self:
        """Return an independent copy."""
        other = copy(self)
        other._rings = None if self._rings is None else self._rings.clone()
        return other


class NetworkSteps:
    """The state of all layers, which run one after another."""

    def __init__(self, layers: Sequence[TorchSteps | NativeSteps]) -> None:
        self._layers = layers

    def advance(self, x: Tensor, is_last: bool) -> Tensor:
        """Process the next timesteps; return the output steps of the last layer."""
        for layer in self._layers:
            x = layer.advance(x, is_last)
        return x

    def fork(self) -> Self:
        """Return an independent copy."""
        return type(self)([layer.fork() for layer in self._layers])


def completed_outputs(timesteps: int, margin: int, is_last: bool) -> int:
    """Return the number of output steps of a layer that ``timesteps`` inputs complete."""
    return (timesteps if is_last else max(0, timesteps - margin)) // 2
