"""The function form, on Keras tensors and TensorFlow tensors, eager and inside tf.function."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import oracle
from tests.contracts import BAD_INPUTS, CASES, assert_close, draw_input
from timeception.keras import MaxLayer, Timeception
from timeception.spec import TimeceptionSpec, is_trainable
from timeception.tensorflow import timeception_layers, timeception_network
from timeception.weights.layouts import keras_layouts

SMALL = {"n_layers": 2, "n_groups": 4}


def options(spec: TimeceptionSpec) -> dict:
    fields = spec.to_dict()
    del fields["in_channels"]
    return fields


def clips(*shape: int) -> tf.Tensor:
    return tf.constant(np.moveaxis(draw_input(shape), 1, -1))


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_oracle_inside_a_function(case: str) -> None:
    spec, shape = CASES[case]
    arrays, name = oracle.random_arrays(spec.parameter_shapes()), f"case_{case}"

    @tf.function
    def run(x: tf.Tensor) -> tf.Tensor:
        return timeception_layers(x, **options(spec), name=name)

    x = clips(*shape)
    run(x)
    timeception_network(name).load_arrays(arrays)
    expected = oracle.features(spec, arrays, draw_input(shape))
    assert_close(np.moveaxis(run(x).numpy(), -1, 1), expected)
    eager = timeception_layers(x, **options(spec), name=name)
    assert_close(np.moveaxis(eager.numpy(), -1, 1), expected)


def test_one_function_for_any_size() -> None:
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, None, 40))])
    def run(x: tf.Tensor) -> tf.Tensor:
        return timeception_layers(x, **SMALL, name="any_size")

    spec = TimeceptionSpec(40, 2, 4)
    arrays = oracle.random_arrays(spec.parameter_shapes())
    run(clips(1, 40, 4, 1, 1))
    timeception_network("any_size").load_arrays(arrays)
    for shape in ((2, 40, 9, 2, 3), (1, 40, 16, 3, 1)):
        expected = oracle.features(spec, arrays, draw_input(shape))
        assert_close(np.moveaxis(run(clips(*shape)).numpy(), -1, 1), expected)
    assert run.experimental_get_tracing_count() <= 2


def test_weights_are_kept_by_name() -> None:
    x = clips(1, 40, 8, 1, 1)
    first = timeception_layers(x, **SMALL, name="kept")
    assert np.array_equal(timeception_layers(x, **SMALL, name="kept"), first)
    assert not np.array_equal(timeception_layers(x, **SMALL, name="other"), first)
    with pytest.raises(ValueError, match="name must belong to one network only; got 'kept'"):
        timeception_layers(x, n_layers=1, n_groups=4, name="kept")
    with pytest.raises(ValueError, match="Did you mean 'kept'"):
        timeception_network("kepd")


def test_gradients_inside_a_function() -> None:
    spec, shape = CASES["kernels"]
    arrays, x = oracle.random_arrays(spec.parameter_shapes()), clips(*shape)
    network = Timeception.from_spec(spec)
    network.load_arrays(arrays)
    timeception_layers(x, **options(spec), name="gradients")
    timeception_network("gradients").load_arrays(arrays)
    named = timeception_network("gradients").canonical_variables()
    names = [name for name in named if is_trainable(name)]

    @tf.function
    def backward(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            y = timeception_layers(x, **options(spec), training=True, name="gradients")
            loss = tf.reduce_sum(y**2)
        return tape.gradient(loss, [named[name].value for name in names])

    gradients = dict(zip(names, backward(x), strict=True))
    name, step = "layers.0.temporal.1.weight", 1e-6
    gradient = keras_layouts(spec)[name].from_keras(gradients[name].numpy())
    direction = gradient / np.linalg.norm(gradient)
    losses = []
    for sign in (1, -1):
        moved = {**arrays, name: np.float64(arrays[name]) + sign * step * direction}
        y = oracle.features(spec, moved, draw_input(shape), training=True)
        losses.append(np.sum(y**2))
    slope = (losses[0] - losses[1]) / (2 * step)
    assert np.linalg.norm(gradient) == pytest.approx(slope, rel=1e-3)


def test_on_a_keras_tensor() -> None:
    features = keras.Input((None, 7, 7, 64))
    y = timeception_layers(features, **SMALL, name="first")
    assert y.shape == (None, None, 7, 7, 100)
    y = timeception_layers(y, n_layers=1, n_groups=4, name="second")
    model = keras.Model(features, keras.layers.Dense(3)(MaxLayer((1, 2, 3))(y)))
    assert [layer.name for layer in model.layers[1:3]] == ["first", "second"]
    assert model(tf.zeros((2, 9, 7, 7, 64))).shape == (2, 3)
    expected = TimeceptionSpec(64, 2, 4).n_parameters + TimeceptionSpec(100, 1, 4).n_parameters
    assert model.count_params() == expected + 120 * 3 + 3


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs(case: str) -> None:
    shape, words = BAD_INPUTS[case]
    if case == "channels":
        words = r"n_groups must divide in_channels \(41\)"
    with pytest.raises(ValueError, match=words):
        timeception_layers(clips(*shape), **SMALL, name=f"bad_{case}")
