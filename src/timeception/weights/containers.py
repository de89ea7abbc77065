"""Weight files of every kind, told apart by content, read as named arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import load_file

from timeception.weights.safe_pickle import load_arrays
from timeception.weights.stored_specs import SPEC_KEY

Named = dict[str, np.ndarray]

_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # torch.save before 1.6: a magic number
_WRAPPERS = ("state_dict", "model_state", "model_state_dict")  # Lightning and others
_KNOWN = "PyTorch (.pt), HDF5 (Keras), safetensors, .npz, and pickles of numpy arrays"


def container_of(path: Path) -> str:
    """Tell a file's container by its first bytes, whatever its extension.

    Returns:
        ``"hdf5"``, ``"torch"``, ``"npz"``, ``"safetensors"`` or ``"pickle"``.

    Raises:
        ValueError: if it is none of them.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if h5py.is_hdf5(path):
        return "hdf5"
    if head.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            return "torch"
        if all(name.endswith(".npy") for name in names):
            return "npz"
        raise ValueError(f"{path} is a zip archive of {names[:4]}; expected {_KNOWN}.")
    if head.startswith(_LEGACY_TORCH):
        return "torch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    if head.startswith(b"\x80") or head[:1] in (b"(", b"c", b"}", b"]"):
        return "pickle"
    raise ValueError(f"{path} begins with {head!r}, which no known file does; expected {_KNOWN}.")


def read_named(path: str | Path) -> tuple[str, Named]:
    """Read a weight file.

    Args:
        path: the file; its extension does not matter.

    Returns:
        its container, and its arrays under the names that stand in it. Names in HDF5 are the
        layer and the array, ``conv_b1_g1_tc1/kernel:0``.

    Raises:
        ValueError: if it is of no known kind, could run code, or holds no arrays.
    """
    path = Path(path)
    container = container_of(path)
    named = _READERS[container](path)
    if not named:
        raise ValueError(f"{path} ({container}) holds no arrays.")
    return container, named


def _read_torch(path: Path) -> Named:
    import torch  # a framework is loaded only when its file is read

    with path.open("rb") as file:  # of a path, torch would look at the suffix
        content = torch.load(file, map_location="cpu", weights_only=True)
    return _flatten(path, content)


def _flatten(path: Path, content: Any) -> Named:
    """The arrays of a state dict, bare or wrapped, without a common ``module.`` or ``model.``."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, not arrays by name.")
    named = {str(name): _as_array(value) for name, value in content.items()}
    for prefix in ("module.", "model."):
        if named and all(name.startswith(prefix) for name in named):
            named = {name.removeprefix(prefix): value for name, value in named.items()}
    return named


def _as_array(value: Any) -> np.ndarray:
    """A numpy array of a tensor (float32 if its type is unknown to numpy) or number."""
    if hasattr(value, "detach"):
        value = value.detach()
        value = (value.float() if value.is_floating_point() else value).numpy()
    return np.asarray(value)


def _read_hdf5(path: Path) -> Named:
    named: Named = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer_weights"):
            named["/".join(name.split("/")[-2:])] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return named


def _read_npz(path: Path) -> Named:
    with np.load(path, allow_pickle=False) as file:
        return {name: array for name, array in file.items() if name != SPEC_KEY}


_READERS: dict[str, Callable[[Path], Named]] = {
    "hdf5": _read_hdf5,
    "torch": _read_torch,
    "npz": _read_npz,
    "safetensors": load_file,
    "pickle": lambda path: _flatten(path, load_arrays(path)),
}
