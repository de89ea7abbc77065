"""Files of arrays in every known format: recognised by content, never by extension, and opened."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from timeception import checks
from timeception.weights.safe_pickle import load_arrays

Array = NDArray[Any]

_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # torch.save before 1.6: a magic number
_KERAS_MEMBERS = {"model.weights.h5", "config.json"}
_MATLAB = b"MATLAB 5.0 MAT-file"
_MATLAB_HDF5 = b"MATLAB 7.3 MAT-file"
_KNOWN = "PyTorch (.pt), HDF5 (Keras), safetensors, .npy, .npz, .mat, and pickles of numpy arrays"
_DAMAGE = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def container_of(path: Path) -> str:
    """Recognise a file's format by its first bytes.

    Returns:
        ``"npy"``, ``"npz"``, ``"hdf5"``, ``"safetensors"``, ``"torch"``, ``"pickle"``, ``"mat"``
        (MATLAB, version 5 to 7.3) or ``"keras"`` (a ``.keras`` archive).

    Raises:
        ValueError: If the format is unknown.
    """
    with path.open("rb") as file:
        head = file.read(len(_MATLAB))
    checks.require(bool(head), "file", "not be empty", str(path))
    if head in (_MATLAB, _MATLAB_HDF5):
        return "mat"
    if h5py.is_hdf5(path):
        return "hdf5"
    if head.startswith(b"PK"):
        return _archive(path)
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(_LEGACY_TORCH):
        return "torch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    if head.startswith(b"\x80") or head[:1] in (b"(", b"c", b"}", b"]"):
        return "pickle"
    raise ValueError(
        f"{path} begins with {head[:16]!r}, which no known file does; expected {_KNOWN}."
    )


def _archive(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is a zip archive (.npz or PyTorch) that is cut off.")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    if all(name.endswith(".npy") for name in names):
        return "npz"
    if set(names) >= _KERAS_MEMBERS:
        return "keras"
    raise ValueError(f"{path} is a zip archive of {names[:4]}; expected {_KNOWN}.")


class LazyArrays(Mapping[str, Array]):
    """Arrays of an open file by name; ``read`` reads each when it is looked up.

    ``metadata`` is text stored beside the arrays.
    """

    def __init__(
        self,
        names: Sequence[str],
        read: Callable[[str], Array],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._names, self._read, self.metadata = dict.fromkeys(names), read, metadata or {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def open_content(path: Path, container: str) -> Iterator[Any]:
    """Open a file of arrays in the format ``container_of`` returned; nothing in it is executed.

    Yields:
        ``LazyArrays``, valid while the file is open; of a ``npy``, the array; of ``torch`` and
        ``pickle``, whatever object was saved.

    Raises:
        ValueError: If the format is ``"keras"``.
    """
    advice = "Only timeception.weights.read_checkpoint reads .keras files."
    checks.one_of(f"format of {path}", container, tuple(_OPENERS), advice)
    with _OPENERS[container](path) as content:
        yield content


@contextmanager
def damage_reported(path: Path, container: str) -> Iterator[None]:
    """Turn every error of a damaged or unsafe file into a ``ValueError`` that names the file."""
    try:
        yield
    except (*_DAMAGE, SafetensorError, UnpicklingError) as error:
        raise ValueError(f"{path} ({container}) cannot be read: {error}") from error


def as_array(value: Any) -> Array:
    """The numpy array of a tensor (float32 if numpy does not know its type), number or array."""
    if hasattr(value, "detach"):
        value = value.detach()
        value = (value.float() if value.is_floating_point() else value).numpy()
    return np.asarray(value)


@contextmanager
def _npz(path: Path) -> Iterator[LazyArrays]:
    with np.load(path, allow_pickle=False) as file:
        yield LazyArrays(file.files, file.__getitem__)


@contextmanager
def _hdf5(path: Path) -> Iterator[LazyArrays]:
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
        yield LazyArrays(names, lambda name: np.asarray(file[name]))


@contextmanager
def _safetensors(path: Path) -> Iterator[LazyArrays]:
    with safe_open(path, framework="numpy") as file:

        def read(name: str) -> Array:
            if file.get_slice(name).get_dtype() != "BF16":
                return np.asarray(file.get_tensor(name))
            with safe_open(path, framework="pt") as tensors:  # numpy has no bfloat16
                return as_array(tensors.get_tensor(name))

        yield LazyArrays(list(file.keys()), read, file.metadata())


@contextmanager
def _torch(path: Path) -> Iterator[Any]:
    import torch  # a framework is loaded only when its file is read

    with path.open("rb") as file:  # given a path, torch would look at the suffix
        yield torch.load(file, map_location="cpu", weights_only=True)


@contextmanager
def _mat(path: Path) -> Iterator[LazyArrays]:
    """Open the numeric arrays and texts of a MATLAB file, with their axes in MATLAB's order."""
    if h5py.is_hdf5(path):  # version 7.3, whose HDF5 datasets have the reverse order
        with _hdf5(path) as arrays:
            names = [name for name in arrays if not name.startswith("#")]  # targets of references
            yield LazyArrays(names, lambda name: arrays[name].T)
        return
    from scipy import io  # loaded only when such a file is read

    def read(name: str) -> Array:
        return np.asarray(io.loadmat(path, variable_names=[name])[name])

    kinds = {name: kind for name, _, kind in io.whosmat(path)}
    yield LazyArrays([name for name, kind in kinds.items() if kind in _MATLAB_ARRAYS], read)


#: MATLAB classes that become arrays; structs, cells, objects and sparse matrices do not.
_MATLAB_ARRAYS = frozenset(
    {"double", "single", "char", "logical"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)

_OPENERS: dict[str, Callable[[Path], AbstractContextManager[Any]]] = {
    "npy": lambda path: nullcontext(np.load(path, mmap_mode="r", allow_pickle=False)),
    "npz": _npz,
    "hdf5": _hdf5,
    "safetensors": _safetensors,
    "torch": _torch,
    "pickle": lambda path: nullcontext(load_arrays(path)),
    "mat": _mat,
}
