"""What follows the pointwise convolutions of a layer: branches, norm, ReLU, shuffle, pooling.

``mix_plain`` is a composition of PyTorch's operations, for compilers and exporters. ``mix`` gives
the same, and keeps for the backward pass nothing but its input: all else is computed again, piece
by piece, since it costs far less than the pointwise products.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from timeception.spec import N_BRANCHES, LayerSpec
from timeception.torch import functional

PIECE_BYTES = 2**21  # of one tensor, of which several are at hand: they should stay in cache


class Statistics(NamedTuple):
    """Mean and variance by channel, before the shuffle."""

    mean: Tensor
    variance: Tensor


class Piece(NamedTuple):
    """One branch of some groups: what is computed at once."""

    branch: int
    groups: slice


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

    def pieces(self, y: Tensor) -> list[Piece]:
        """All branches and groups; on a processor, so few groups at once that they stay in cache.

        Shape:
            y: N, G, B, C_b, T, S.
        """
        n_groups, at_once = self.spec.n_groups, self.spec.n_groups
        if y.device.type == "cpu":
            n_bytes = y[:, 0, 0].numel() * y.element_size()
            at_once = max(1, PIECE_BYTES // max(1, n_bytes))
        return [
            Piece(branch, slice(first, min(first + at_once, n_groups)))
            for first in range(0, n_groups, at_once)
            for branch in range(N_BRANCHES)
        ]

    def by_piece(self, by_channel: Tensor, piece: Piece) -> Tensor:
        """The piece's own values of one a channel of the layer: a view, groups and channels."""
        shape = (self.spec.n_groups, N_BRANCHES, self.spec.branch_channels)
        return by_channel.view(shape)[piece.groups, piece.branch]

    def kernel(self, kernels: Sequence[Tensor], piece: Piece) -> list[Tensor]:
        """Weight and bias of the piece's temporal convolution; nothing where it has none.

        Args:
            kernels: weight and bias of the three temporal convolutions, one after another.
            piece: whose.
        """
        first = 2 * (piece.branch - 1)
        width = self.spec.branch_channels
        rows = slice(piece.groups.start * width, piece.groups.stop * width)
        return [tensor[rows] for tensor in kernels[max(first, 0) : first + 2]]

    def run(
        self, branch: int, y: Tensor, norm: Sequence[Tensor], kernel: Sequence[Tensor]
    ) -> tuple[Tensor, Statistics]:
        """A branch, pooled; and the statistics that normalised it, the variance unbiased.

        Args:
            branch: which of the five.
            y: its pointwise convolutions.
            norm: scale, shift, and the statistics to use unless ``by_batch``.
            kernel: weight and bias of its temporal convolution, if it has one.

        Shape:
            y: N, g, C_b, T, S; result: N, g, C_b, T // 2, S, for any number g of groups.
        """
        spec = self.spec
        if kernel:
            conv_weight, conv_bias = kernel
            y = functional.temporal_conv(y, conv_weight, conv_bias, spec.taps[branch - 1])
        elif branch == N_BRANCHES - 1:
            y = functional.temporal_maximum(y, spec.pool_lookahead)
        weight, bias, mean, variance = norm
        if self.by_batch:  # with momentum 1, moving statistics are those of the batch
            mean, variance = torch.zeros_like(mean), torch.zeros_like(variance)
        y = F.batch_norm(
            y.flatten(1, 2), mean, variance, weight, bias, self.by_batch, 1.0, self.eps
        )
        y = functional.pool(y.unflatten(1, (-1, spec.branch_channels)))
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
    out, mean, variance = _Mix.apply(mixing, y, *norm, *statistics, *chain(*kernels))
    return out, Statistics(mean, variance)


def mix_plain(
    y: Tensor,
    kernels: Sequence[tuple[Tensor, Tensor]],
    norm: tuple[Tensor, Tensor],
    statistics: Statistics,
    mixing: Mixing,
) -> tuple[Tensor, Statistics]:
    """``mix`` as PyTorch's own operations on all groups at once, differentiated by PyTorch."""
    flat, groups = list(chain(*kernels)), slice(0, mixing.spec.n_groups)
    branches: list[Tensor] = []
    statistics_used: tuple[list[Tensor], list[Tensor]] = [], []
    for branch in range(N_BRANCHES):
        piece = Piece(branch, groups)
        own = [mixing.by_piece(t, piece).reshape(-1) for t in (*norm, *statistics)]
        out, used = mixing.run(branch, y[:, :, branch], own, mixing.kernel(flat, piece))
        branches.append(out)
        for found, values in zip(statistics_used, used, strict=True):
            found.append(values.view(mixing.spec.n_groups, -1))
    joined = Statistics(*(torch.stack(found, dim=1).view(-1) for found in statistics_used))
    return functional.join_shuffled(branches), joined


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mixing: Mixing, y: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        norm, statistics, kernels = tensors[:2], tensors[2:4], tensors[4:]
        spec, (n_clips, *_, timesteps, positions) = mixing.spec, y.shape
        shape = (n_clips, N_BRANCHES, spec.branch_channels, spec.n_groups, timesteps // 2)
        out = y.new_empty(*shape, positions)  # channels in their order after the shuffle
        used = [torch.empty_like(each) for each in statistics]
        for piece in mixing.pieces(y):
            branch, groups = piece
            own = [mixing.by_piece(t, piece).reshape(-1) for t in (*norm, *statistics)]
            found, found_used = mixing.run(
                branch, y[:, groups, branch], own, mixing.kernel(kernels, piece)
            )
            out[:, branch, :, groups] = found.transpose(1, 2)
            for kept, values in zip(used, found_used, strict=True):
                target = mixing.by_piece(kept, piece)
                target.copy_(values.view_as(target))
        ctx.mixing = mixing
        ctx.mark_non_differentiable(*used)
        ctx.save_for_backward(y, *norm, *used, *kernels)
        return out.flatten(1, 3), *used

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        mixing: Mixing = ctx.mixing
        y, weight, bias, mean, variance, *kernels = ctx.saved_tensors
        grads_out = grad_out.unflatten(1, (N_BRANCHES, mixing.spec.branch_channels, -1))
        grad_y, *grad_norm = map(torch.empty_like, (y, weight, bias))
        grad_kernels = [torch.empty_like(kernel) for kernel in kernels]
        for piece in mixing.pieces(y):
            branch, groups = piece
            norm = [mixing.by_piece(t, piece).reshape(-1) for t in (weight, bias, mean, variance)]
            wanted = [
                tensor.detach().requires_grad_()
                for tensor in (y[:, groups, branch], *norm[:2], *mixing.kernel(kernels, piece))
            ]
            with torch.enable_grad():
                own_y, own_weight, own_bias, *own_kernel = wanted
                found, _used = mixing.run(
                    branch, own_y, (own_weight, own_bias, *norm[2:]), own_kernel
                )
            grad = grads_out[:, branch, :, groups].transpose(1, 2)
            targets = [
                grad_y[:, groups, branch],
                *(mixing.by_piece(each, piece) for each in grad_norm),
                *mixing.kernel(grad_kernels, piece),
            ]
            values = torch.autograd.grad(found, wanted, grad)
            for target, value in zip(targets, values, strict=True):
                target.copy_(value.view_as(target))
        return None, grad_y, *grad_norm, None, None, *grad_kernels
