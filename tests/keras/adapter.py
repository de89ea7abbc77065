"""The Keras adapter, for the active backend."""

from __future__ import annotations

import keras
import numpy as np

from tests.contracts import Arrays
from timeception.keras import Timeception, TimeceptionClassifier
from timeception.spec import ClassifierSpec, TimeceptionSpec, is_trainable
from timeception.weights.layouts import keras_layouts


def channels_last(x: np.ndarray) -> np.ndarray:
    """N, C, T, H, W to N, T, H, W, C."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def channels_first(y: object) -> np.ndarray:
    """N, T, H, W, C of any framework to N, C, T, H, W of numpy."""
    return np.moveaxis(keras.ops.convert_to_numpy(y), -1, 1)


def build(spec: TimeceptionSpec, arrays: Arrays) -> Timeception:
    """Build the stack of layers with the arrays."""
    network = Timeception.from_spec(spec)
    network.load_arrays(arrays)
    return network


def compiled(network: keras.layers.Layer, x: np.ndarray) -> object:
    """Run the network, compiled as a whole on JAX, which is slow otherwise."""
    if keras.backend.backend() != "jax":
        return network(x)
    import jax

    variables = (network.trainable_variables, network.non_trainable_variables)
    state = [[variable.value for variable in kind] for kind in variables]
    return jax.jit(lambda state, x: network.stateless_call(*state, x)[0])(state, x)


class KerasAdapter:
    """Runs the Keras layers."""

    def features(self, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray) -> np.ndarray:
        return channels_first(compiled(build(spec, arrays), channels_last(x)))

    def logits(self, spec: ClassifierSpec, arrays: Arrays, x: np.ndarray) -> np.ndarray:
        model = TimeceptionClassifier.from_arrays(spec, arrays)
        return keras.ops.convert_to_numpy(compiled(model, channels_last(x)))

    def initial_arrays(self, spec: ClassifierSpec, seed: int) -> Arrays:
        keras.utils.set_random_seed(seed)
        return TimeceptionClassifier.from_spec(spec).to_arrays()

    def train(
        self, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray, cotangent: np.ndarray
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        network = build(spec, arrays)
        backward = {"tensorflow": with_tape, "jax": with_grad, "torch": with_autograd}
        run = backward[keras.backend.backend()]
        y, of_variables, of_input = run(network, channels_last(x), channels_last(cotangent))
        layouts, named = keras_layouts(spec), network.canonical_variables()
        by_path = dict(
            zip((v.path for v in network.trainable_variables), of_variables, strict=True)
        )
        gradients = {
            name: layouts[name].from_keras(np.asarray(by_path[variable.path]))
            for name, variable in named.items()
            if is_trainable(name)
        }
        gradients["input"] = np.moveaxis(np.asarray(of_input), -1, 1)
        moved = {k: v for k, v in network.to_arrays().items() if not is_trainable(k)}
        return channels_first(y), gradients, moved


def with_tape(network: Timeception, x: np.ndarray, cotangent: np.ndarray) -> tuple:
    """Compute result and gradients of variables and input with TensorFlow."""
    import tensorflow as tf

    clips = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(clips)
        y = network(clips, training=True)
        loss = tf.reduce_sum(y * cotangent)
    values = [variable.value for variable in network.trainable_variables]
    *of_variables, of_input = tape.gradient(loss, [*values, clips])
    return y, of_variables, of_input


def with_grad(network: Timeception, x: np.ndarray, cotangent: np.ndarray) -> tuple:
    """Do the same with JAX, and write the moving statistics back to the network."""
    import jax

    fixed = [variable.value for variable in network.non_trainable_variables]

    def loss(variables: list, clips: jax.Array) -> tuple:
        y, moved = network.stateless_call(variables, fixed, clips, training=True)
        return (y * cotangent).sum(), (y, moved)

    variables = [variable.value for variable in network.trainable_variables]
    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    (_, (y, moved)), (of_variables, of_input) = run(variables, jax.numpy.asarray(x))
    for variable, value in zip(network.non_trainable_variables, moved, strict=True):
        variable.assign(value)
    return y, of_variables, of_input


def with_autograd(network: Timeception, x: np.ndarray, cotangent: np.ndarray) -> tuple:
    """Do the same with PyTorch."""
    import torch

    clips = torch.tensor(x, requires_grad=True)
    y = network(clips, training=True)
    (y * torch.from_numpy(cotangent)).sum().backward()
    of_variables = [v.value.grad.numpy() for v in network.trainable_variables]
    return y, of_variables, clips.grad.numpy()
