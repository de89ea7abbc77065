"""The function form, on Keras tensors and TensorFlow tensors, eager and inside tf.function."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import oracle
from tests.contracts import assert_close, draw_input
from timeception.keras import MaxLayer
from timeception.spec import TimeceptionSpec
from timeception.tensorflow import timeception_layers, timeception_network

SMALL = {"n_layers": 2, "n_groups": 4}


def clips(*shape: int) -> tf.Tensor:
    return tf.constant(np.moveaxis(draw_input(shape), 1, -1))


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


def test_a_first_call_inside_a_function() -> None:
    @tf.function
    def run(x: tf.Tensor) -> tf.Tensor:
        return timeception_layers(x, **SMALL, name="first_inside")

    x = clips(1, 40, 8, 1, 1)
    first, again = run(x), run(x)
    assert np.array_equal(first, again)
    network = timeception_network("first_inside")
    assert np.array_equal(first, tf.function(network)(x))
    assert not network.trainable_variables[0].value.name.startswith("run")


def test_keras_on_another_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"KERAS_BACKEND must be 'tensorflow'.* got 'jax'"):
        timeception_layers(clips(1, 40, 8, 1, 1), **SMALL, name="other_backend")
