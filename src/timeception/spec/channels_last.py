"""The operations of a Timeception layer in channels-last layout, written once for Keras and JAX.

Activations inside a layer have the layout G, N, T, S, K: group, clip, timestep, the H * W
positions of the map as one axis, and the channels of the group, ordered (branch, channel of the
branch). A vector of all channels is ordered (group, branch, channel), which is the canonical order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

from timeception.spec.layers import N_BRANCHES, LayerSpec

LAYOUT = "NTHWC"  # of a layer's input and output

Array = Any  # an array of the library that ``ops`` belongs to


class BranchKernels(NamedTuple):
    """The arrays of ``ChannelsLast.branches``; temporal biases are added later.

    Shape:
        pointwise: G, C / G, K; bias: G * K; temporal: k, G * C_b for each temporal branch.
    """

    pointwise: Array
    bias: Array
    temporal: Sequence[Array]


class ChannelsLast(NamedTuple):
    """The operations of one layer."""

    ops: Any  # namespace of array functions: ``keras.ops`` or ``jax.numpy``
    spec: LayerSpec

    def by_group(self, vector: Array) -> Array:
        """Reshape a vector of channels (all, or of one branch) to broadcast over G, N, T, S, K."""
        return self.ops.reshape(vector, (self.spec.n_groups, 1, 1, 1, -1))

    def split_branches(self, y: Array) -> list[Array]:
        """Split an array of layout G, N, T, S, K into its branches."""
        return list(self.ops.split(y, N_BRANCHES, axis=-1))

    def branches(self, x: Array, kernels: BranchKernels) -> list[Array]:
        """Compute the five branches of all groups, without the temporal biases.

        Shape:
            x: N, T, H, W, C; results: G, N, T, H * W, C_b.
        """
        spec = self.spec
        y = self.grouped_pointwise(x, kernels.pointwise, kernels.bias)
        first, *middle, last = self.split_branches(y)
        inside = slice(spec.margin, -spec.margin)
        return [
            first[:, :, inside],
            *map(self.temporal_conv, middle, kernels.temporal, spec.taps),
            self.temporal_maximum(last[:, :, inside]),
        ]

    def grouped_pointwise(self, x: Array, kernel: Array, bias: Array) -> Array:
        """Compute the pointwise convolutions of all groups and branches as one batched product.

        The padding of the temporal convolutions is added before the product, because XLA does not
        vectorise operations that handle edges.

        Shape:
            x: N, T, H, W, C; kernel: G, C / G, K; bias: G * K;
            result: G, N, T + 2 * margin, H * W, K.
        """
        ops, spec = self.ops, self.spec
        n_clips, timesteps, height, width, channels = ops.shape(x)
        margins = (spec.margin, spec.margin)
        x = ops.reshape(x, (n_clips, timesteps, height * width, channels))
        x = ops.pad(x, ((0, 0), margins, (0, 0), (0, 0)))
        columns = ops.reshape(x, (-1, spec.n_groups, spec.group_channels))
        y = ops.matmul(ops.transpose(columns, (1, 0, 2)), kernel)
        steps = timesteps + sum(margins)
        y = ops.reshape(y, (spec.n_groups, n_clips, steps, height * width, ops.shape(kernel)[-1]))
        inside = ops.reshape(ops.pad(ops.ones((timesteps,), dtype=y.dtype), (margins,)), (-1, 1, 1))
        return ops.add(y, ops.multiply(self.by_group(bias), inside))

    def temporal_conv(self, x: Array, kernel: Array, taps: Sequence[int]) -> Array:
        """Apply a depthwise convolution over time, without its bias, as a sum of shifted products.

        For these sizes, XLA's depthwise convolutions are thirty times slower on a CPU.

        Args:
            x: one branch of all groups, padded in time by ``spec.margin``.
            kernel: one row per tap.
            taps: temporal offset of each row of ``kernel``.

        Shape:
            x: G, N, T + 2 * margin, S, C_b; kernel: k, G * C_b; result: G, N, T, S, C_b.
        """
        ops, margin = self.ops, self.spec.margin
        timesteps = ops.shape(x)[2] - 2 * margin
        shifted = [x[:, :, first : first + timesteps] for first in (margin + tap for tap in taps)]
        products = [ops.multiply(y, self.by_group(kernel[k])) for k, y in enumerate(shifted)]
        return reduce(ops.add, products)

    def temporal_maximum(self, x: Array) -> Array:
        """Take the maximum of each timestep and its neighbour (branch 5).

        With ``spec.pool_lookahead``, y[t] = max(x[t], x[t+1]), and the last step is copied.
        Otherwise, y[t] = max(x[t-1], x[t]), and the first step is max(x[0], x[1]).

        Shape:
            x, result: G, N, T, S, C_b.
        """
        pairs = self.ops.maximum(x[:, :, :-1], x[:, :, 1:])
        ends = (pairs, x[:, :, -1:]) if self.spec.pool_lookahead else (pairs[:, :, :1], pairs)
        return self.ops.concatenate(ends, axis=2)

    def fold(self, kernels: BranchKernels, scale: Array) -> BranchKernels:
        """Fold ``scale`` into the kernels of all branches but the last.

        The maximum of the last branch does not commute with a negative scale.

        Shape:
            scale: G * K.
        """
        ops = self.ops
        scales = self.split_branches(ops.reshape(scale, (self.spec.n_groups, -1)))
        factor = ops.concatenate([*scales[:-1], ops.ones_like(scales[-1])], axis=-1)
        pointwise = ops.multiply(kernels.pointwise, ops.expand_dims(factor, 1))
        bias = ops.multiply(kernels.bias, ops.reshape(factor, (-1,)))
        return BranchKernels(pointwise, bias, kernels.temporal)

    def constants(self, temporal_biases: Sequence[Array]) -> Array:
        """Return the temporal biases, which ``branches`` omits, as a vector of all channels."""
        ops = self.ops
        middle = [ops.reshape(bias, (self.spec.n_groups, -1)) for bias in temporal_biases]
        none = ops.zeros_like(middle[0])
        return ops.reshape(ops.concatenate([none, *middle, none], axis=-1), (-1,))

    def temporal_pool(self, y: Array) -> Array:
        """Take the maximum of each pair of timesteps; an odd last timestep is dropped.

        Shape:
            y: G, N, T, S, K; result: G, N, T // 2, S, K.
        """
        n_groups, n_clips, timesteps, positions, channels = self.ops.shape(y)
        halved = timesteps // 2
        shape = (n_groups, n_clips, halved, 2, positions, channels)
        pairs = self.ops.reshape(y[:, :, : 2 * halved], shape)
        return self.ops.maximum(pairs[:, :, :, 0], pairs[:, :, :, 1])

    def shuffle(self, y: Array, height: Any, width: Any) -> Array:
        """Shuffle the channels from (G, K) to (K, G), and restore the layout of the input.

        Shape:
            y: G, N, T, H * W, K; result: N, T, H, W, K * G.
        """
        ops = self.ops
        n_groups, n_clips, timesteps, _, channels = ops.shape(y)
        rows = ops.transpose(ops.reshape(y, (n_groups, -1, channels)), (1, 2, 0))
        return ops.reshape(rows, (n_clips, timesteps, height, width, n_groups * channels))
