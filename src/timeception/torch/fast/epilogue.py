"""The epilogue of a layer: all that follows the pointwise convolutions, with recomputation.

The epilogue consists of the temporal branches, batch norm, ReLU, shuffle and pooling. It keeps
only its input for the backward pass and computes everything else again, tile by tile, which costs
far less than the pointwise products.
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
from timeception.torch.fast import gradients

TILE_BYTES = 2**21  # size of one tensor of a tile; the several in use should stay in cache


class Moments(NamedTuple):
    """Mean and variance per channel, in the order before the shuffle."""

    mean: Tensor
    variance: Tensor


class Tile(NamedTuple):
    """One branch of some groups, which is computed at once."""

    branch: int
    groups: slice


class Epilogue(NamedTuple):
    """The constants of an epilogue.

    With ``by_batch``, it normalises by the statistics of the batch, as in training; otherwise by
    those that are passed in.
    """

    spec: LayerSpec
    eps: float
    by_batch: bool

    def __call__(
        self,
        y: Tensor,
        kernels: Sequence[tuple[Tensor, Tensor]],
        norm: tuple[Tensor, Tensor],
        moments: Moments,
    ) -> tuple[Tensor, Moments]:
        """Run the epilogue on the pointwise convolutions of all groups and branches.

        Args:
            y: N, G, B, C_b, T, S.
            kernels: weight and bias of the three temporal convolutions.
            norm: scale and shift per channel.
            moments: used unless ``by_batch``.

        Returns:
            The output (N, C_out, T // 2, S), and the moments used for normalisation (the variance
            unbiased).
        """
        out, mean, variance = _Recomputed.apply(self, y, *norm, *moments, *chain(*kernels))
        return out, Moments(mean, variance)

    def tiles(self, y: Tensor) -> list[Tile]:
        """Divide the work by branch and, on a CPU, into few enough groups to stay in cache."""
        n_groups, at_once = self.spec.n_groups, self.spec.n_groups
        if y.device.type == "cpu":
            n_bytes = y[:, 0, 0].numel() * y.element_size()
            at_once = max(1, TILE_BYTES // max(1, n_bytes))
        return [
            Tile(branch, slice(first, min(first + at_once, n_groups)))
            for first in range(0, n_groups, at_once)
            for branch in range(N_BRANCHES)
        ]

    def channels(self, per_channel: Tensor, tile: Tile) -> Tensor:
        """View the per-channel values that belong to the tile. Shape: groups, channels."""
        shape = (self.spec.n_groups, N_BRANCHES, self.spec.branch_channels)
        return per_channel.view(shape)[tile.groups, tile.branch]

    def kernel(self, kernels: Sequence[Tensor], tile: Tile) -> list[Tensor]:
        """View weight and bias of the tile's temporal convolution; empty if it has none.

        ``kernels`` holds weight and bias of the first convolution, then of the second, ...
        """
        first, width = 2 * (tile.branch - 1), self.spec.branch_channels
        rows = slice(tile.groups.start * width, tile.groups.stop * width)
        return [tensor[rows] for tensor in kernels[max(first, 0) : first + 2]]

    def run_tile(
        self, branch: int, y: Tensor, norm: Sequence[Tensor], kernel: Sequence[Tensor]
    ) -> tuple[Tensor, Moments]:
        """Compute branch 0, ..., 4 of any number g of groups, up to its pooled output.

        Args:
            branch: index of the branch.
            y: its pointwise convolutions, N, g, C_b, T, S.
            norm: scale, shift, and the mean and variance to use unless ``by_batch``.
            kernel: weight and bias of the temporal convolution, if the branch has one.

        Returns:
            The output (N, g, C_b, T // 2, S), and the moments as in ``__call__``.
        """
        spec = self.spec
        if kernel:
            conv_weight, conv_bias = kernel
            y = gradients.temporal_conv(y, conv_weight, conv_bias, spec.taps[branch - 1])
        elif branch == N_BRANCHES - 1:
            y = functional.temporal_maximum(y, spec.pool_lookahead, gradients.maximum)
        weight, bias, mean, variance = norm
        if self.by_batch:  # with momentum 1, the running statistics become those of the batch
            mean, variance = torch.zeros_like(mean), torch.zeros_like(variance)
        y, norm = y.flatten(1, 2), (mean, variance, weight, bias)
        y = F.batch_norm(y, *norm, self.by_batch, 1.0, self.eps)
        y = y.unflatten(1, (-1, spec.branch_channels))
        return functional.temporal_pool(y, 3, gradients.maximum).relu(), Moments(mean, variance)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, epilogue: Epilogue, y: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        norm, moments, kernels = tensors[:2], tensors[2:4], tensors[4:]
        spec, (n_clips, *_, timesteps, positions) = epilogue.spec, y.shape
        shape = (n_clips, N_BRANCHES, spec.branch_channels, spec.n_groups, timesteps // 2)
        out = y.new_empty(*shape, positions)  # channels in their order after the shuffle
        used = [torch.empty_like(each) for each in moments]
        for tile in epilogue.tiles(y):
            branch, groups = tile
            tile_norm = [epilogue.channels(t, tile).reshape(-1) for t in (*norm, *moments)]
            kernel, tile_y = epilogue.kernel(kernels, tile), y[:, groups, branch]
            tile_out, tile_moments = epilogue.run_tile(branch, tile_y, tile_norm, kernel)
            out[:, branch, :, groups] = tile_out.transpose(1, 2)
            for whole, values in zip(used, tile_moments, strict=True):
                target = epilogue.channels(whole, tile)
                target.copy_(values.view_as(target))
        ctx.epilogue = epilogue
        ctx.mark_non_differentiable(*used)
        ctx.save_for_backward(y, *norm, *used, *kernels)
        return out.flatten(1, 3), *used

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        epilogue: Epilogue = ctx.epilogue
        y, *saved = ctx.saved_tensors
        norm, kernels = saved[:4], saved[4:]
        grads_out = grad_out.unflatten(1, (N_BRANCHES, epilogue.spec.branch_channels, -1))
        grad_y, *grad_norm = map(torch.empty_like, (y, *norm[:2]))
        grad_kernels = [torch.empty_like(kernel) for kernel in kernels]
        for tile in epilogue.tiles(y):
            branch, groups = tile
            tile_norm = [epilogue.channels(t, tile).reshape(-1) for t in norm]
            tensors = y[:, groups, branch], *tile_norm[:2], *epilogue.kernel(kernels, tile)
            inputs = [tensor.detach().requires_grad_() for tensor in tensors]
            with torch.enable_grad():
                tile_y, tile_weight, tile_bias, *tile_kernel = inputs
                tile_norm[:2] = tile_weight, tile_bias
                tile_out, _moments = epilogue.run_tile(branch, tile_y, tile_norm, tile_kernel)
            tile_grad = grads_out[:, branch, :, groups].transpose(1, 2)
            values = torch.autograd.grad(tile_out, inputs, tile_grad)
            targets = [
                grad_y[:, groups, branch],
                *(epilogue.channels(each, tile) for each in grad_norm),
                *epilogue.kernel(grad_kernels, tile),
            ]
            for target, value in zip(targets, values, strict=True):
                target.copy_(value.view_as(target))
        return None, grad_y, *grad_norm, None, None, *grad_kernels
