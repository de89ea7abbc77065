"""The Keras classifiers: training, saving, loading, precision, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import oracle
from tests.contracts import assert_close, draw_input
from tests.keras.adapter import channels_last
from timeception.keras import MaxLayer, PoolingClassifier, Timeception, TimeceptionClassifier
from timeception.spec import LEAKY_SLOPE, ClassifierSpec, PoolingSpec, TimeceptionSpec
from timeception.weights import read_checkpoint, write_folder

PIPELINE = {"classes": ["a", "b", "c"], "nested": {"x": [1, None]}}
LAYERS = TimeceptionSpec(24, 2, 2, False, 1.5, False, 1e-4, 0.2)
#: no value is a default
SPECS = {
    "timeception": ClassifierSpec(LAYERS, 3, hidden=8, dropout=(0.4, 0.3), map_size=(2, 1)),
    "pooling": PoolingSpec(24, 3, hidden=8, dropout=(0.4, 0.3), bn_eps=1e-4, bn_momentum=0.2),
}
CLASSES = {"timeception": TimeceptionClassifier, "pooling": PoolingClassifier}

LOAD = """
import sys
import keras
import numpy as np
import timeception.keras
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


@pytest.fixture(params=CLASSES)
def model(request: pytest.FixtureRequest) -> TimeceptionClassifier | PoolingClassifier:
    spec = SPECS[request.param]
    arrays = oracle.random_arrays(spec.parameter_shapes())
    return CLASSES[request.param].from_arrays(spec, arrays, PIPELINE)


def clips(*shape: int) -> np.ndarray:
    return channels_last(draw_input(shape))


def numpy_of(y: object) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(y))


def load_in_a_fresh_process(path: Path, x: np.ndarray) -> np.ndarray:
    np.save(path.with_name("x.npy"), x)
    files = [str(path), *(str(path.with_name(name)) for name in ("x.npy", "y.npy"))]
    subprocess.run([sys.executable, "-c", LOAD, *files], check=True)
    return np.load(path.with_name("y.npy"))


def test_config_is_complete(model) -> None:
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    again = keras.saving.deserialize_keras_object(config)
    assert (again.spec, again.pipeline) == (model.spec, PIPELINE)
    assert again.get_config() == model.get_config()


def test_saved_and_loaded_by_keras(model, tmp_path: Path) -> None:
    x = clips(2, 24, 9, 2, 1)
    model.save(tmp_path / "model.keras")
    assert_close(load_in_a_fresh_process(tmp_path / "model.keras", x), numpy_of(model(x)), 1e-5)


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    features = keras.Input((None, 2, 1, 24))
    y = MaxLayer((1, 2, 3))(Timeception.from_spec(LAYERS)(features))
    model = keras.Model(features, keras.layers.Dense(4)(y))
    x = clips(2, 24, 9, 2, 1)
    path = tmp_path / "model.keras"
    model.save(path)
    assert_close(load_in_a_fresh_process(path, x), numpy_of(model(x)), 1e-5)
    checkpoint = read_checkpoint(path)
    assert checkpoint.spec == LAYERS
    assert checkpoint.provenance["left_out"] == ["layers/dense"]
    arrays = model.layers[1].to_arrays()
    assert all(np.array_equal(checkpoint.arrays[name], arrays[name]) for name in arrays)


