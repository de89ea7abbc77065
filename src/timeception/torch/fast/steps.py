"""Fused layers that take a video's timesteps as they come.

Each keeps what its temporal branches still need of the past. However the timesteps are divided
into parts, the output steps are those of the whole video at once, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Protocol, Self

import torch
from torch import Tensor

from timeception.spec import LayerSpec
from timeception.torch.fast.native import operators


class Steps(Protocol):
    """What follows a video, layer by layer or all layers together."""

    def advance(self, x: Tensor, is_last: bool) -> Tensor:
        """Take the next timesteps, N, C, T, H, W; give the output steps that become known."""

    def fork(self) -> Self:
        """A copy that goes its own way."""


class TorchSteps:
    """A layer on PyTorch's own operations.

    A window of timesteps goes through the temporal branches as if it were the whole video; the
    output steps near an inner end, which saw its padding, are left out.

    Args:
        spec: the layer.
        pointwise: from an input to its pointwise convolutions, N, G, B, C_b, T, S.
        mix: from those to the layer's output, N, C_out, T // 2, S.
    """

    def __init__(
        self,
        spec: LayerSpec,
        pointwise: Callable[[Tensor], Tensor],
        mix: Callable[[Tensor], Tensor],
    ) -> None:
        self._spec, self._pointwise, self._mix = spec, pointwise, mix
        self._kept: Tensor | None = None  # the pointwise convolutions of the last timesteps
        self._first = 0  # index of the first of them; even
        self._n_outputs = 0

    def advance(self, x: Tensor, is_last: bool) -> Tensor:
        """Take the next timesteps; give the output steps that become known."""
        spec, height, width = self._spec, x.shape[3], x.shape[4]
        y = self._pointwise(x)
        window = y if self._kept is None else torch.cat([self._kept, y], dim=4)
        known = self._first + window.shape[4]
        ready = known_outputs(known, spec.margin, is_last)
        n_new = ready - self._n_outputs
        if n_new:
            out = self._mix(window).narrow(2, self._n_outputs - self._first // 2, n_new)
        else:
            out = x.new_empty(x.shape[0], spec.out_channels, 0, height * width)
        first = max(self._first, (2 * ready - spec.margin) // 2 * 2)
        self._kept = window.narrow(4, first - self._first, known - first).clone()
        self._first, self._n_outputs = first, ready
        return out.unflatten(3, (height, width))

    def fork(self) -> Self:
        """A copy that goes its own way; what is kept is never changed in place."""
        return copy(self)


class NativeSteps:
    """A layer on the C++ kernels, which keep their ring of recent timesteps here.

    Args:
        spec: the layer.
        folded: its arrays.
    """

    def __init__(self, spec: LayerSpec, folded: operators.Folded) -> None:
        self._spec, self._folded = spec, folded
        self._rings: Tensor | None = None
        self._n_steps = 0

    def advance(self, x: Tensor, is_last: bool) -> Tensor:
        """Take the next timesteps; give the output steps that become known."""
        if self._rings is None:
            self._rings = operators.new_rings(x, self._spec.out_channels)
        margin, n_steps = self._spec.margin, self._n_steps + x.shape[2]
        before = known_outputs(self._n_steps, margin, is_last=False)
        n_outputs = known_outputs(n_steps, margin, is_last) - before
        part = operators.VideoPart(self._n_steps, is_last, before, n_outputs)
        self._n_steps = n_steps
        return operators.evaluate_part(x, self._folded, part, self._rings)

    def fork(self) -> Self:
        """A copy that goes its own way."""
        other = copy(self)
        other._rings = None if self._rings is None else self._rings.clone()
        return other


class NetworkSteps:
    """All layers, one after another.

    Args:
        layers: the state of each.
    """

    def __init__(self, layers: Sequence[Steps]) -> None:
        self._layers = layers

    def advance(self, x: Tensor, is_last: bool) -> Tensor:
        """Take the next timesteps; give the output steps of the last layer."""
        for layer in self._layers:
            x = layer.advance(x, is_last)
        return x

    def fork(self) -> Self:
        """A copy that goes its own way."""
        return type(self)([layer.fork() for layer in self._layers])


def known_outputs(timesteps: int, margin: int, is_last: bool) -> int:
    """Output steps of a layer that so many timesteps make known."""
    return (timesteps if is_last else max(0, timesteps - margin)) // 2
