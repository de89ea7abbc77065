"""Weights into every framework's files and back, number for number; no framework is needed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracle
from timeception.cli.app import main
from timeception.spec import ClassifierSpec, PoolingSpec, TimeceptionSpec
from timeception.weights import convert, read_checkpoint, write_folder
from timeception.weights.layouts import from_keras, keras_layouts, to_keras

LAYERS = TimeceptionSpec(40, 2, 4, False, pool_lookahead=False, bn_eps=1e-5, bn_momentum=0.1)
WITH_MAP = ClassifierSpec(LAYERS, 5, hidden=16, dropout=(0.4, 0.0), map_size=(2, 3))
PIPELINE = {"classes": ["a", "b"], "nested": {"x": [1, None]}}

FILES = [
    ("torch", "model.pt"),
    ("torch", "model.safetensors"),
    ("torch", "folder"),
    ("keras", "model.keras"),
    ("keras", "model.weights.h5"),
    ("keras", "folder"),
    ("jax", "model.safetensors"),
    ("jax", "model.npz"),
    ("jax", "folder"),
]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    write_folder(folder, WITH_MAP, oracle.random_arrays(WITH_MAP.parameter_shapes()), PIPELINE)
    return folder


def assert_same(actual: dict, expected: dict) -> None:
    assert set(actual) == set(expected)
    for name, array in expected.items():
        assert actual[name].dtype == np.float32
        assert np.array_equal(actual[name], array), name


@pytest.mark.parametrize(("to", "name"), FILES)
def test_there_and_back(saved: Path, tmp_path: Path, to: str, name: str) -> None:
    if name.endswith(".pt"):
        pytest.importorskip("torch")
    made, back = tmp_path / "made" / name, tmp_path / "back"
    source = convert(saved, made, to)
    assert_same(source.arrays, oracle.random_arrays(WITH_MAP.parameter_shapes()))
    again = convert(made, back, "torch")
    assert again.spec == source.spec == WITH_MAP
    assert_same(again.arrays, source.arrays)
    assert_same(read_checkpoint(back).arrays, source.arrays)


@pytest.mark.parametrize("name", ["model.keras", "folder"])
def test_the_pipeline_goes_along(saved: Path, tmp_path: Path, name: str) -> None:
    convert(saved, tmp_path / name, "keras")
    assert read_checkpoint(tmp_path / name).provenance["pipeline"] == PIPELINE


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_layers_alone(tmp_path: Path, name: str) -> None:
    source, arrays = tmp_path / "a.npz", oracle.random_arrays(LAYERS.parameter_shapes())
    np.savez(source, **arrays, timeception_spec=np.array(json.dumps(LAYERS.to_dict())))
    convert(source, tmp_path / name, "keras")
    again = read_checkpoint(tmp_path / name)
    assert again.spec == LAYERS
    assert_same(again.arrays, arrays)
    with pytest.raises(ValueError, match="hold a classifier if the destination is a folder"):
        convert(source, tmp_path / "folder", "keras")


def test_equal_weights_give_equal_files(saved: Path, tmp_path: Path) -> None:
    for name in ("a.keras", "b.keras"):
        convert(saved, tmp_path / name, "keras")
    contents = []
    for name in ("a.keras", "b.keras"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            contents.append([archive.read(m) for m in ("metadata.json", "config.json")])
    assert contents[0] == contents[1]


def test_a_weights_file_without_its_spec(tmp_path: Path, saved: Path) -> None:
    spec = ClassifierSpec(TimeceptionSpec(24, 3, 2), 4, hidden=8)
    write_folder(saved, spec, oracle.random_arrays(spec.parameter_shapes()))
    made = tmp_path / "model.weights.h5"
    convert(saved, made, "keras")
    with h5py.File(made, "a") as file:
        del file.attrs["timeception_spec"]
    assert read_checkpoint(made).spec == spec


def test_a_map_is_not_guessed(tmp_path: Path, saved: Path) -> None:
    made = tmp_path / "model.weights.h5"
    convert(saved, made, "keras")
    with h5py.File(made, "a") as file:
        del file.attrs["timeception_spec"]
    with pytest.raises(ValueError, match=r"hidden\.weight must have 40 inputs; got 240"):
        read_checkpoint(made)


def test_two_networks_in_one_file(tmp_path: Path, saved: Path) -> None:
    made = tmp_path / "model.weights.h5"
    convert(saved, made, "keras")
    with h5py.File(made, "a") as file:
        file.copy("layers/timeception", "layers/timeception_1")
    with pytest.raises(ValueError, match="must hold one Timeception network of Keras 3; got 2"):
        read_checkpoint(made)


def test_an_array_of_another_shape(tmp_path: Path, saved: Path) -> None:
    made = tmp_path / "model.weights.h5"
    convert(saved, made, "keras")
    with h5py.File(made, "a") as file:
        del file["hidden/vars/1"]
        file["hidden/vars/1"] = np.zeros(17, np.float32)
    with pytest.raises(ValueError, match=r"hidden\.bias: \(17,\) received, \(16,\) expected"):
        read_checkpoint(made)


@pytest.mark.parametrize(
    ("to", "name", "words"),
    [
        ("flax", "a.npz", "to must be one of 'torch', 'keras', 'jax'; got 'flax'"),
        ("keras", "a.pt", "be a folder, or end in .keras or .weights.h5 for keras; got"),
        ("jax", "a.keras", "end in .safetensors or .npz for jax"),
        ("torch", "a.h5", "end in .pt or .safetensors for torch"),
    ],
)
def test_bad_destinations(saved: Path, tmp_path: Path, to: str, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        convert(saved, tmp_path / name, to)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(("to", "name"), FILES)
def test_a_write_that_fails_leaves_the_old_file(
    saved: Path, tmp_path: Path, to: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made" / name
    made.parent.mkdir()
    old = made / "model.safetensors" if name == "folder" else made
    old.parent.mkdir(exist_ok=True)
    old.write_text("old")
    before = list(tmp_path.rglob("*"))

    def fail(path: Path, target: Path) -> None:
        assert path.stat().st_size > 100
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        convert(saved, made, to)
    assert old.read_text() == "old"
    assert list(tmp_path.rglob("*")) == before


def test_nothing_to_convert(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        convert(tmp_path / "none", tmp_path / "a.npz", "jax")


def test_the_command(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    made = tmp_path / "model.keras"
    assert main(["convert", str(saved), str(made), "--to", "keras"]) == 0
    assert "arrays for keras" in capsys.readouterr().out
    assert_same(read_checkpoint(made).arrays, read_checkpoint(saved).arrays)
    assert main(["convert", str(saved), str(tmp_path / "a.txt"), "--to", "jax"]) == 2
    assert "end in .safetensors or .npz for jax" in capsys.readouterr().err


@given(
    n_groups=st.integers(1, 4),
    group_channels=st.integers(4, 9),
    n_layers=st.integers(1, 3),
    is_dilated=st.booleans(),
    map_size=st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_layouts_are_exact(n_groups, group_channels, n_layers, is_dilated, map_size) -> None:
    layers = TimeceptionSpec(n_groups * group_channels, n_layers, n_groups, is_dilated)
    spec = ClassifierSpec(layers, 3, hidden=4, map_size=map_size)
    arrays = oracle.random_arrays(spec.parameter_shapes())
    there = to_keras(spec, arrays)
    assert {k: v.shape for k, v in there.items()} == {
        k: layout.keras for k, layout in keras_layouts(spec).items()
    }
    assert_same(from_keras(spec, there), arrays)


def test_layout_of_the_pooling_baseline() -> None:
    spec = PoolingSpec(6, 2, hidden=3)
    arrays = oracle.random_arrays(spec.parameter_shapes())
    there = to_keras(spec, arrays)
    assert np.array_equal(there["hidden.weight"], arrays["hidden.weight"].T)
    assert_same(from_keras(spec, there), arrays)
