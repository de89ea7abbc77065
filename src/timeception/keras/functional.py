"""The operations of a Timeception layer on tensors, with all groups and branches at once.

Activations inside a layer are laid out N, T, S, K: clip, timestep, the H * W positions of the map
as one axis, and channel. Channels are ordered (branch, channel of the branch, group): a branch is
one slice, and the order is already that of the channel shuffle, which so costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from timeception.spec import N_BRANCHES, LayerSpec

Tensor = Any  # a tensor of whichever backend Keras runs on


def grouped_pointwise(x: Tensor, kernel: Tensor, bias: Tensor, spec: LayerSpec) -> Tensor:
    """The pointwise convolutions of all groups and branches as one batched matrix product.

    Args:
        x: the layer's input.
        kernel: one matrix a group, columns ordered (branch, channel).
        bias: one a channel.
        spec: the layer.

    Shape:
        x: N, T, H, W, C; kernel: G, C / G, B * C_b; bias: K; result: N, T, H * W, K.
    """
    n_clips, timesteps, height, width, _ = ops.shape(x)
    columns = ops.reshape(x, (-1, spec.n_groups, spec.group_channels))
    y = ops.matmul(ops.transpose(columns, (1, 0, 2)), kernel)
    y = ops.reshape(
        ops.transpose(y, (1, 2, 0)), (n_clips, timesteps, height * width, spec.out_channels)
    )
    return ops.add(y, bias)


def temporal_conv(x: Tensor, kernel: Tensor, bias: Tensor, taps: Sequence[int]) -> Tensor:
    """A depthwise convolution over time, as a sum of shifted products.

    XLA's depthwise convolutions are slow on a CPU (thirty times, for these sizes); these few
    products are not, on any backend.

    Args:
        x: one branch of all groups.
        kernel: one row a tap.
        bias: one a channel.
        taps: temporal offset of each row of ``kernel``; zeros are read beyond both ends.

    Shape:
        x, result: N, T, S, C_b * G; kernel: k, C_b * G.
    """
    timesteps, margin = ops.shape(x)[1], max(taps)
    padded = ops.pad(x, ((0, 0), (margin, margin), (0, 0), (0, 0)))
    out = bias
    for tap, offset in enumerate(taps):
        start = margin + offset
        out = ops.add(out, ops.multiply(padded[:, start : start + timesteps], kernel[tap]))
    return out


def temporal_maximum(x: Tensor, lookahead: bool) -> Tensor:
    """Branch 5: the maximum of each step and its neighbour.

    Args:
        x: one branch of all groups.
        lookahead: take max(x[t], x[t+1]), the last step alone; otherwise max(x[t-1], x[t]), with
            a first step of max(x[0], x[1]).

    Shape:
        x, result: N, T, S, C_b * G.
    """
    pairs = ops.maximum(x[:, :-1], x[:, 1:])
    ends = (pairs, x[:, -1:]) if lookahead else (pairs[:, :1], pairs)
    return ops.concatenate(ends, axis=1)


def temporal_branches(
    y: Tensor, kernels: Sequence[Tensor], biases: Sequence[Tensor], spec: LayerSpec
) -> Tensor:
    """The five branches after their pointwise convolutions.

    Shape:
        y, result: N, T, S, K.
    """
    first, *middle, last = ops.split(y, N_BRANCHES, axis=-1)
    convolved = map(temporal_conv, middle, kernels, biases, spec.taps)
    maximum = temporal_maximum(last, spec.pool_lookahead)
    return ops.concatenate([first, *convolved, maximum], axis=-1)


def pool(y: Tensor) -> Tensor:
    """A temporal maximum of width 2, stride 2; an odd last step is dropped.

    Shape:
        y: N, T, S, K; result: N, T // 2, S, K.
    """
    n_clips, timesteps, positions, channels = ops.shape(y)
    halved = timesteps // 2
    pairs = ops.reshape(y[:, : 2 * halved], (n_clips, halved, 2, positions, channels))
    return ops.max(pairs, axis=2)
