"""Pickles of numpy arrays, read without running code.

A pickle is a program. Only what numpy arrays and plain containers need is admitted here; anything
else stops the reading, with the name of what was asked for.
"""

from __future__ import annotations

import collections
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

# numpy's own rebuilding functions, taken from what it writes: their module differs by version
_reconstruct: Any = np.empty(0).__reduce__()[0]
_build_scalar: Any = np.float64(0).__reduce__()[0]


# what the unpickler raises on bytes that are no pickle, or not a whole one
_BROKEN = (pickle.UnpicklingError, EOFError, LookupError, AttributeError, TypeError, ValueError)


class _RefusedError(ValueError):
    """The pickle is whole, but asks for what is not admitted."""


def load_arrays(path: str | Path) -> Any:
    """Read a pickle that holds numpy arrays, numbers, text and plain containers.

    Pickles of Python 2 are read as latin-1, so that their arrays come out whole.

    Args:
        path: the file; its extension does not matter.

    Returns:
        what was pickled.

    Raises:
        ValueError: if the file asks for anything else (named), or is no pickle.
    """
    return loads_arrays(Path(path).read_bytes(), str(path))


def loads_arrays(data: bytes, source: str = "the pickle") -> Any:
    """Read a pickle from memory, as ``load_arrays``; errors call it ``source``.

    Example:
        >>> loads_arrays(pickle.dumps({"a": np.arange(3)}))["a"]
        array([0, 1, 2])
    """
    try:
        return _ArrayUnpickler(io.BytesIO(data), source).load()
    except _RefusedError:
        raise
    except _BROKEN as error:
        raise ValueError(f"{source} is no readable pickle: {error}") from error


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, source: str) -> None:
        super().__init__(file, encoding="latin-1")
        self._source = source

    def find_class(self, module: str, name: str) -> Any:
        """Return an admitted class or function; everything else is an error."""
        admitted = _ADMITTED.get((module.replace("numpy._core", "numpy.core"), name))
        if admitted is None:
            raise _RefusedError(
                f"{self._source} asks for '{module}.{name}', which is no numpy array or plain "
                "container; it is not read, since unpickling it could run code. "
                "Save the arrays as .npz or safetensors instead."
            )
        return admitted


def _scalar(dtype: np.dtype[Any], data: Any = None) -> Any:
    """A numpy scalar of numbers or text; one of dtype object is refused."""
    if dtype.hasobject:
        raise _RefusedError(f"a numpy scalar of dtype {dtype} is not read from a pickle")
    return _build_scalar(dtype, data)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    """How pickles of protocol 5 spell arrays."""
    array = np.frombuffer(data, dtype=dtype)
    if order == "K" and axes is not None:
        return array.reshape(shape, order="C").transpose(axes)
    return array.reshape(shape, order=order)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How pickles of protocol 2 spell bytes."""
    return text.encode(encoding)


_BUILTINS: tuple[type, ...] = (bool, bytearray, bytes, complex, dict, float, frozenset)
_BUILTINS += (int, list, range, set, slice, str, tuple)

_ADMITTED: dict[tuple[str, str], Any] = {
    (module, kind.__name__): kind for module in ("builtins", "__builtin__") for kind in _BUILTINS
}
_ADMITTED |= {
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
