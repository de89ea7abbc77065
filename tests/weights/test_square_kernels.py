"""Kernels as high as wide: their shape does not tell whether they were transposed, values do."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests import oracle
from tests.contracts import Arrays
from tests.keras2019 import keras_variables_2019, write_keras_2019
from tests.names2019 import torch_state_2019
from timeception.spec import ClassifierSpec, PoolingSpec, TimeceptionSpec
from timeception.weights import convert, read_checkpoint, write_folder
from timeception.weights.layouts import from_keras, to_keras


def square(n_groups: int, is_dilated: bool = True, **changes: object) -> ClassifierSpec:
    """Four channels a group, one a branch; linear layers as wide as the readout."""
    layers = TimeceptionSpec(4 * n_groups, 1, n_groups, is_dilated)
    return ClassifierSpec(layers, layers.out_channels, hidden=layers.out_channels, **changes)


#: Depthwise kernels of 3, 5 or 7 channels and steps; pointwise ones of 5 inputs and 5 rows.
SPECS = {
    "three channels of 3": square(3),
    "three channels of 3, 5, 7": square(3, False),
    "five channels of 3, 5, 7": square(5, False),
    "seven channels of 3, 5, 7": square(7, False),
    "five inputs of five rows": ClassifierSpec(
        TimeceptionSpec(5, 1, 1, expansion=1.0), 5, hidden=5
    ),
    "hidden as wide as a kept map": ClassifierSpec(
        TimeceptionSpec(4, 1, 1), 20, hidden=20, map_size=(2, 2)
    ),
}


def arrays_of(spec: ClassifierSpec | PoolingSpec) -> Arrays:
    """Every number different, so that none can stand in for another."""
    values, start = {}, 0
    for name, shape in spec.parameter_shapes().items():
        n = int(np.prod(shape))
        values[name] = np.arange(start, start + n, dtype=np.float32).reshape(shape)
        start += n
    return values


def keras_by_hand(spec: ClassifierSpec, arrays: Arrays) -> Arrays:
    """Keras' layout, entry by entry: inputs first."""
    layer = spec.timeception.layers[0]
    expected = dict(arrays)
    rows, width = 5 * layer.branch_channels, layer.group_channels
    theirs = np.empty((layer.n_groups, width, rows), np.float32)
    own = arrays["timeception.layers.0.pointwise.weight"]
    for group, column, row in np.ndindex(theirs.shape):
        theirs[group, column, row] = own[group * rows + row, column]
    expected["timeception.layers.0.pointwise.weight"] = theirs
    for branch in range(3):
        name = f"timeception.layers.0.temporal.{branch}.weight"
        expected[name] = np.array(list(zip(*arrays[name].tolist(), strict=True)), np.float32)
    height, width = spec.map_size or (1, 1)
    channels = spec.timeception.out_channels
    theirs = np.empty((spec.pooled_channels, spec.hidden), np.float32)
    for h, w, channel, unit in np.ndindex(height, width, channels, spec.hidden):
        place = (channel * height + h) * width + w  # canonical: C, H, W; in Keras: H, W, C
        theirs[(h * width + w) * channels + channel, unit] = arrays["hidden.weight"][unit, place]
    expected["hidden.weight"] = theirs
    rows = arrays["output.weight"].tolist()
    expected["output.weight"] = np.array(list(zip(*rows, strict=True)), np.float32)
    return expected


def assert_same(actual: Arrays, expected: Arrays) -> None:
    assert set(actual) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


def test_the_cases_are_square() -> None:
    """Of every kind of kernel at least one."""
    shapes = [SPECS[name].parameter_shapes() for name in SPECS]
    is_square = {
        name.replace("timeception.layers.0.", "")
        for of_spec in shapes
        for name, shape in of_spec.items()
        if len(shape) == 2 and shape[0] == shape[1]
    }
    temporal = {f"temporal.{branch}.weight" for branch in range(3)}
    assert is_square == {"pointwise.weight", "hidden.weight", "output.weight"} | temporal


@pytest.mark.parametrize("case", SPECS)
def test_into_keras(case: str) -> None:
    arrays = arrays_of(SPECS[case])
    assert_same(to_keras(SPECS[case], arrays), keras_by_hand(SPECS[case], arrays))


@pytest.mark.parametrize("case", SPECS)
def test_out_of_keras(case: str) -> None:
    arrays = arrays_of(SPECS[case])
    assert_same(from_keras(SPECS[case], keras_by_hand(SPECS[case], arrays)), arrays)


