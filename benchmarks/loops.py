"""The loop network in Keras and in JAX: one convolution per group and branch, as in 2019.

Both take the canonical arrays and inputs N, T, H * W, C, and use the convolutions of the framework.
The loop network in PyTorch is ``peers.LoopTimeception``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from timeception.spec import LayerSpec, TimeceptionSpec

Arrays = dict[str, np.ndarray]

_NORM = ("weight", "bias", "running_mean", "running_var")


def branches(spec: LayerSpec, arrays: Arrays) -> Iterator[tuple[int, int, Arrays]]:
    """Yield each group and branch of a layer with its part of the arrays, channels last."""
    width = spec.branch_channels
    for group in range(spec.n_groups):
        for branch in range(5):
            start = (5 * group + branch) * width
            rows = slice(start, start + width)
            own = {f"norm.{leaf}": arrays[f"norm.{leaf}"][rows] for leaf in _NORM}
            own["kernel"] = arrays["pointwise.weight"][rows].T
            own["bias"] = arrays["pointwise.bias"][rows]
            if 1 <= branch <= 3:
                rows = slice(group * width, (group + 1) * width)
                own["temporal.kernel"] = arrays[f"temporal.{branch - 1}.weight"][rows].T
                own["temporal.bias"] = arrays[f"temporal.{branch - 1}.bias"][rows]
            yield group, branch, own


def of_layer(arrays: Arrays, index: int) -> Arrays:
    """Return the arrays of one layer."""
    prefix = f"layers.{index}."
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def keras_loop(spec: TimeceptionSpec, arrays: Arrays, timesteps: int, positions: int) -> Any:
    """Return the loop network as a Keras model: N, T, S, C to N, T', S, C'."""
    import keras

    inputs = x = keras.Input((timesteps, positions, spec.in_channels))
    weights: list[tuple[Any, list[np.ndarray]]] = []
    for index, layer in enumerate(spec.layers):
        size, joined = layer.group_channels, []
        for group, branch, own in branches(layer, of_layer(arrays, index)):
            conv = keras.layers.Conv2D(layer.branch_channels, 1)
            y = conv(x[..., group * size : (group + 1) * size])
            weights.append((conv, [own["kernel"][None, None], own["bias"]]))
            if 1 <= branch <= 3:
                taps = layer.taps[branch - 1]
                depthwise = keras.layers.DepthwiseConv2D(
                    (len(taps), 1), padding="same", dilation_rate=(taps[1] - taps[0], 1)
                )
                y = depthwise(y)
                kernel = own["temporal.kernel"][:, None, :, None]
                weights.append((depthwise, [kernel, own["temporal.bias"]]))
            elif branch == 4:
                y = keras.layers.MaxPooling2D((2, 1), strides=1, padding="same")(y)
            norm = keras.layers.BatchNormalization(epsilon=spec.bn_eps)
            joined.append(norm(y))
            weights.append((norm, [own[f"norm.{leaf}"] for leaf in _NORM]))
        y = keras.layers.ReLU()(keras.layers.Concatenate()(joined))
        steps, per_group = timesteps >> index, layer.out_channels // layer.n_groups
        y = keras.layers.Reshape((steps, positions, layer.n_groups, per_group))(y)
        y = keras.layers.Permute((1, 2, 4, 3))(y)
        y = keras.layers.Reshape((steps, positions, layer.out_channels))(y)
        x = keras.layers.MaxPooling2D((2, 1))(y)
    model = keras.Model(inputs, x)
    for made, values in weights:
        made.set_weights(values)
    return model


def jax_loop(spec: TimeceptionSpec) -> Callable[[Any, Any], Any]:
    """Return the loop network as a function of ``loop_params`` and an input N, T, S, C."""
    import jax.numpy as jnp
    from jax import lax, nn

    def convolve(y: Any, kernel: Any, padding: Any, dilation: int = 1, groups: int = 1) -> Any:
        return lax.conv_general_dilated(
            y,
            kernel,
            (1, 1),
            padding,
            rhs_dilation=(dilation, 1),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    def pool(y: Any, stride: int, after: int) -> Any:
        padding = ((0, 0), (0, after), (0, 0), (0, 0))
        return lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 1, 1), (1, stride, 1, 1), padding)

    def run_branch(layer: LayerSpec, branch: int, own: Any, y: Any) -> Any:
        y = convolve(y, own["kernel"][None, None], "VALID") + own["bias"]
        if 1 <= branch <= 3:
            taps = layer.taps[branch - 1]
            kernel, padding = own["temporal.kernel"][:, None, None], ((taps[-1],) * 2, (0, 0))
            y = convolve(y, kernel, padding, taps[1] - taps[0], y.shape[-1])
            y = y + own["temporal.bias"]
        elif branch == 4:
            y = pool(y, stride=1, after=1)
        scale = own["norm.weight"] * lax.rsqrt(own["norm.running_var"] + spec.bn_eps)
        return (y - own["norm.running_mean"]) * scale + own["norm.bias"]

    def run(params: Any, x: Any) -> Any:
        for layer, blocks in zip(spec.layers, params, strict=True):
            pieces = jnp.split(x, layer.n_groups, axis=-1)
            joined = [
                run_branch(layer, number % 5, own, pieces[number // 5])
                for number, own in enumerate(blocks)
            ]
            y = nn.relu(jnp.concatenate(joined, -1))
            by_group = y.reshape(*y.shape[:3], layer.n_groups, -1)
            x = pool(by_group.swapaxes(3, 4).reshape(y.shape), stride=2, after=0)
        return x

    return run


def loop_params(spec: TimeceptionSpec, arrays: Arrays) -> list[list[Arrays]]:
    """Return the parameters of ``jax_loop``, by layer, then by group and branch."""
    return [
        [own for _, _, own in branches(layer, of_layer(arrays, index))]
        for index, layer in enumerate(spec.layers)
    ]