def test_files_of_keras_are_checkpoints(tmp_path: Path) -> None:
    spec = SPECS["timeception"]
    model = TimeceptionClassifier.from_spec(spec, PIPELINE)
    model.compile("adam", "mse", jit_compile=False)
    model.fit(clips(4, 24, 9, 2, 1), np.zeros((4, 3), np.float32), verbose=0)
    model.save(tmp_path / "model.keras")  # holds an optimiser and random states too
    checkpoint, arrays = read_checkpoint(tmp_path / "model.keras"), model.to_arrays()
    assert (checkpoint.spec, checkpoint.provenance["pipeline"]) == (spec, PIPELINE)
    assert checkpoint.provenance["left_out"] == []
    assert all(np.array_equal(checkpoint.arrays[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_files_made_without_keras(tmp_path: Path, name: str) -> None:
    from timeception.weights import convert

    spec = SPECS["timeception"]
    arrays = oracle.random_arrays(spec.parameter_shapes())
    write_folder(tmp_path / "folder", spec, arrays, PIPELINE)
    convert(tmp_path / "folder", tmp_path / name, "keras")
    if name.endswith(".keras"):
        model = keras.saving.load_model(tmp_path / name)
        assert (model.spec, model.pipeline) == (spec, PIPELINE)
    else:
        model = TimeceptionClassifier.from_spec(spec)
        model.build_for_spec()
        model.load_weights(tmp_path / name)
    assert all(np.array_equal(array, arrays[k]) for k, array in model.to_arrays().items())


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_files_of_layers_made_without_keras(tmp_path: Path, name: str) -> None:
    from timeception.weights.keras3 import write_keras3

    arrays = oracle.random_arrays(LAYERS.parameter_shapes())
    write_keras3(tmp_path / name, LAYERS, arrays)
    if name.endswith(".keras"):
        model = keras.saving.load_model(tmp_path / name)
    else:
        layers = [keras.Input((None, None, None, 24)), Timeception.from_spec(LAYERS)]
        model = keras.Sequential(layers)
        model.load_weights(tmp_path / name)
    network = model.layers[0]
    assert network.spec == LAYERS
    assert all(np.array_equal(array, arrays[k]) for k, array in network.to_arrays().items())


def test_one_folder_for_all_frameworks(model, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert (again.spec, again.pipeline) == (model.spec, PIPELINE)
    x = clips(2, 24, 9, 2, 1)
    assert np.array_equal(numpy_of(again(x)), numpy_of(model(x)))
    other = next(kind for kind in CLASSES.values() if kind is not type(model))
    with pytest.raises(ValueError, match=f"hold a {other.__name__}"):
        other.from_pretrained(tmp_path)


def test_pooling_equals_its_words() -> None:
    spec, x = SPECS["pooling"], clips(3, 24, 9, 2, 1)
    arrays = oracle.random_arrays(spec.parameter_shapes())
    actual = numpy_of(PoolingClassifier.from_arrays(spec, arrays)(x))
    y = np.concatenate([x.mean((1, 2, 3)), x.max((1, 2, 3))], 1)
    y = y @ np.float64(arrays["hidden.weight"]).T + arrays["hidden.bias"]
    y = oracle.batch_norm(y, arrays, spec.bn_eps, training=False)
    y = np.where(y > 0, y, LEAKY_SLOPE * y) @ arrays["output.weight"].T + arrays["output.bias"]
    assert_close(actual, y)


def test_fit_learns(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    x = clips(12, 24, 8, 1, 1)
    labels = np.arange(12) % 3
    x[np.arange(12), 2, 0, 0, labels] += 6
    model = TimeceptionClassifier(24, 3, 1, 2, hidden=8, dropout=(0.1, 0))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"])
    before = model.to_arrays()
    history = model.fit(x, labels, batch_size=6, epochs=15, shuffle=True, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    after = model.to_arrays()
    for name in before:
        # normalisation by the batch removes a constant per channel
        moves = not ("temporal" in name and name.endswith("bias"))
        assert np.array_equal(after[name], before[name]) != moves, name


def test_training_equals_the_oracle() -> None:
    spec = ClassifierSpec(TimeceptionSpec(24, 2, 2), 3, hidden=8, dropout=(0, 0))
    arrays, x = oracle.random_arrays(spec.parameter_shapes()), draw_input((4, 24, 9, 2, 1))
    model = TimeceptionClassifier.from_arrays(spec, arrays)
    actual = numpy_of(model(channels_last(x), training=True))
    assert_close(actual, oracle.logits(spec, arrays, x, training=True), 1e-3)


def test_dropout_only_in_training(model) -> None:
    x = clips(4, 24, 9, 2, 1)
    assert np.array_equal(numpy_of(model(x)), numpy_of(model(x)))
    different = [numpy_of(model(x, training=True)) for _ in range(2)]
    assert not np.array_equal(*different)


def test_logits_stay_whole_under_mixed_precision(model) -> None:
    x, expected = clips(2, 24, 9, 2, 1), None
    expected = numpy_of(model(x))
    half = type(model).from_spec(model.spec, dtype="mixed_bfloat16")
    half.load_arrays(model.to_arrays())
    y = half(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert_close(numpy_of(y), expected, 0.2)


def test_symbolic_inputs(model) -> None:
    assert model(keras.Input((None, 2, 1, 24))).shape == (None, 3)
    assert model.compute_output_shape((5, 9, 2, 1, 24)) == (5, 3)


def test_the_old_name_of_global_pooling() -> None:
    model = TimeceptionClassifier(24, 3, 1, 2, hidden=8)
    with pytest.warns(DeprecationWarning, match="readout is now called global_pool"):
        pooled = model.readout(keras.ops.ones((2, 3, 2, 2, 30)))
    assert tuple(pooled.shape) == (2, 30)


@pytest.mark.parametrize(
    ("kind", "shape", "words"),
    [
        ("timeception", (2, 24, 9, 3, 1), r"maps of map_size=\(2, 1\) .* got \(3, 1\)"),
        ("timeception", (2, 23, 9, 2, 1), "24 channels"),
        ("timeception", (2, 24, 3, 2, 1), r"at least 2 \*\* n_layers = 4; got 3"),
        ("pooling", (2, 23, 9, 2, 1), "24 channels"),
        ("pooling", (2, 24, 9), "5 axes"),
    ],
)
def test_bad_inputs(kind: str, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CLASSES[kind].from_spec(SPECS[kind])(clips(*shape))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_classes": 0}, "n_classes must be"),
        ({"n_classes": 3, "hidden": -1}, "hidden must be"),
        ({"n_classes": 3, "dropout": (1.0, 0)}, r"dropout must lie in \[0, 1\); got 1.0"),
    ],
)
@pytest.mark.parametrize("kind", CLASSES.values())
def test_bad_arguments(kind: type, arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind(40, **arguments)
