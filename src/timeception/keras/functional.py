"""The operations of a Timeception layer on tensors, for all groups and branches at once.

Activations inside a layer have the layout G, N, T, S, K: group, clip, timestep, the H * W positions
of the map as one axis, and the channels of the group, ordered (branch, channel of the branch). A
vector of all channels is ordered (group, branch, channel), which is the canonical order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from timeception.spec import N_BRANCHES, LayerSpec

Tensor = Any  # a tensor of the active Keras backend


class BranchKernels(NamedTuple):
    """The arrays of ``branches``; temporal biases are added later.

    Shape:
        pointwise: G, C / G, K; bias: G * K; temporal: k, G * C_b for each temporal branch.
    """

    pointwise: Tensor
    bias: Tensor
    temporal: Sequence[Tensor]


def by_group(vector: Tensor, spec: LayerSpec) -> Tensor:
    """Reshape a vector of channels (all, or of one branch) to broadcast over G, N, T, S, K."""
    return ops.reshape(vector, (spec.n_groups, 1, 1, 1, -1))


def split_branches(y: Tensor) -> list[Tensor]:
    """Split a tensor of layout G, N, T, S, K into its branches."""
    return ops.split(y, N_BRANCHES, axis=-1)


def branches(x: Tensor, kernels: BranchKernels, spec: LayerSpec) -> list[Tensor]:
    """Compute the five branches of all groups, without the temporal biases.

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
    """Compute the pointwise convolutions of all groups and branches as one batched product.

    The padding of the temporal convolutions is added before the product, because XLA does not
    vectorise operations that handle edges.

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
    """Apply a depthwise convolution over time, without its bias, as a sum of shifted products.

    For these sizes, XLA's depthwise convolutions are thirty times slower on a CPU.

    Args:
        x: one branch of all groups, padded in time by ``spec.margin``.
        kernel: one row per tap.
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
    """Take the maximum of each timestep and its neighbour (branch 5).

    Args:
        x: one branch of all groups.
        lookahead: if true, y[t] = max(x[t], x[t+1]), and the last step is copied; otherwise
            y[t] = max(x[t-1], x[t]), and the first step is max(x[0], x[1]).

    Shape:
        x, result: G, N, T, S, C_b.
    """
    pairs = ops.maximum(x[:, :, :-1], x[:, :, 1:])
    ends = (pairs, x[:, :, -1:]) if lookahead else (pairs[:, :, :1], pairs)
    return ops.concatenate(ends, axis=2)


def fold(kernels: BranchKernels, scale: Tensor, spec: LayerSpec) -> BranchKernels:
    """Fold ``scale`` into the kernels of all branches but the last.

    The maximum of the last branch does not commute with a negative scale.

    Shape:
        scale: G * K.
    """
    scales = split_branches(ops.reshape(scale, (spec.n_groups, -1)))
    factor = ops.concatenate([*scales[:-1], ops.ones_like(scales[-1])], axis=-1)
    pointwise = ops.multiply(kernels.pointwise, ops.expand_dims(factor, 1))
    return BranchKernels(
        pointwise, ops.multiply(kernels.bias, ops.reshape(factor, (-1,))), kernels.temporal
    )


def constants(temporal_biases: Sequence[Tensor], spec: LayerSpec) -> Tensor:
    """Return the temporal biases, which ``branches`` omits, as a vector of all channels."""
    middle = [ops.reshape(bias, (spec.n_groups, -1)) for bias in temporal_biases]
    none = ops.zeros_like(middle[0])
    return ops.reshape(ops.concatenate([none, *middle, none], axis=-1), (-1,))


def moments(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and variance per channel of the branches, as vectors of all channels."""
    found = [ops.moments(part, axes=(1, 2, 3)) for part in parts]
    mean, variance = (
        ops.reshape(ops.concatenate(one, axis=-1), (-1,)) for one in zip(*found, strict=True)
    )
    return mean, variance


def pool(y: Tensor) -> Tensor:
    """Take the maximum of each pair of timesteps; an odd last timestep is dropped.

    Shape:
        y: G, N, T, S, K; result: G, N, T // 2, S, K.
    """
    n_groups, n_clips, timesteps, positions, channels = ops.shape(y)
    halved = timesteps // 2
    pairs = ops.reshape(y[:, :, : 2 * halved], (n_groups, n_clips, halved, 2, positions, channels))
    return ops.maximum(pairs[:, :, :, 0], pairs[:, :, :, 1])


def shuffle(y: Tensor, height: Any, width: Any) -> Tensor:
    """Shuffle the channels from (G, K) to (K, G), and restore the layout of the input.

    Shape:
        y: G, N, T, H * W, K; result: N, T, H, W, K * G.
    """
    n_groups, n_clips, timesteps, _, channels = ops.shape(y)
    rows = ops.transpose(ops.reshape(y, (n_groups, -1, channels)), (1, 2, 0))
    return ops.reshape(rows, (n_clips, timesteps, height, width, n_groups * channels))
