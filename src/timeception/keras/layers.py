"""One Timeception layer and its parameters; the maximum over given axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import keras
from keras import ops

from timeception import checks
from timeception.spec import DEPTHWISE_BIAS_INIT, LayerSpec
from timeception.spec.channels_last import BranchKernels, ChannelsLast

Tensor = Any  # a tensor of the active Keras backend
Shape = tuple[int | None, ...]


def check_floating(x: Tensor) -> None:
    """Check that an input consists of floating-point numbers.

    Raises:
        TypeError: if it consists of others, such as pixel levels.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    if not keras.backend.is_float_dtype(dtype):
        must = "be a floating-point array"
        raise TypeError(checks.problem("input", must, dtype, checks.FLOAT_ADVICE))


@keras.saving.register_keras_serializable("timeception")
class TimeceptionLayer(keras.layers.Layer):
    """Grouped multi-scale temporal convolutions, channel shuffle, and temporal pooling.

    Every group of channels goes through five branches: a pointwise convolution; three pointwise
    convolutions, each followed by a depthwise temporal convolution of a different reach; and a
    pointwise convolution followed by a temporal maximum. Batch norm and ReLU follow, the channels
    are shuffled across groups, and the number of timesteps is halved.

    Args:
        spec: channels, groups and taps.
        bn_eps: epsilon of the batch normalisation.
        bn_momentum: weight of the new batch in the moving statistics (what Keras calls the
            momentum is ``1 - bn_momentum``).
        kwargs: ``name``, ``dtype``, ``trainable``, as in every Keras layer.

    Shape:
        input: N, T, H, W, C with T >= 2; result: N, T // 2, H, W, ``spec.out_channels``.

    Source: Hussein et al., CVPR 2019, section 3.3, figure 4. Initial values are those of the
    Keras network of 2019: Glorot kernels, depthwise biases 0.1, other biases 0.
    """

    def __init__(self, spec: LayerSpec, bn_eps: float, bn_momentum: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec, self.bn_eps, self.bn_momentum = spec, bn_eps, bn_momentum
        # never called: ``call`` applies its variables, in full precision
        self.norm = batch_norm(bn_eps, bn_momentum, self.dtype_policy)

    def build(self, input_shape: Shape) -> None:
        """Create the parameters; only the channels of ``input_shape`` matter."""
        spec = self.spec
        shape = spec.n_groups, spec.group_channels, spec.out_channels // spec.n_groups
        self.pointwise_kernel = self._kernel("pointwise_kernel", shape, spec.pointwise_bound)
        self.pointwise_bias = self._bias("pointwise_bias", spec.out_channels)
        channels, bound = spec.temporal_channels, spec.temporal_bound
        self.temporal_kernels = [
            self._kernel(f"temporal_{branch}_kernel", (len(taps), channels), bound(branch))
            for branch, taps in enumerate(spec.taps)
        ]
        self.temporal_biases = [
            self._bias(f"temporal_{branch}_bias", channels, DEPTHWISE_BIAS_INIT)
            for branch in range(len(spec.taps))
        ]
        self.norm.build((None, None, None, spec.out_channels))
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the layer."""
        x, net = ops.cast(x, self.compute_dtype), ChannelsLast(ops, self.spec)
        norm = self.norm
        _, _, height, width, _ = ops.shape(x)
        constant = net.constants(self.temporal_biases)
        kernels = BranchKernels(self.pointwise_kernel, self.pointwise_bias, self.temporal_kernels)
        if training and norm.trainable:
            parts = net.branches(x, self._cast(kernels))
            parts = [ops.cast(part, constant.dtype) for part in parts]
            mean, variance = _moments(parts)
            mean = mean + constant
            for moving, batch in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
                moving.assign((1 - self.bn_momentum) * moving + self.bn_momentum * batch)
            scale = self._scale(variance)
            scales = net.split_branches(net.by_group(scale))
            parts = [part * factor for part, factor in zip(parts, scales, strict=True)]
        else:
            mean, scale = norm.moving_mean, self._scale(norm.moving_variance)
            *parts, last = net.branches(x, self._cast(net.fold(kernels, scale)))
            last_scale = net.split_branches(net.by_group(scale))[-1]
            parts.append(last * ops.cast(last_scale, last.dtype))
        shift = norm.beta + (constant - mean) * scale
        y = ops.concatenate([net.temporal_pool(part) for part in parts], axis=-1)
        y = ops.relu(ops.add(y, net.by_group(shift)))
        return net.shuffle(ops.cast(y, self.compute_dtype), height, width)

    def _scale(self, variance: Tensor) -> Tensor:
        return self.norm.gamma * ops.rsqrt(variance + self.bn_eps)

    def _cast(self, kernels: BranchKernels) -> BranchKernels:
        return keras.tree.map_structure(lambda v: ops.cast(v, self.compute_dtype), kernels)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return N, T // 2, H, W, C_out; unknown sizes stay unknown."""
        n_clips, timesteps, height, width, _ = input_shape
        halved = None if timesteps is None else timesteps // 2
        return n_clips, halved, height, width, self.spec.out_channels

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        fields = {"spec": asdict(self.spec), "bn_eps": self.bn_eps, "bn_momentum": self.bn_momentum}
        return {**super().get_config(), **fields}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TimeceptionLayer:
        """Build the layer from the fields of ``get_config``."""
        fields = dict(config["spec"])
        fields["taps"] = tuple(map(tuple, fields["taps"]))
        return cls(**{**config, "spec": LayerSpec(**fields)})

    def canonical_variables(self) -> dict[str, keras.Variable]:
        """Return the variables of the layer by canonical name."""
        named = {"pointwise.weight": self.pointwise_kernel, "pointwise.bias": self.pointwise_bias}
        temporal = zip(self.temporal_kernels, self.temporal_biases, strict=True)
        for branch, (kernel, bias) in enumerate(temporal):
            named[f"temporal.{branch}.weight"] = kernel
            named[f"temporal.{branch}.bias"] = bias
        return named | norm_variables(self.norm)

    def _kernel(self, name: str, shape: tuple[int, ...], bound: float) -> keras.Variable:
        uniform = keras.initializers.RandomUniform(-bound, bound)
        return self.add_weight(shape=shape, initializer=uniform, name=name, autocast=False)

    def _bias(self, name: str, channels: int, value: float = 0.0) -> keras.Variable:
        constant = keras.initializers.Constant(value)
        return self.add_weight(shape=(channels,), initializer=constant, name=name, autocast=False)


@keras.saving.register_keras_serializable("timeception")
class MaxLayer(keras.layers.Layer):
    """The maximum over given axes.

    Args:
        axis: one axis or several; the batch is axis 0.
        keepdims: keep the reduced axes with size 1.
        kwargs: ``name``, ``dtype``, ``trainable``, as in every Keras layer.

    Example:
        >>> MaxLayer(axis=(1, 2, 3)).compute_output_shape((None, 8, 7, 7, 2480))
        (None, 2480)
    """

    def __init__(self, axis: int | Sequence[int], keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        axes = (axis,) if isinstance(axis, int) else tuple(axis)
        are_axes = bool(axes) and all(isinstance(number, int) for number in axes)
        checks.require(are_axes, "axis", "be a whole number or a sequence of them", axis)
        self.axis, self.keepdims = axes, keepdims

    def call(self, x: Tensor) -> Tensor:
        """Take the maximum."""
        return ops.max(x, axis=self.axis, keepdims=self.keepdims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the input without the reduced axes."""
        rank = len(input_shape)
        for axis in self.axis:
            checks.require(-rank <= axis < rank, "axis", f"lie in [-{rank}, {rank})", axis)
        reduced = {axis % rank for axis in self.axis}
        if self.keepdims:
            return tuple(1 if i in reduced else size for i, size in enumerate(input_shape))
        return tuple(size for i, size in enumerate(input_shape) if i not in reduced)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "axis": list(self.axis), "keepdims": self.keepdims}


def batch_norm(eps: float, momentum: float, dtype: Any) -> keras.layers.BatchNormalization:
    """Return a batch norm of the last axis; ``momentum`` is the weight of the new batch."""
    return keras.layers.BatchNormalization(
        momentum=1 - momentum, epsilon=eps, dtype=dtype, name="norm"
    )


def norm_variables(norm: keras.layers.BatchNormalization) -> dict[str, keras.Variable]:
    """Return the variables of a batch normalisation by canonical name."""
    return {
        "norm.weight": norm.gamma,
        "norm.bias": norm.beta,
        "norm.running_mean": norm.moving_mean,
        "norm.running_var": norm.moving_variance,
    }


def _moments(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and variance per channel of the branches, as vectors of all channels."""
    moments = zip(*(ops.moments(part, axes=(1, 2, 3)) for part in parts), strict=True)
    mean, variance = (ops.reshape(ops.concatenate(each, axis=-1), (-1,)) for each in moments)
    return mean, variance
