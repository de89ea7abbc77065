"""The Keras layers as citizens of Keras: shapes, configurations, precision, errors."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from tests import oracle
from tests.contracts import CASES, assert_close, draw_input
from tests.keras.adapter import build, channels_last
from timeception.keras import MaxLayer, Timeception, TimeceptionLayer
from timeception.spec import TimeceptionSpec

SPEC = TimeceptionSpec(40, 2, 4)
#: no value is a default
UNUSUAL = TimeceptionSpec(24, 2, 3, False, 1.5, False, 1e-4, 0.2)


@pytest.fixture
def network() -> Timeception:
    return build(SPEC, oracle.random_arrays(SPEC.parameter_shapes()))


def clips(*shape: int) -> np.ndarray:
    return channels_last(draw_input(shape))


def numpy_of(y: object) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(y, "float32")))


def test_the_published_network() -> None:
    network = Timeception(1024, n_layers=4)
    assert network.compute_output_shape((None, 128, 7, 7, 1024)) == (None, 8, 7, 7, 2480)
    network.build((None, 128, 7, 7, 1024))
    assert network.count_params() == 1_494_304
    assert sum(np.prod(v.shape) for v in network.trainable_variables) == 1_479_584


@pytest.mark.parametrize("case", CASES)
def test_variables_are_canonical(case: str) -> None:
    spec, _ = CASES[case]
    arrays = Timeception.from_spec(spec).to_arrays()
    assert {name: array.shape for name, array in arrays.items()} == spec.parameter_shapes()


def test_arrays_go_in_and_out_exactly(network: Timeception) -> None:
    arrays = oracle.random_arrays(SPEC.parameter_shapes())
    assert all(np.array_equal(array, arrays[k]) for k, array in network.to_arrays().items())
    with pytest.raises(ValueError, match=r"missing: layers\.1\.norm\.bias"):
        network.load_arrays({k: v for k, v in arrays.items() if k != "layers.1.norm.bias"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((2, 13, 5, 6, 40), (2, 3, 5, 6, 40)),
        ((None, None, 5, None, 40), (None, None, 5, None, 40)),
        ((None, 4, None, None, 40), (None, 1, None, None, 40)),
    ],
)
def test_output_shape(network: Timeception, given: tuple, expected: tuple) -> None:
    assert network.compute_output_shape(given) == expected
    assert network(keras.Input(batch_shape=given)).shape == expected


def test_any_length_by_one_model(network: Timeception) -> None:
    features = keras.Input((None, None, None, 40))
    model = keras.Model(features, network(features))
    arrays = oracle.random_arrays(SPEC.parameter_shapes())
    for shape in ((2, 40, 9, 2, 3), (1, 40, 16, 3, 1)):
        expected = oracle.features(SPEC, arrays, draw_input(shape))
        actual = model.predict(clips(*shape), verbose=0)
        assert_close(np.moveaxis(actual, -1, 1), expected)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Timeception.from_spec(UNUSUAL, name="mine", trainable=False, dtype="bfloat16"),
        lambda: TimeceptionLayer(UNUSUAL.layers[1], 1e-4, 0.2, name="mine", dtype="bfloat16"),
        lambda: MaxLayer((-1, 2), keepdims=True, name="mine", dtype="bfloat16"),
    ],
    ids=["Timeception", "TimeceptionLayer", "MaxLayer"],
)
def test_config_is_complete(made) -> None:
    layer = made()
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(config)
    assert again is not layer
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    assert again.name == "mine"
    assert again.dtype_policy == keras.DTypePolicy("bfloat16")
    for name in ("spec", "bn_eps", "bn_momentum", "trainable", "axis", "keepdims"):
        assert getattr(again, name, None) == getattr(layer, name, None)
    assert getattr(again, "spec", None) in (None, UNUSUAL, UNUSUAL.layers[1])


def test_constructed_from_a_shape() -> None:
    assert Timeception((None, 8, 1, 1, 40), n_layers=2, n_groups=4).spec == SPEC
    assert Timeception(keras.ops.zeros((1, 8, 1, 1, 40)).shape, 2, 4).spec == SPEC


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"in_channels": 0}, "in_channels must be a whole number of at least 1; got 0"),
        ({"in_channels": (2, 40)}, "shape of an input of 5 axes, N, T, H, W, C; got \\(2, 40\\)"),
        ({"in_channels": "40"}, "in_channels must be"),
        ({"in_channels": 40, "n_groups": 7}, "n_groups must divide in_channels \\(40\\); got 7"),
        ({"in_channels": 40, "n_layers": 0}, "n_layers must be"),
        ({"in_channels": 40, "n_groups": 20}, "leave at least one channel"),
    ],
)
def test_bad_arguments(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Timeception(**arguments)


def test_bad_inputs_after_it_was_built(network: Timeception) -> None:
    with pytest.raises(ValueError, match="40 channels"):
        network(clips(1, 41, 8, 1, 1))
    with pytest.raises(ValueError, match="at least 2 \\*\\* n_layers = 4; got 3"):
        network(keras.Input((3, 1, 1, 40)))


@pytest.mark.parametrize("training", [False, True])
def test_mixed_precision(training: bool) -> None:
    arrays, x = oracle.random_arrays(SPEC.parameter_shapes()), clips(2, 40, 12, 2, 2)
    network = Timeception.from_spec(SPEC, dtype="mixed_bfloat16")
    network.load_arrays(arrays)
    y = network(x, training=training)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert {variable.dtype for variable in network.variables} == {"float32"}
    expected = oracle.features(SPEC, arrays, np.moveaxis(x, -1, 1), training)
    assert_close(np.moveaxis(numpy_of(y), -1, 1), expected, 0.2)


def test_training_reaches_every_layer(network: Timeception) -> None:
    features = keras.Input((8, 1, 1, 40))
    model = keras.Model(features, network(features))
    before = network.to_arrays()
    model(clips(2, 40, 8, 1, 1), training=False)
    assert np.array_equal(
        network.to_arrays()["layers.1.norm.running_mean"], before["layers.1.norm.running_mean"]
    )
    model(clips(2, 40, 8, 1, 1), training=True)
    for index in range(2):
        name = f"layers.{index}.norm.running_mean"
        assert not np.array_equal(network.to_arrays()[name], before[name])


@pytest.mark.parametrize("axis", [1, -1, (1, 2, 3), [0, -1]])
@pytest.mark.parametrize("keepdims", [False, True])
def test_max_layer(axis, keepdims: bool) -> None:
    x = clips(2, 5, 4, 3, 2)
    axes = axis if isinstance(axis, int) else tuple(axis)
    layer, expected = MaxLayer(axis, keepdims), x.max(axes, keepdims=keepdims)
    assert np.array_equal(numpy_of(layer(x)), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ((), "axis must be a whole number or a sequence of them"),
        (("time",), "axis must be a whole number or a sequence of them; got \\('time',\\)"),
        (5, "axis must lie in \\[-5, 5\\); got 5"),
    ],
)
def test_max_layer_of_no_axis(axis, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MaxLayer(axis)(keras.Input(batch_shape=(2, 3, 4, 5, 6)))
