"""Timeception layers on padded batches in Keras: each video gives what it gives alone."""

from __future__ import annotations

import keras
from keras import ops

from timeception.keras.layers import Tensor, TimeceptionLayer
from timeception.spec.channels_last import BranchKernels, ChannelsLast


def step_mask(lengths: Tensor, timesteps: Tensor) -> Tensor:
    """Return which timesteps belong to each video.

    Shape:
        lengths: N; result: N, ``timesteps``, boolean.
    """
    return ops.arange(timesteps) < ops.expand_dims(lengths, 1)


def take_steps(x: Tensor, index: Tensor) -> Tensor:
    """Take timesteps of each video.

    Shape:
        x: N, T, ...; index: N, T'; result: N, T', ...
    """
    shape = ops.shape(x)
    index = ops.reshape(index, (*ops.shape(index), *(1 for _ in shape[2:])))
    return ops.take_along_axis(x, ops.broadcast_to(index, (*ops.shape(index)[:2], *shape[2:])), 1)


def repeat_last_step(x: Tensor, lengths: Tensor, min_timesteps: int) -> tuple[Tensor, Tensor]:
    """Lengthen videos shorter than ``min_timesteps`` by repeating their last timestep.

    Shape:
        x: N, T, H, W, C; lengths: N; results: N, max(T, ``min_timesteps``), H, W, C, and N.
    """
    timesteps = ops.shape(x)[1]  # an int where it is known, as JAX requires
    is_known = isinstance(timesteps, int)
    longest = max(timesteps, min_timesteps) if is_known else ops.maximum(timesteps, min_timesteps)
    steps = ops.arange(longest, dtype=lengths.dtype)
    index = ops.minimum(steps, ops.expand_dims(lengths - 1, 1))
    return take_steps(x, index), ops.maximum(lengths, min_timesteps)


def masked_layer(
    layer: TimeceptionLayer, x: Tensor, lengths: Tensor, training: bool | None = None
) -> Tensor:
    """Apply a layer to padded videos.

    The temporal convolutions see zeros after a video's end, the maximum of branch 5 sees nothing,
    and batch norm takes its statistics from the videos' own timesteps.

    Args:
        layer: the layer.
        x: padded videos.
        lengths: timesteps of each video, at least 2.
        training: whether the statistics are those of the batch.

    Shape:
        x: N, T, H, W, C; lengths: N; result: N, T // 2, H, W, C', of which each video's first
        ``lengths // 2`` timesteps are valid.
    """
    spec, norm = layer.spec, layer.norm
    x, net = ops.cast(x, layer.compute_dtype), ChannelsLast(ops, spec)
    _, timesteps, height, width, _ = ops.shape(x)
    kernels = BranchKernels(layer.pointwise_kernel, layer.pointwise_bias, layer.temporal_kernels)
    kernels = keras.tree.map_structure(lambda v: ops.cast(v, layer.compute_dtype), kernels)
    steps = ops.arange(timesteps + 2 * spec.margin) - spec.margin
    belongs = (steps >= 0) & (steps < ops.expand_dims(lengths, 1))
    padded = ops.reshape(belongs, (1, -1, timesteps + 2 * spec.margin, 1, 1))
    inside, middle = padded[:, :, spec.margin : -spec.margin], slice(spec.margin, -spec.margin)
    y = net.grouped_pointwise(x, kernels.pointwise, kernels.bias)
    first, *convolved, last = net.split_branches(ops.where(padded, y, ops.zeros_like(y)))
    convolved = list(map(net.temporal_conv, convolved, kernels.temporal, spec.taps))
    last = last[:, :, middle]
    lowest = ops.where(inside, last, ops.full_like(last, float("-inf")))
    parts = [first[:, :, middle], *convolved, net.temporal_maximum(lowest)]
    y = ops.cast(ops.concatenate(parts, axis=-1), layer.variable_dtype)
    y = ops.where(inside, y + net.by_group(net.constants(layer.temporal_biases)), 0.0)
    mean, variance = norm.moving_mean, norm.moving_variance
    if training and norm.trainable:
        n_values = ops.cast(ops.sum(lengths) * ops.shape(y)[3], y.dtype)
        mean = ops.reshape(ops.sum(y, axis=(1, 2, 3)) / n_values, (-1,))
        centred = ops.where(inside, y - net.by_group(mean), 0.0)
        variance = ops.reshape(ops.sum(ops.square(centred), axis=(1, 2, 3)) / n_values, (-1,))
        for moving, batch in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
            moving.assign((1 - layer.bn_momentum) * moving + layer.bn_momentum * batch)
    scale = norm.gamma * ops.rsqrt(variance + layer.bn_eps)
    y = ops.relu((y - net.by_group(mean)) * net.by_group(scale) + net.by_group(norm.beta))
    y = net.temporal_pool(ops.where(inside, y, 0.0))
    return net.shuffle(ops.cast(y, layer.compute_dtype), height, width)
