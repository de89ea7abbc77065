from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from timeception.weights.safe_pickle import load_arrays, loads_arrays

CONTENTS = {
    "float": np.linspace(0, 1, 5, dtype=np.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    "big_endian": np.arange(3, dtype=">i4"),
    "empty": np.zeros((0, 4)),
    "text": np.array(["ab", "c"]),
    "scalar": np.float64(0.5),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", CONTENTS)
def test_arrays_come_back(name: str, protocol: int) -> None:
    expected = CONTENTS[name]
    actual = loads_arrays(pickle.dumps(expected, protocol))
    # numpy swaps bytes as it reads the older protocols
    assert actual.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    assert np.array_equal(actual, expected)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_containers_come_back(protocol: int) -> None:
    content = OrderedDict(blobs={"a": [1, 2.5, None, True]}, b={b"raw", "text"}, c=(1 + 2j,))
    assert loads_arrays(pickle.dumps(content, protocol)) == content


def test_python_2(tmp_path: Path) -> None:
    """{'blobs': {'conv1_w': array([1., 2.])}} as Python 2.7 with numpy 1.16 wrote it."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\n"
        b"dtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
        b"S'\\x00\\x00\\x00\\x00\\x00\\x00\\xf0?\\x00\\x00\\x00\\x00\\x00\\x00\\x00@'\ntb"
    )
    path = tmp_path / "model.pkl"
    path.write_bytes(b"(dS'blobs'\n(dS'conv1_w'\n" + array + b"ss.")
    assert load_arrays(path)["blobs"]["conv1_w"].tolist() == [1.0, 2.0]


class Runs:
    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Runs(os.system, "true"), "requires 'posix.system'"),
        (Runs(eval, "1"), r"requires '.*builtin.*\.eval'"),
        (Runs(getattr, "", "join"), r"requires '.*builtin.*\.getattr'"),
        (Runs(np.load, "x.npy"), "requires 'numpy.load'"),
        (np.random.default_rng(0), "requires 'numpy.random"),
        (Path("x"), "requires 'pathlib"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_code_is_refused(content: object, words: str, protocol: int) -> None:
    with pytest.raises(ValueError, match=words):
        loads_arrays(pickle.dumps({"weights": [content]}, protocol))


def test_nothing_ran(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(ValueError, match="could run code"):
        loads_arrays(pickle.dumps(Runs(os.mkdir, str(trace))))
    assert not trace.exists()


def test_object_scalars_are_refused() -> None:
    data = pickle.dumps(Runs(np.float64(0).__reduce__()[0], np.dtype(object), b"\0" * 8))
    with pytest.raises(ValueError, match="dtype object are not read"):
        loads_arrays(data)


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04", b"no pickle at all", b"\x80\x63N.", b"\x80\x04cnumpy\n."]
)
def test_broken_files(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.pkl"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"broken.pkl is not a readable pickle"):
        load_arrays(path)


def test_truncated() -> None:
    data = pickle.dumps(np.arange(1000.0))
    with pytest.raises(ValueError, match="is not a readable pickle"):
        loads_arrays(data[:500])
