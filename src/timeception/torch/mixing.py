"""What follows the pointwise convolutions of a layer: branches, norm, ReLU, shuffle, pooling.

``mix_plain`` is a composition of PyTorch's operations, for compilers and exporters. ``mix`` gives
the same, and keeps for the backward pass nothing but its input: all else is computed again, one
branch at a time, since it costs far less than the pointwise products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from timeception.spec import N_BRANCHES, LayerSpec
from timeception.torch import functional


class Statistics(NamedTuple):
    """Mean and variance by channel, before the shuffle."""

    mean: Tensor
    variance: Tensor


class Mixing(NamedTuple):
    """What does not change from call to call.

    Args:
        spec: the layer.
        eps: added to the variance.
        by_batch: normalise by the batch, as in training; otherwise by given statistics.
    """

    spec: LayerSpec
    eps: float
    by_batch: bool

    def split(self, by_channel: Tensor) -> list[Tensor]:
        """One value a channel of the layer as one tensor a branch, channels (group, channel)."""
        shape = (self.spec.n_groups, N_BRANCHES, self.spec.branch_channels)
        return [part.reshape(-1) for part in by_channel.view(shape).unbind(1)]

    def join(self, by_branch: Sequence[Tensor]) -> Tensor:
        """The inverse of ``split``."""
        parts = [part.view(self.spec.n_groups, self.spec.branch_channels) for part in by_branch]
        return torch.stack(parts, dim=1).view(-1)

    def branch(
        self, index: int, y: Tensor, kernel: tuple[Tensor, ...], norm: Sequence[Tensor]
    ) -> tuple[Tensor, Statistics]:
        """One branch, pooled; and the statistics that normalised it, the variance unbiased.

        Args:
            index: which of the five.
            y: its pointwise convolutions.
            kernel: weight and bias of its temporal convolution, if it has one.
            norm: scale, shift, and the statistics to use unless ``by_batch``.

        Shape:
            y: N, G, C_b, T, S; result: N, G, C_b, T // 2, S.
        """
        spec = self.spec
        if kernel:
            conv_weight, conv_bias = kernel
            y = functional.temporal_conv(y, conv_weight, conv_bias, spec.taps[index - 1])
        elif index == N_BRANCHES - 1:
            y = functional.temporal_maximum(y, spec.pool_lookahead)
        weight, bias, mean, variance = norm
        if self.by_batch:  # with momentum 1, moving statistics are those of the batch
            mean, variance = torch.zeros_like(mean), torch.zeros_like(variance)
        y = F.batch_norm(
            y.flatten(1, 2), mean, variance, weight, bias, self.by_batch, 1.0, self.eps
        )
        y = functional.pool(y.unflatten(1, (spec.n_groups, spec.branch_channels)))
        return y.relu(), Statistics(mean, variance)


def mix(
    y: Tensor,
    kernels: Sequence[tuple[Tensor, Tensor]],
    norm: tuple[Tensor, Tensor],
    statistics: Statistics,
    mixing: Mixing,
) -> tuple[Tensor, Statistics]:
    """Branches, norm, ReLU, shuffle and pooling.

    Args:
        y: the pointwise convolutions of all groups and branches.
        kernels: weight and bias of the three temporal convolutions.
        norm: scale and shift, by channel.
        statistics: used unless ``mixing.by_batch``.
        mixing: the constants.

    Shape:
        y: N, G, B, C_b, T, S; result: N, C_out, T // 2, S.

    Returns:
        the result, and the statistics that normalised it (the variance unbiased).
    """
    flat = [tensor for kernel in kernels for tensor in kernel]
    out, mean, variance = _Mix.apply(mixing, y, *norm, *statistics, *flat)
    return out, Statistics(mean, variance)


def mix_plain(
    y: Tensor,
    kernels: Sequence[tuple[Tensor, Tensor]],
    norm: tuple[Tensor, Tensor],
    statistics: Statistics,
    mixing: Mixing,
) -> tuple[Tensor, Statistics]:
    """``mix`` as PyTorch's own operations, differentiated by PyTorch."""
    norms = zip(*map(mixing.split, (*norm, *statistics)), strict=True)
    arguments = zip(range(N_BRANCHES), y.unbind(2), _by_branch(kernels), norms, strict=True)
    branches, used = zip(*(mixing.branch(*each) for each in arguments), strict=True)
    means, variances = zip(*used, strict=True)
    joined = Statistics(mixing.join(means), mixing.join(variances))
    return functional.join_shuffled(branches), joined


def _by_branch(kernels: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, ...]]:
    return [(), *kernels, ()]


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mixing: Mixing, y: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.mixing = mixing
        weight, bias, mean, variance, *flat = tensors
        kernels = list(zip(flat[::2], flat[1::2], strict=True))
        out, used = mix_plain(y, kernels, (weight, bias), Statistics(mean, variance), mixing)
        ctx.mark_non_differentiable(*used)
        ctx.save_for_backward(y, weight, bias, *used, *flat)
        return out, *used

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        mixing: Mixing = ctx.mixing
        y, weight, bias, mean, variance, *flat = ctx.saved_tensors
        kernels = _by_branch(list(zip(flat[::2], flat[1::2], strict=True)))
        norms = zip(*map(mixing.split, (weight, bias, mean, variance)), strict=True)
        width = mixing.spec.branch_channels
        grads_out = grad_out.unflatten(1, (N_BRANCHES, width, mixing.spec.n_groups))
        grad_y = torch.empty_like(y)
        grad_kernels: list[Tensor] = []
        grad_norm: list[tuple[Tensor, Tensor]] = []
        for index, (kernel, norm) in enumerate(zip(kernels, norms, strict=True)):
            wanted = [t.detach().requires_grad_() for t in (y[:, :, index], *norm[:2], *kernel)]
            with torch.enable_grad():
                branch, *parameters = wanted
                out, _used = mixing.branch(
                    index, branch, tuple(parameters[2:]), (*parameters[:2], *norm[2:])
                )
            grad = grads_out[:, index].transpose(1, 2)
            own, *d_parameters = torch.autograd.grad(out, wanted, grad)
            grad_y[:, :, index] = own
            grad_norm.append((d_parameters[0], d_parameters[1]))
            grad_kernels += d_parameters[2:]
        d_weight, d_bias = (mixing.join(parts) for parts in zip(*grad_norm, strict=True))
        return None, grad_y, d_weight, d_bias, None, None, *grad_kernels
