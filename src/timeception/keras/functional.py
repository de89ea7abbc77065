"""The operations of a Timeception layer on tensors, with all groups and branches at once.

Activations inside a layer are laid out G, N, T, S, K: group, clip, timestep, the H * W positions
of the map as one axis, and the group's channels, ordered (branch, channel of the branch). A
vector of all channels is ordered (group, branch, channel), which is the canonical order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from timeception.spec import N_BRANCHES, LayerSpec

Tensor = Any  # a tensor of whichever backend Keras runs on


class Kernels(NamedTuple):
    """What the branches of a layer multiply by; temporal biases are added later.

    Shape:
        pointwise: G, C / G, K; bias: G * K; temporal: k, G * C_b, one a temporal branch.
    """

    pointwise: Tensor
    bias: Tensor
    temporal: Sequence[Tensor]


def by_group(vector: Tensor, spec: LayerSpec) -> Tensor:
    """A vector of all channels, or of one branch's, to be broadcast over G, N, T, S, K."""
    return ops.reshape(vector, (spec.n_groups, 1, 1, 1, -1))


def split_branches(y: Tensor) -> list[Tensor]:
    """The channels of each branch, of a tensor that is laid out G, N, T, S, K."""
    return ops.split(y, N_BRANCHES, axis=-1)


def branches(x: Tensor, kernels: Kernels, spec: LayerSpec) -> list[Tensor]:
    """The five branches, all groups of each, without the biases of the temporal convolutions.

    Shape:
        x: N, T, H, W, C; results: G, N, T, H * W, C_b.
    """
    y = grouped_pointwise(x, kernels.pointwise, kernels.bias, spec)
    first, *middle, last = split_branches(y)
    convolved = [
        temporal_conv(part, kernel, taps, spec)
        for part, kernel, taps in zip(middle, kernels.temporal, spec.taps, strict=True)
    ]
    inside = slice(spec.margin, -spec.margin)
    return [
        first[:, :, inside],
        *convolved,
        temporal_maximum(last[:, :, inside], spec.pool_lookahead),
    ]


def grouped_pointwise(x: Tensor, kernel: Tensor, bias: Tensor, spec: LayerSpec) -> Tensor:
    """The pointwise convolutions of all groups and branches as one batched matrix product.

    The zeros that the temporal convolutions read beyond both ends are put there before the
    product: what comes after it is then free of edges, which XLA would not vectorise.

    Shape:
        x: N, T, H, W, C; kernel: G, C / G, K; bias: G * K; result: G, N, T + 2 * margin, H * W, K.
    """
    n_clips, timesteps, height, width, channels = ops.shape(x)
    margins = (spec.margin, spec.margin)
    x = ops.reshape(x, (n_clips, timesteps, height * width, channels))
    x = ops.pad(x, ((0, 0), margins, (0, 0), (0, 0)))
    columns = ops.reshape(x, (-1, spec.n_groups, spec.group_channels))
    y = ops.matmul(ops.transpose(columns, (1, 0, 2)), kernel)
    steps = timesteps + sum(margins)
    y = ops.reshape(y, (spec.n_groups, n_clips, steps, height * width, -1))
    inside = ops.pad(ops.ones((timesteps,), dtype=y.dtype), (margins,))
    return ops.add(y, ops.multiply(by_group(bias, spec), ops.reshape(inside, (-1, 1, 1))))


def temporal_conv(x: Tensor, kernel: Tensor, taps: Sequence[int], spec: LayerSpec) -> Tensor:
    """A depthwise convolution over time, as a sum of shifted products, without its bias.

    XLA's depthwise convolutions are slow on a CPU (thirty times, for these sizes); these few
    products are not, on any backend.

    Args:
        x: one branch of all groups, with its margins.
        kernel: one row a tap.
        taps: temporal offset of each row of ``kernel``.
        spec: the layer.

    Shape:
        x: G, N, T + 2 * margin, S, C_b; kernel: k, G * C_b; result: G, N, T, S, C_b.
    """
    timesteps = ops.shape(x)[2] - 2 * spec.margin
    starts = [spec.margin + offset for offset in taps]
    shifted = [x[:, :, start : start + timesteps] for start in starts]
    first, *others = [
        ops.multiply(one, by_group(kernel[tap], spec)) for tap, one in enumerate(shifted)
    ]
    for other in others:
        first = ops.add(first, other)
    return first


def temporal_maximum(x: Tensor, lookahead: bool) -> Tensor:
    """Branch 5: the maximum of each step and its neighbour.

    Args:
        x: one branch of all groups.
        lookahead: take max(x[t], x[t+1]), the last step alone; otherwise max(x[t-1], x[t]), with
            a first step of max(x[0], x[1]).

    Shape:
        x, result: G, N, T, S, C_b.
    """
    pairs = ops.maximum(x[:, :, :-1], x[:, :, 1:])
    ends = (pairs, x[:, :, -1:]) if lookahead else (pairs[:, :, :1], pairs)
    return ops.concatenate(ends, axis=2)


def fold(kernels: Kernels, scale: Tensor, spec: LayerSpec) -> Kernels:
    """Kernels whose branches come out multiplied by ``scale``, all but the last one.

    The last branch's maximum does not commute with a scale of either sign.

    Shape:
        scale: G * K.
    """
    scales = split_branches(ops.reshape(scale, (spec.n_groups, -1)))
    factor = ops.concatenate([*scales[:-1], ops.ones_like(scales[-1])], axis=-1)
    pointwise = ops.multiply(kernels.pointwise, ops.expand_dims(factor, 1))
    return Kernels(
        pointwise, ops.multiply(kernels.bias, ops.reshape(factor, (-1,))), kernels.temporal
    )


def constants(temporal_biases: Sequence[Tensor], spec: LayerSpec) -> Tensor:
    """What ``branches`` leaves out: the temporal biases, as a vector of all channels."""
    middle = [ops.reshape(bias, (spec.n_groups, -1)) for bias in temporal_biases]
    none = ops.zeros_like(middle[0])
    return ops.reshape(ops.concatenate([none, *middle, none], axis=-1), (-1,))


def moments(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel of the branches, as vectors of all channels."""
    found = [ops.moments(part, axes=(1, 2, 3)) for part in parts]
    mean, variance = (
        ops.reshape(ops.concatenate(one, axis=-1), (-1,)) for one in zip(*found, strict=True)
    )
    return mean, variance


def pool(y: Tensor) -> Tensor:
    """A temporal maximum of width 2, stride 2; an odd last step is dropped.

    Shape:
        y: G, N, T, S, K; result: G, N, T // 2, S, K.
    """
    n_groups, n_clips, timesteps, positions, channels = ops.shape(y)
    halved = timesteps // 2
    pairs = ops.reshape(y[:, :, : 2 * halved], (n_groups, n_clips, halved, 2, positions, channels))
    return ops.maximum(pairs[:, :, :, 0], pairs[:, :, :, 1])


def shuffle(y: Tensor, height: Any, width: Any) -> Tensor:
    """The channel shuffle, (G, K) transposed, in the layout of a layer's input.

    Shape:
        y: G, N, T, H * W, K; result: N, T, H, W, K * G.
    """
    n_groups, n_clips, timesteps, _, channels = ops.shape(y)
    rows = ops.transpose(ops.reshape(y, (n_groups, -1, channels)), (1, 2, 0))
    return ops.reshape(rows, (n_clips, timesteps, height, width, n_groups * channels))
