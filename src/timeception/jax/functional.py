"""The operations of a Timeception layer on arrays, with all groups and branches at once.

Activations inside a layer are laid out N, T, S, K: clip, timestep, the H * W positions of the map
as one axis, and channel. Channels are ordered (branch, channel of the branch, group): a branch is
one slice, and the order is already that of the channel shuffle, which so costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from timeception.spec import N_BRANCHES, LayerSpec


def grouped_pointwise(x: Array, kernel: Array, bias: Array, spec: LayerSpec) -> Array:
    """The pointwise convolutions of all groups and branches as one batched matrix product.

    Args:
        x: the layer's input.
        kernel: one matrix a group, columns ordered (branch, channel).
        bias: one a channel.
        spec: the layer.

    Shape:
        x: N, T, H, W, C; kernel: G, C / G, B * C_b; bias: K; result: N, T, H * W, K.
    """
    n_clips, timesteps, height, width, _ = x.shape
    columns = x.reshape(-1, spec.n_groups, spec.group_channels)
    y = columns.transpose(1, 0, 2) @ kernel
    shape = (n_clips, timesteps, height * width, spec.out_channels)
    return y.transpose(1, 2, 0).reshape(shape) + bias


def temporal_conv(x: Array, kernel: Array, bias: Array, taps: Sequence[int]) -> Array:
    """A depthwise convolution over time, as a sum of shifted products.

    XLA's depthwise convolutions are slow on a CPU; these few products are not.

    Args:
        x: one branch of all groups.
        kernel: one row a tap.
        bias: one a channel.
        taps: temporal offset of each row of ``kernel``; zeros are read beyond both ends.

    Shape:
        x, result: N, T, S, C_b * G; kernel: k, C_b * G.
    """
    timesteps, margin = x.shape[1], max(taps)
    padded = jnp.pad(x, ((0, 0), (margin, margin), (0, 0), (0, 0)))
    out = bias
    for tap, offset in enumerate(taps):
        start = margin + offset
        out = out + padded[:, start : start + timesteps] * kernel[tap]
    return out


def temporal_maximum(x: Array, lookahead: bool) -> Array:
    """Branch 5: the maximum of each step and its neighbour.

    Args:
        x: one branch of all groups.
        lookahead: take max(x[t], x[t+1]), the last step alone; otherwise max(x[t-1], x[t]), with
            a first step of max(x[0], x[1]).

    Shape:
        x, result: N, T, S, C_b * G.
    """
    pairs = jnp.maximum(x[:, :-1], x[:, 1:])
    ends = (pairs, x[:, -1:]) if lookahead else (pairs[:, :1], pairs)
    return jnp.concatenate(ends, axis=1)


def temporal_branches(
    y: Array, kernels: Sequence[Array], biases: Sequence[Array], spec: LayerSpec
) -> Array:
    """The five branches after their pointwise convolutions.

    Shape:
        y, result: N, T, S, K.
    """
    first, *middle, last = jnp.split(y, N_BRANCHES, axis=-1)
    convolved = map(temporal_conv, middle, kernels, biases, spec.taps)
    maximum = temporal_maximum(last, spec.pool_lookahead)
    return jnp.concatenate([first, *convolved, maximum], axis=-1)


def batch_norm(
    x: Array, weight: Array, bias: Array, mean: Array, variance: Array, eps: float
) -> Array:
    """Normalise the last axis by the statistics given."""
    scale = weight * lax.rsqrt(variance + eps)
    return (x - mean) * scale + bias


def pool(y: Array) -> Array:
    """A temporal maximum of width 2, stride 2; an odd last step is dropped.

    Shape:
        y: N, T, S, K; result: N, T // 2, S, K.
    """
    n_clips, timesteps, positions, channels = y.shape
    halved = timesteps // 2
    pairs = y[:, : 2 * halved].reshape(n_clips, halved, 2, positions, channels)
    return pairs.max(axis=2)
