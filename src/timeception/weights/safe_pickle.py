"""Pickles of numpy arrays, read without running code.

A pickle is a program that can import and call anything. This reader allows only the functions that
numpy arrays and plain containers need, and raises an error that names any other.
"""

from __future__ import annotations

import collections
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

# numpy's functions that rebuild arrays, obtained from a pickle: their module depends on the version
_reconstruct: Any = np.empty(0).__reduce__()[0]
_build_scalar: Any = np.float64(0).__reduce__()[0]

# raised by the unpickler for bytes that are not a complete pickle
_BROKEN = (pickle.UnpicklingError, EOFError, LookupError, AttributeError, TypeError, ValueError)


class _RefusedError(ValueError):
    """The pickle is complete but requires something that is not allowed."""


def load_arrays(path: str | Path) -> Any:
    """Read a pickle that holds numpy arrays, numbers, text and plain containers.

    Pickles of Python 2 are decoded as latin-1, which preserves their arrays.

    Raises:
        ValueError: If the file requires anything else (the error names it) or is not a pickle.
    """
    return loads_arrays(Path(path).read_bytes(), str(path))


def loads_arrays(data: bytes, source: str = "the pickle") -> Any:
    """Read a pickle from memory like ``load_arrays``. ``source`` names it in errors.

    Example:
        >>> loads_arrays(pickle.dumps({"a": np.arange(3)}))["a"]
        array([0, 1, 2])
    """
    try:
        return _ArrayUnpickler(io.BytesIO(data), source).load()
    except _RefusedError:
        raise
    except _BROKEN as error:
        raise ValueError(f"{source} is not a readable pickle: {error}") from error


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, source: str) -> None:
        super().__init__(file, encoding="latin-1")
        self._source = source

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class or function; any other is an error."""
        allowed = _ALLOWED.get((module.replace("numpy._core", "numpy.core"), name))
        if allowed is None:
            raise _RefusedError(
                f"{self._source} requires '{module}.{name}', which is not part of numpy arrays or "
                "plain containers. It was not read, because it could run code. "
                "Save the arrays as .npz or safetensors instead."
            )
        return allowed


def _scalar(dtype: np.dtype[Any], data: Any = None) -> Any:
    """Rebuild a numpy scalar of numbers or text; dtype object is an error."""
    if dtype.hasobject:
        raise _RefusedError(f"numpy scalars of dtype {dtype} are not read from pickles")
    return _build_scalar(dtype, data)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    """Rebuild an array of a pickle with protocol 5."""
    array = np.frombuffer(data, dtype=dtype)
    if order == "K" and axes is not None:
        return array.reshape(shape, order="C").transpose(axes)
    return array.reshape(shape, order=order)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Rebuild bytes of a pickle with protocol 2."""
    return text.encode(encoding)


_BUILTINS: tuple[type, ...] = (bool, bytearray, bytes, complex, dict, float, frozenset)
_BUILTINS += (int, list, range, set, slice, str, tuple)

_ALLOWED: dict[tuple[str, str], Any] = {
    (module, kind.__name__): kind for module in ("builtins", "__builtin__") for kind in _BUILTINS
}
_ALLOWED |= {
    ("__builtin__", "unicode"): str,
    ("__builtin__", "long"): int,
    ("__builtin__", "xrange"): range,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
}