def test_layers_alone() -> None:
    spec = square(3, False)
    arrays = arrays_of(spec)
    own = oracle.below(arrays, "timeception.")
    expected = oracle.below(keras_by_hand(spec, arrays), "timeception.")
    assert_same(to_keras(spec.timeception, own), expected)
    assert_same(from_keras(spec.timeception, expected), own)


def test_the_pooling_baseline() -> None:
    """Mean and maximum of 3 channels: six inputs, six hidden units, six classes."""
    spec = PoolingSpec(3, 6, hidden=6)
    arrays = arrays_of(spec)
    theirs = to_keras(spec, arrays)
    for name in ("hidden.weight", "output.weight"):
        for row, column in np.ndindex(6, 6):
            assert theirs[name][column, row] == arrays[name][row, column]
    assert_same(from_keras(spec, theirs), arrays)
    back = from_keras(spec, arrays)
    assert back["hidden.weight"][1, 0] == arrays["hidden.weight"][0, 1]


@pytest.mark.parametrize("case", SPECS)
def test_files_of_keras_3(case: str, tmp_path: Path) -> None:
    """The numbers that stand in the file, and those that are read from it."""
    spec, arrays = SPECS[case], arrays_of(SPECS[case])
    write_folder(tmp_path / "saved", spec, arrays)
    path = tmp_path / "model.weights.h5"
    convert(tmp_path / "saved", path, "keras")
    expected = keras_by_hand(spec, arrays)
    places = {
        "layers/timeception/layers/timeception_layer/vars/0": "timeception.layers.0.pointwise.",
        "layers/timeception/layers/timeception_layer/vars/2": "timeception.layers.0.temporal.0.",
        "layers/timeception/layers/timeception_layer/vars/3": "timeception.layers.0.temporal.1.",
        "layers/timeception/layers/timeception_layer/vars/4": "timeception.layers.0.temporal.2.",
        "hidden/vars/0": "hidden.",
        "layers/dense_1/vars/0": "output.",
    }
    with h5py.File(path) as file:
        for place, name in places.items():
            np.testing.assert_array_equal(file[place][()], expected[f"{name}weight"], err_msg=place)
    assert_same(read_checkpoint(path).arrays, arrays)


#: In 2019 each group had kernels of its own: here of 3, 5 and 7 channels and as many steps.
CASES_2019 = {
    f"{width} channels, kernels {kernels}": ClassifierSpec(
        TimeceptionSpec(4 * width * n_groups, 1, n_groups, kernels == "3, 3, 3"),
        5 * width * n_groups,
        hidden=5 * width * n_groups,
    )
    for width, n_groups, kernels in (
        (3, 1, "3, 3, 3"),
        (3, 2, "3, 5, 7"),
        (5, 2, "3, 5, 7"),
        (7, 1, "3, 5, 7"),
        (1, 3, "3, 3, 3"),
    )
}


@pytest.mark.parametrize("case", CASES_2019)
def test_files_of_keras_2019(case: str, tmp_path: Path) -> None:
    spec, arrays = CASES_2019[case], arrays_of(CASES_2019[case])
    path = write_keras_2019(tmp_path / "a.h5", keras_variables_2019(spec, arrays))
    checkpoint = read_checkpoint(path)
    assert checkpoint.provenance["names"] == "keras2019"
    assert_same(checkpoint.arrays, arrays)


@pytest.mark.parametrize("case", CASES_2019)
def test_files_of_pytorch_2019(case: str, tmp_path: Path) -> None:
    spec, arrays = CASES_2019[case], arrays_of(CASES_2019[case])
    state = torch_state_2019(spec, arrays)
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, tmp_path / "a.pt")
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    assert checkpoint.provenance["names"] == "torch2019"
    assert_same(checkpoint.arrays, arrays)


@pytest.mark.parametrize("n_hidden", [15, 14])
def test_the_dense_layers_of_2019(n_hidden: int, tmp_path: Path) -> None:
    """Both square where hidden units, classes and readout are 15; neither where they differ."""
    layers = TimeceptionSpec(12, 1, 3)
    spec = ClassifierSpec(layers, 15, hidden=n_hidden)
    arrays = arrays_of(spec)
    named = keras_variables_2019(spec, arrays)
    assert named["dense/kernel:0"][2, 1] == arrays["hidden.weight"][1, 2]
    assert named["dense_1/kernel:0"][2, 1] == arrays["output.weight"][1, 2]
    assert_same(read_checkpoint(write_keras_2019(tmp_path / "a.h5", named)).arrays, arrays)
