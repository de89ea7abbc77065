"""The operations of a Timeception layer on tensors, for all groups at once, in plain PyTorch.

Activations inside a layer have the layout N, G, B, C_b, T, S: clip, group, branch, channel of the
branch, timestep, and the H * W positions of the map as one axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from timeception.spec import N_BRANCHES, LayerSpec

Maximum = Callable[[Tensor, Tensor], Tensor]  # elementwise


def grouped_pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, spec: LayerSpec) -> Tensor:
    """Compute the pointwise convolutions of all groups and branches as one batched product.

    Args:
        x: input of the layer.
        weight: kernels, rows ordered (group, branch, channel).
        bias: one value per row, or ``None``.
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
    shape = n_clips, spec.n_groups, N_BRANCHES, spec.branch_channels
    return y.view(*shape, timesteps, height * width)


def temporal_conv(x: Tensor, weight: Tensor, bias: Tensor, taps: Sequence[int]) -> Tensor:
    """Apply a depthwise convolution over time: ``y[t] = bias + sum_k weight[k] * x[t + taps[k]]``.

    A sum of shifted products, since PyTorch's depthwise convolutions are slow on a CPU.

    Args:
        x: one branch of all groups; zero before its first and after its last timestep.
        weight: one row per channel, channels ordered (group, channel).
        bias: one value per channel.
        taps: temporal offset of each column of ``weight``.

    Shape:
        x, result: N, G, C_b, T, S; weight: G * C_b, k.
    """
    timesteps, margin = x.shape[3], max(taps)
    per_channel = (1, *x.shape[1:3], 1, 1)
    padded = F.pad(x, (0, 0, margin, margin))
    y = bias.to(x.dtype).view(per_channel)
    for k, offset in enumerate(taps):
        kernel = weight[:, k].to(x.dtype).view(per_channel)
        y = torch.addcmul(y, padded.narrow(3, margin + offset, timesteps), kernel)
    return y


def temporal_maximum(x: Tensor, lookahead: bool, maximum: Maximum = torch.maximum) -> Tensor:
    """Take the maximum of each timestep and its neighbour (branch 5).

    Args:
        x: one branch of all groups.
        lookahead: if true, y[t] = max(x[t], x[t+1]), and the last step is copied; otherwise
            y[t] = max(x[t-1], x[t]), and the first step is max(x[0], x[1]).
        maximum: elementwise maximum to use.

    Shape:
        x, result: N, G, C_b, T, S.
    """
    last = x.shape[3] - 1
    pairs = maximum(x.narrow(3, 0, last), x.narrow(3, 1, last))
    if lookahead:
        return torch.cat([pairs, x.narrow(3, last, 1)], dim=3)
    return torch.cat([pairs.narrow(3, 0, 1), pairs], dim=3)


def shuffle(x: Tensor, n_groups: int) -> Tensor:
    """Reorder the channels, axis 1, from (group, channel) to (channel, group)."""
    return x.unflatten(1, (n_groups, -1)).transpose(1, 2).flatten(1, 2)


def temporal_pool(x: Tensor, axis: int, maximum: Maximum = torch.maximum) -> Tensor:
    """Take the maximum of each pair of timesteps, along ``axis``; an odd last one is dropped."""
    halved = x.shape[axis] // 2
    pairs = x.narrow(axis, 0, 2 * halved).unflatten(axis, (halved, 2))
    return maximum(*pairs.unbind(axis + 1))
