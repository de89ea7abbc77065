"""The network as pure functions of its parameters."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from timeception import checks
from timeception.jax.params import Params
from timeception.spec import LEAKY_SLOPE, ClassifierSpec, LayerSpec
from timeception.spec.channels_last import LAYOUT, BranchKernels, ChannelsLast
from timeception.weights.layouts import keras_layouts, to_keras

Arrays = dict[str, Array]
Dropout = Callable[[Array, float], Array]
BatchMoments = Callable[[], tuple[Array, Array]]
Normalization = Callable[[str, BatchMoments], tuple[Array, Array, Array]]

_NORM = ("weight", "bias", "running_mean", "running_var")


def apply(params: Params, x: Array) -> Array:
    """Run the network in evaluation; a pure function.

    Args:
        params: from ``init``, ``load`` or ``from_pretrained``.
        x: clips of features.

    Shape:
        x: N, T, H, W, C with T >= 2 ** n_layers; result: N, T', H, W, C' after the layers of a
        ``TimeceptionSpec``; N, ``n_classes`` (logits) for a ``ClassifierSpec``.

    Raises:
        ValueError: if an input does not fit.
    """
    return _run(params, to_keras(params.spec, params), x, _dropout(None), None)


def apply_training(params: Params, x: Array, key: Array | None = None) -> tuple[Array, Params]:
    """Run the network in training, with batch statistics and dropout; a pure function.

    Args:
        params: as in ``apply``. Gradients of the moving statistics are zero.
        x: clips of features.
        key: random key for the dropout of a classifier.

    Returns:
        The result of ``apply``, and ``params`` with updated moving statistics (their variance is
        biased, as in Keras; PyTorch keeps the unbiased variance).

    Raises:
        ValueError: if an input does not fit, or ``key`` is missing for a classifier with dropout.
    """
    has_dropout = isinstance(params.spec, ClassifierSpec) and any(params.spec.dropout)
    is_complete = key is not None or not has_dropout
    checks.require(is_complete, "key", "be given, since the classifier has dropout", key)
    laid_out, batch = to_keras(params.spec, params), Arrays()
    y = _run(params, laid_out, x, _dropout(key), batch)
    step, layouts = params.layers.bn_momentum, keras_layouts(params.spec)
    moved = {
        name: layouts[name].from_keras((1 - step) * laid_out[name] + step * statistic)
        for name, statistic in batch.items()
    }
    return y, params.replace(jax.lax.stop_gradient(moved))


def _run(params: Params, arrays: Arrays, x: Array, dropout: Dropout, batch: Arrays | None) -> Array:
    """Run the network on arrays in Keras layouts.

    If ``batch`` is given, normalise by the moments of the batch, and store them there.
    """
    spec, layers = params.spec, params.layers
    _check_floating(x)
    layers.check_input(x.shape, LAYOUT)

    def norm(name: str, moments: BatchMoments) -> tuple[Array, Array, Array]:
        """Return mean, scale and shift; ``moments`` returns mean and variance of the batch."""
        weight, bias, *moving = (f"{name}.{leaf}" for leaf in _NORM)
        if batch is not None:
            batch.update(zip(moving, moments(), strict=True))
        mean, variance = ((arrays if batch is None else batch)[leaf] for leaf in moving)
        return mean, arrays[weight] * lax.rsqrt(variance + layers.bn_eps), arrays[bias]

    prefix = "timeception." if isinstance(spec, ClassifierSpec) else ""
    for index, layer in enumerate(layers.layers):
        x = _layer(arrays, f"{prefix}layers.{index}.", layer, norm, x)
    if not isinstance(spec, ClassifierSpec):
        return x
    x = dropout(_global_pool(spec, x), spec.dropout[0])
    x = x @ arrays["hidden.weight"] + arrays["hidden.bias"]
    mean, scale, shift = norm("norm", lambda: (x.mean(0), x.var(0)))
    x = dropout(jax.nn.leaky_relu((x - mean) * scale + shift, LEAKY_SLOPE), spec.dropout[1])
    return x @ arrays["output.weight"] + arrays["output.bias"]


def _check_floating(x: Array) -> None:
    """Check that an input is an array of floating-point numbers.

    Raises:
        TypeError: if it is something else, such as a list or pixel levels.
    """
    must = "be a floating-point array"
    if not hasattr(x, "dtype"):
        advice = "Pass jax.numpy.asarray(x)."
        raise TypeError(checks.problem("input", must, type(x).__name__, advice))
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(checks.problem("input", must, str(x.dtype), checks.FLOAT_ADVICE))


def _layer(arrays: Arrays, prefix: str, spec: LayerSpec, norm: Normalization, x: Array) -> Array:
    """Apply one Timeception layer: N, T, H, W, C to N, T // 2, H, W, C'."""
    _, _, height, width, _ = x.shape
    net = ChannelsLast(jnp, spec)
    temporal = [f"{prefix}temporal.{branch}" for branch in range(len(spec.taps))]
    constant = net.constants([arrays[f"{name}.bias"] for name in temporal])
    kernels = [arrays[f"{name}.weight"] for name in temporal]
    pointwise, bias = arrays[f"{prefix}pointwise.weight"], arrays[f"{prefix}pointwise.bias"]
    parts = net.branches(x, BranchKernels(pointwise, bias, kernels))

    def moments() -> tuple[Array, Array]:
        """Return mean and variance per channel, as vectors of all channels."""
        mean = jnp.concatenate([part.mean((1, 2, 3)) for part in parts], axis=-1)
        variance = jnp.concatenate([part.var((1, 2, 3)) for part in parts], axis=-1)
        return mean.ravel() + constant, variance.ravel()

    mean, scale, shift = norm(f"{prefix}norm", moments)
    scales = net.split_branches(net.by_group(scale))
    pooled = [net.temporal_pool(part * factor) for part, factor in zip(parts, scales, strict=True)]
    shift = net.by_group(shift + (constant - mean) * scale)
    y: Array = net.shuffle(jax.nn.relu(jnp.concatenate(pooled, axis=-1) + shift), height, width)
    return y


def _global_pool(spec: ClassifierSpec, features: Array) -> Array:
    """Reduce features N, T, H, W, C to the vectors that the linear layers take."""
    if spec.map_size is None:
        return features.max((1, 2, 3))
    spec.check_map_size(features.shape[2:4])
    return features.max(1).reshape(len(features), -1)


def _dropout(key: Array | None) -> Dropout:
    """Return a dropout that uses a new key at every call; without a key, it does nothing."""
    if key is None:
        return lambda y, rate: y
    keys = iter(jax.random.split(key))

    def drop(y: Array, rate: float) -> Array:
        kept = jax.random.bernoulli(next(keys), 1 - rate, y.shape)
        return jnp.where(kept, y / (1 - rate), 0)

    return drop
