"""The adapter of the function form, inside ``tf.function``."""

from __future__ import annotations

from itertools import count

import keras
import numpy as np
import tensorflow as tf

from tests.contracts import Arrays
from timeception.keras import TimeceptionClassifier
from timeception.spec import ClassifierSpec, TimeceptionSpec, is_trainable
from timeception.tensorflow import timeception_layers, timeception_network
from timeception.weights.layouts import keras_layouts

_numbers = count()


def channels_last(x: np.ndarray) -> tf.Tensor:
    """N, C, T, H, W to N, T, H, W, C."""
    return tf.constant(np.moveaxis(x, 1, -1))


def channels_first(y: tf.Tensor) -> np.ndarray:
    """N, T, H, W, C to N, C, T, H, W."""
    return np.moveaxis(y.numpy(), -1, 1)


def options(spec: TimeceptionSpec) -> dict:
    """The arguments of ``timeception_layers`` for a spec, with a new name."""
    fields = spec.to_dict()
    del fields["in_channels"]
    return {**fields, "name": f"network_{next(_numbers)}"}


def load(spec: TimeceptionSpec, arrays: Arrays) -> dict:
    """Put arrays into a network of the function form; return its arguments."""
    arguments = options(spec)
    shape = (1, spec.min_timesteps, 1, 1, spec.in_channels)
    timeception_layers(tf.zeros(shape), **arguments)
    timeception_network(arguments["name"]).load_arrays(arrays)
    return arguments


class FunctionAdapter:
    """Runs ``timeception_layers``; the classifier has no function form, so it is the layer."""

    def features(self, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray) -> np.ndarray:
        arguments = load(spec, arrays)
        return channels_first(
            tf.function(lambda x: timeception_layers(x, **arguments))(channels_last(x))
        )

    def logits(self, spec: ClassifierSpec, arrays: Arrays, x: np.ndarray) -> np.ndarray:
        model = TimeceptionClassifier.from_arrays(spec, arrays)
        return tf.function(model)(channels_last(x)).numpy()

    def initial_arrays(self, spec: ClassifierSpec, seed: int) -> Arrays:
        keras.utils.set_random_seed(seed)
        return TimeceptionClassifier.from_spec(spec).to_arrays()

    def train(
        self, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray, cotangent: np.ndarray
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        arguments = load(spec, arrays)
        network = timeception_network(arguments["name"])
        named = network.canonical_variables()
        names = [name for name in named if is_trainable(name)]

        @tf.function
        def backward(x: tf.Tensor, cotangent: tf.Tensor) -> tuple:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = timeception_layers(x, training=True, **arguments)
                loss = tf.reduce_sum(y * cotangent)
            return y, tape.gradient(loss, [named[name].value for name in names] + [x])

        y, (*of_variables, of_input) = backward(channels_last(x), channels_last(cotangent))
        layouts = keras_layouts(spec)
        gradients = {
            name: layouts[name].from_keras(gradient.numpy())
            for name, gradient in zip(names, of_variables, strict=True)
        }
        gradients["input"] = channels_first(of_input)
        moved = {k: v for k, v in network.to_arrays().items() if not is_trainable(k)}
        return channels_first(y), gradients, moved
