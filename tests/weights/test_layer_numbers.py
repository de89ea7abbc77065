"""Layers and groups are numbered: 10 comes after 9, and 2 before 10."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.contracts import Arrays
from tests.keras2019 import keras_variables_2019, write_keras_2019
from tests.names2019 import torch_state_2019
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.weights import convert, read_checkpoint, write_folder

#: Square linear layers, so that shapes do not tell the first from the second.
SMALL = ClassifierSpec(TimeceptionSpec(8, 1, 1), 10, hidden=10)
#: Eleven layers of ten groups, all of one shape from the second layer on.
MANY = ClassifierSpec(TimeceptionSpec(40, 11, 10), 3, hidden=4)


def arrays_of(spec: ClassifierSpec) -> Arrays:
    rng = np.random.default_rng(0)
    shapes = spec.parameter_shapes()
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def assert_same(actual: Arrays, expected: Arrays) -> None:
    assert set(actual) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


#: Names of the hidden and the output layer, which Keras numbers as they are made.
DENSE = [
    ("dense", "dense_1"),
    ("dense_1", "dense_2"),
    ("dense_2", "dense_10"),
    ("dense_9", "dense_10"),
    ("dense_10", "dense_11"),
    ("dense_19", "dense_20"),
    ("dense_99", "dense_100"),
    ("dense_9", "dense_101"),
]


@pytest.mark.parametrize("dense", DENSE, ids="-".join)
@pytest.mark.parametrize("norm", ["batch_normalization", "batch_normalization_12"])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_dense_layers_of_2019(
    dense: tuple[str, str], norm: str, is_reversed: bool, tmp_path: Path
) -> None:
    """Whatever their numbers, and in whatever order they stand in the file."""
    arrays = arrays_of(SMALL)
    named = keras_variables_2019(SMALL, arrays, dense, norm)
    if is_reversed:
        named = dict(reversed(named.items()))
    checkpoint = read_checkpoint(write_keras_2019(tmp_path / "a.h5", named))
    assert checkpoint.provenance["left_out"] == []
    assert checkpoint.spec.n_classes == 10
    assert_same(checkpoint.arrays, arrays)


@pytest.mark.parametrize("name", ["dense_2", "my_dense", "dense_x"])
def test_other_layers_of_2019(name: str, tmp_path: Path) -> None:
    """A third dense layer makes it another classifier; a layer of another name is left out."""
    arrays = arrays_of(SMALL)
    named = keras_variables_2019(SMALL, arrays) | {f"{name}/kernel:0": np.ones((3, 3), np.float32)}
    checkpoint = read_checkpoint(write_keras_2019(tmp_path / "a.h5", named))
    is_third = name == "dense_2"
    assert isinstance(checkpoint.spec, TimeceptionSpec if is_third else ClassifierSpec)
    assert (f"{name}.weight" in checkpoint.provenance["left_out"]) and (
        ("dense.weight" in checkpoint.provenance["left_out"]) is is_third
    )


def test_layers_and_groups_of_keras_2019(tmp_path: Path) -> None:
    arrays = arrays_of(MANY)
    path = write_keras_2019(tmp_path / "a.h5", keras_variables_2019(MANY, arrays))
    checkpoint = read_checkpoint(path)
    assert (checkpoint.spec.timeception.n_layers, checkpoint.spec.timeception.n_groups) == (11, 10)
    assert_same(checkpoint.arrays, arrays)


def test_layers_and_groups_of_pytorch_2019(tmp_path: Path) -> None:
    spec = ClassifierSpec(TimeceptionSpec(40, 11, 10, is_dilated=False), 3, hidden=4)
    arrays = arrays_of(spec)
    state = torch_state_2019(spec, arrays)
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, tmp_path / "a.pt")
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    assert (checkpoint.spec.timeception.n_layers, checkpoint.spec.timeception.n_groups) == (11, 10)
    assert_same(checkpoint.arrays, arrays)


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_layers_of_keras_3(name: str, tmp_path: Path) -> None:
    arrays = arrays_of(MANY)
    write_folder(tmp_path / "saved", MANY, arrays)
    convert(tmp_path / "saved", tmp_path / name, "keras")
    assert_same(read_checkpoint(tmp_path / name).arrays, arrays)


def test_places_of_the_layers_in_a_file_of_keras_3(tmp_path: Path) -> None:
    """The first is ``timeception_layer``, the eleventh ``timeception_layer_10``."""
    arrays = arrays_of(MANY)
    write_folder(tmp_path / "saved", MANY, arrays)
    convert(tmp_path / "saved", tmp_path / "a.weights.h5", "keras")
    with h5py.File(tmp_path / "a.weights.h5") as file:
        for index in range(11):
            suffix = f"_{index}" if index else ""
            own = file[f"layers/timeception/layers/timeception_layer{suffix}"]
            biases = arrays[f"timeception.layers.{index}.pointwise.bias"]
            np.testing.assert_array_equal(own["vars/1"][()], biases)
            shifts = arrays[f"timeception.layers.{index}.norm.bias"]
            np.testing.assert_array_equal(own["norm/vars/1"][()], shifts)


def test_bare_canonical_files(tmp_path: Path) -> None:
    """The shapes tell the number of layers, past ten too."""
    spec = ClassifierSpec(TimeceptionSpec(128, 11, 1), 3, hidden=4)
    arrays = arrays_of(spec)
    save_file(arrays, tmp_path / "a")
    checkpoint = read_checkpoint(tmp_path / "a")
    assert checkpoint.spec == spec
    assert_same(checkpoint.arrays, arrays)
