"""The operations of a Timeception layer on arrays, for all groups and branches at once.

Activations inside a layer have the layout G, N, T, S, K: group, clip, timestep, the H * W positions
of the map as one axis, and the channels of the group, ordered (branch, channel of the branch). A
vector of all channels is ordered (group, branch, channel), which is the canonical order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import jax.numpy as jnp
from jax import Array

from timeception.spec import N_BRANCHES, LayerSpec


def by_group(vector: Array, spec: LayerSpec) -> Array:
    """Reshape a vector of channels (all, or of one branch) to broadcast over G, N, T, S, K."""
    return vector.reshape(spec.n_groups, 1, 1, 1, -1)


def split_branches(y: Array) -> list[Array]:
    """Split an array of layout G, N, T, S, K into its branches."""
    return jnp.split(y, N_BRANCHES, axis=-1)


def branches(
    x: Array, pointwise: Array, bias: Array, temporal: Sequence[Array], spec: LayerSpec
) -> list[Array]:
    """Compute the five branches of all groups, without the temporal biases.

    Shape:
        x: N, T, H, W, C; pointwise: G, C / G, K; bias: G * K; temporal: k, G * C_b of each temporal
        branch; results: G, N, T, H * W, C_b.
    """
    first, *middle, last = split_branches(grouped_pointwise(x, pointwise, bias, spec))
    convolved = [
        temporal_conv(part, kernel, taps, spec)
        for part, kernel, taps in zip(middle, temporal, spec.taps, strict=True)
    ]
    inside = slice(spec.margin, -spec.margin)
    return [
        first[:, :, inside],
        *convolved,
        temporal_maximum(last[:, :, inside], spec.pool_lookahead),
    ]


def grouped_pointwise(x: Array, kernel: Array, bias: Array, spec: LayerSpec) -> Array:
    """Compute the pointwise convolutions of all groups and branches as one batched product.

    The padding of the temporal convolutions is added before the product, because XLA does not
    vectorise operations that handle edges.

    Shape:
        x: N, T, H, W, C; kernel: G, C / G, K; bias: G * K; result: G, N, T + 2 * margin, H * W, K.
    """
    n_clips, timesteps, height, width, channels = x.shape
    margins = (spec.margin, spec.margin)
    x = x.reshape(n_clips, timesteps, height * width, channels)
    x = jnp.pad(x, ((0, 0), margins, (0, 0), (0, 0)))
    y = x.reshape(-1, spec.n_groups, spec.group_channels).transpose(1, 0, 2) @ kernel
    steps = timesteps + sum(margins)
    y = y.reshape(spec.n_groups, n_clips, steps, height * width, kernel.shape[-1])
    inside = jnp.pad(jnp.ones(timesteps, y.dtype), margins)
    return y + by_group(bias, spec) * inside.reshape(-1, 1, 1)


def temporal_conv(x: Array, kernel: Array, taps: Sequence[int], spec: LayerSpec) -> Array:
    """Apply a depthwise convolution over time, without its bias, as a sum of shifted products.

    For these sizes, XLA's depthwise convolutions are much slower on a CPU.

    Args:
        x: one branch of all groups, padded in time by ``spec.margin``.
        kernel: one row per tap.
        taps: temporal offset of each row of ``kernel``.
        spec: the layer.

    Shape:
        x: G, N, T + 2 * margin, S, C_b; kernel: k, G * C_b; result: G, N, T, S, C_b.
    """
    timesteps = x.shape[2] - 2 * spec.margin
    starts = [spec.margin + offset for offset in taps]
    shifted = [x[:, :, start : start + timesteps] for start in starts]
    return reduce(add, (one * by_group(kernel[tap], spec) for tap, one in enumerate(shifted)))


def temporal_maximum(x: Array, lookahead: bool) -> Array:
    """Take the maximum of each timestep and its neighbour (branch 5).

    Args:
        x: one branch of all groups.
        lookahead: if true, y[t] = max(x[t], x[t+1]), and the last step is copied; otherwise
            y[t] = max(x[t-1], x[t]), and the first step is max(x[0], x[1]).

    Shape:
        x, result: G, N, T, S, C_b.
    """
    pairs = jnp.maximum(x[:, :, :-1], x[:, :, 1:])
    ends = (pairs, x[:, :, -1:]) if lookahead else (pairs[:, :, :1], pairs)
    return jnp.concatenate(ends, axis=2)


def constants(temporal_biases: Sequence[Array], spec: LayerSpec) -> Array:
    """Return the temporal biases, which ``branches`` omits, as a vector of all channels."""
    middle = [bias.reshape(spec.n_groups, -1) for bias in temporal_biases]
    none = jnp.zeros_like(middle[0])
    return jnp.concatenate([none, *middle, none], axis=-1).ravel()


def moments(parts: Sequence[Array]) -> tuple[Array, Array]:
    """Return mean and variance per channel of the branches, as vectors of all channels."""
    axes = (1, 2, 3)
    mean = jnp.concatenate([part.mean(axes) for part in parts], axis=-1)
    variance = jnp.concatenate([part.var(axes) for part in parts], axis=-1)
    return mean.ravel(), variance.ravel()


def pool(y: Array) -> Array:
    """Take the maximum of each pair of timesteps; an odd last timestep is dropped.

    Shape:
        y: G, N, T, S, K; result: G, N, T // 2, S, K.
    """
    n_groups, n_clips, timesteps, positions, channels = y.shape
    halved = timesteps // 2
    pairs = y[:, :, : 2 * halved].reshape(n_groups, n_clips, halved, 2, positions, channels)
    return jnp.maximum(pairs[:, :, :, 0], pairs[:, :, :, 1])


def shuffle(y: Array, height: int, width: int) -> Array:
    """Shuffle the channels from (G, K) to (K, G), and restore the layout of the input.

    Shape:
        y: G, N, T, H * W, K; result: N, T, H, W, K * G.
    """
    n_groups, n_clips, timesteps, _, channels = y.shape
    rows = y.reshape(n_groups, -1, channels).transpose(1, 2, 0)
    return rows.reshape(n_clips, timesteps, height, width, n_groups * channels)
