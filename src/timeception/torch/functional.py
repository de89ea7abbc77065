"""The operations of a Timeception layer on tensors, with all groups at once.

Activations inside a layer are laid out N, G, B, C_b, T, S: clip, group, branch, channel of the
branch, timestep, and the H * W positions of the map as one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from timeception.spec import N_BRANCHES, LayerSpec


def grouped_pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, spec: LayerSpec) -> Tensor:
    """The pointwise convolutions of all groups and branches as one batched matrix product.

    Args:
        x: the layer's input.
        weight: kernels, rows ordered (group, branch, channel).
        bias: one a row, or none.
        spec: the layer.

    Shape:
        x: N, C, T, H, W; weight: C_out, C / G; result: N, G, B, C_b, T, H * W.
    """
    n_clips, _, timesteps, height, width = x.shape
    rows = N_BRANCHES * spec.branch_channels
    columns = x.reshape(n_clips * spec.n_groups, spec.group_channels, timesteps * height * width)
    kernels = weight.view(spec.n_groups, rows, spec.group_channels).repeat(n_clips, 1, 1)
    if bias is None:
        y = torch.bmm(kernels, columns)
    else:
        biases = bias.view(spec.n_groups, rows, 1).repeat(n_clips, 1, 1)
        y = torch.baddbmm(biases, kernels, columns)
    return y.view(
        n_clips, spec.n_groups, N_BRANCHES, spec.branch_channels, timesteps, height * width
    )


def temporal_conv(x: Tensor, weight: Tensor, bias: Tensor, taps: Sequence[int]) -> Tensor:
    """A depthwise convolution over time, as a sum of shifted products.

    PyTorch's depthwise convolutions are slow on a CPU; these few products are not.

    Args:
        x: one branch of all groups.
        weight: one row a channel, channels ordered (group, channel).
        bias: one a channel.
        taps: temporal offset of each column of ``weight``; zeros are read beyond both ends.

    Shape:
        x, result: N, G, C_b, T, S; weight: G * C_b, k.
    """
    if torch.compiler.is_compiling():
        return _padded_conv(x, weight, bias, taps)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, weight, bias)):
        return _TemporalConv.apply(x, weight, bias, taps)
    return _conv(x, weight, bias, taps)


def _padded_conv(x: Tensor, weight: Tensor, bias: Tensor, taps: Sequence[int]) -> Tensor:
    """``temporal_conv`` for compilers, which fuse it."""
    timesteps, margin = x.shape[3], max(taps)
    by_channel = (1, *x.shape[1:3], 1, 1)
    padded = F.pad(x, (0, 0, margin, margin))
    out = bias.to(x.dtype).view(by_channel)
    for tap, offset in enumerate(taps):
        kernel = weight[:, tap].to(x.dtype).view(by_channel)
        out = torch.addcmul(out, padded.narrow(3, margin + offset, timesteps), kernel)
    return out


def _conv(x: Tensor, weight: Tensor, bias: Tensor, taps: Sequence[int]) -> Tensor:
    """``temporal_conv`` without a padded copy."""
    by_channel = (1, *x.shape[1:3], 1, 1)
    center = weight[:, taps.index(0)].to(x.dtype).view(by_channel)
    out = torch.addcmul(bias.to(x.dtype).view(by_channel), x, center)
    for tap, offset in enumerate(taps):
        if 0 < abs(offset) < x.shape[3]:
            to, source = _overlap(out, x, offset)
            to.addcmul_(source, weight[:, tap].to(x.dtype).view(by_channel))
    return out


def _overlap(out: Tensor, x: Tensor, offset: int) -> tuple[Tensor, Tensor]:
    """The steps t of ``out``, and t + offset of ``x``, that lie within both."""
    common = x.shape[3] - abs(offset)
    return out.narrow(3, max(-offset, 0), common), x.narrow(3, max(offset, 0), common)


class _TemporalConv(torch.autograd.Function):
    """``_conv`` and its gradient, for which PyTorch would copy every shifted product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, taps: Sequence[int]) -> Tensor:
        ctx.taps = taps
        ctx.save_for_backward(x, weight)
        return _conv(x, weight, bias, taps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        back = [-offset for offset in ctx.taps]
        grad_x = _conv(grad, weight, weight.new_zeros(weight.shape[0]), back)
        grad_weight = torch.zeros_like(weight)
        for tap, offset in enumerate(ctx.taps):
            if abs(offset) < x.shape[3]:
                shifted, source = _overlap(grad, x, offset)
                grad_weight[:, tap] = (shifted * source).sum((0, 3, 4)).flatten()
        return grad_x, grad_weight, grad.sum((0, 3, 4)).flatten().to(weight.dtype), None


def temporal_maximum(x: Tensor, lookahead: bool) -> Tensor:
    """Branch 5: the maximum of each step and its neighbour.

    Args:
        x: one branch of all groups.
        lookahead: take max(x[t], x[t+1]), the last step alone; otherwise max(x[t-1], x[t]), with
            a first step of max(x[0], x[1]).

    Shape:
        x, result: N, G, C_b, T, S.
    """
    last = x.shape[3] - 1
    pairs = maximum(x.narrow(3, 0, last), x.narrow(3, 1, last))
    if lookahead:
        return torch.cat([pairs, x.narrow(3, last, 1)], dim=3)
    return torch.cat([pairs.narrow(3, 0, 1), pairs], dim=3)


def pool(x: Tensor) -> Tensor:
    """The maximum of each pair of timesteps, axis 3; an odd last step is dropped."""
    halved = x.shape[3] // 2
    return maximum(*x.narrow(3, 0, 2 * halved).unflatten(3, (halved, 2)).unbind(4))


def maximum(a: Tensor, b: Tensor) -> Tensor:
    """The larger of two numbers; where they are equal, the gradient goes to the first.

    PyTorch's own divides it, at several times the cost.
    """
    if torch.compiler.is_compiling() or not (a.requires_grad and torch.is_grad_enabled()):
        return torch.maximum(a, b)
    return _Maximum.apply(a, b)


class _Maximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a >= b)
        return torch.maximum(a, b)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        (is_first,) = ctx.saved_tensors
        first = grad * is_first
        return first, grad - first


def join_shuffled(branches: Sequence[Tensor]) -> Tensor:
    """Concatenate the branches within a group, and shuffle the channels across groups.

    Shape:
        branches: N, G, C_b, T, S each; result: N, C, T, S.
    """
    return torch.stack([branch.transpose(1, 2) for branch in branches], dim=1).flatten(1, 3)
