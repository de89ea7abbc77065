"""MATLAB files: axes in MATLAB's order, in versions 5 and 7.3."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import io, sparse

from timeception.features.bank.arrays import load, names_in
from timeception.weights.containers import container_of

FEATURES = np.arange(24, dtype=np.float32).reshape(6, 4)


def save_5(path: Path, **arrays: object) -> None:
    io.savemat(path, arrays, appendmat=False)


def save_7_3(path: Path, **arrays: np.ndarray) -> None:
    """As MATLAB does: a text of 512 bytes, then HDF5 with the axes in reverse order."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
        file["#refs#/a"] = np.zeros(3)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))


@pytest.mark.parametrize("save", [save_5, save_7_3])
def test_arrays_have_the_axes_of_matlab(save: object, tmp_path: Path) -> None:
    path = tmp_path / "video.bin"
    save(path, X=FEATURES, Y=np.arange(6)[:, None])
    assert container_of(path) == "mat"
    assert set(names_in(path)) == {"X", "Y"}
    loaded = load(path, "X", "Y")
    np.testing.assert_array_equal(loaded.features, FEATURES)
    np.testing.assert_array_equal(loaded.labels, np.arange(6)[:, None])


def test_only_arrays_are_offered(tmp_path: Path) -> None:
    path = tmp_path / "video.mat"
    cells = np.empty(2, dtype=object)
    cells[:] = ["a", "b"]
    save_5(path, X=FEATURES, cells=cells, record={"a": 1}, few=sparse.eye(3, format="csc"))
    assert names_in(path) == ("X",)
    np.testing.assert_array_equal(load(path).features, FEATURES)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "video.mat"
    save_5(path, X=FEATURES)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"video.mat \(mat\) cannot be read"):
        load(path)
