"""A file of a feature bank: its format, atomic writing, and the rounding of features.

A bank file is a safetensors file, which any reader of that format can open. It is written step by
step, so that memory does not grow with the length of the video, and read as a memory map, so that
only the sampled steps are read.

Source: the safetensors format (https://huggingface.co/docs/safetensors): eight bytes with the
header's length, a JSON header, then the tensors' bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timeception import checks
from timeception.files import move_into_place, temporary_path

FORMAT_VERSION = 1
SUFFIX = ".safetensors"
METADATA_KEY = "timeception"

#: Stored types of features: the safetensors name, numpy's type of the stored bytes, and the
#: largest number. bfloat16 is the upper half of a float32.
DTYPES: dict[str, tuple[str, np.dtype[Any], float]] = {
    "float16": ("F16", np.dtype("<f2"), 65504.0),
    "float32": ("F32", np.dtype("<f4"), float(np.finfo(np.float32).max)),
    "bfloat16": ("BF16", np.dtype("<u2"), 3.3895313892515355e38),
}
_DTYPE_OF_CODE = {code: name for name, (code, _, _) in DTYPES.items()}
_START_FRAME = np.dtype("<i8")
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library


class BankError(ValueError):
    """A file is not a valid part of a feature bank."""

    def __init__(self, path: Path, what: str, advice: str = "") -> None:
        super().__init__(f"{path}: {what}{' ' + advice if advice else ''}")


@dataclass(frozen=True)
class BankFile:
    """A bank file with a valid header. The features stay on disk.

    Args:
        shape: Shape of the features, (S, C, H, W).
        dtype: Stored type, ``float16``, ``float32`` or ``bfloat16``.
        offset: Position of the features in the file, in bytes.
        start_offset: Position of the start frames in the file, in bytes.
        metadata: The decoded metadata: ``format_version``, ``video_id``, ``fps``, ``provenance``.
    """

    path: Path
    shape: tuple[int, int, int, int]
    dtype: str
    offset: int
    start_offset: int
    metadata: dict[str, Any]

    def stored(self) -> NDArray[Any]:
        """The stored numbers as a read-only memory map (S, C, H, W); bfloat16 as bits."""
        kind = DTYPES[self.dtype][1]
        return np.asarray(np.memmap(self.path, kind, "r", self.offset, self.shape))

    def features(self, steps: Any = slice(None)) -> NDArray[Any]:
        """Features of some steps: a memory map for a slice, a copy for an index array.

        bfloat16 is always a copy, as float32.
        """
        chosen = self.stored()[steps]
        return _widened(chosen) if self.dtype == "bfloat16" else chosen

    def start_frames(self) -> NDArray[np.int64]:
        """First frame of each step, (S,)."""
        with self.path.open("rb") as file:
            file.seek(self.start_offset)
            return np.fromfile(file, _START_FRAME, self.shape[0]).astype(np.int64)


def read_header(path: Path) -> BankFile:
    """Read and check a bank file's header.

    Raises:
        BankError: If the file is truncated, not of a feature bank, or has another format version.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
            raise BankError(path, "not a safetensors file, or truncated in its header.", _AGAIN)
        text = file.read(length)
    try:
        header = json.loads(text)
        metadata = json.loads(header["__metadata__"][METADATA_KEY])
        version = metadata["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        what = "not a file of a feature bank: its header holds no 'timeception' entry."
        raise BankError(path, what, "Import it with `timeception bank import`.") from error
    if version != FORMAT_VERSION:
        what = f"has format version {version}; this release reads {FORMAT_VERSION}."
        raise BankError(path, what, "Use the release that wrote it, or extract again.")
    try:
        features, starts = header["features"], header["start_frames"]
        dtype = _DTYPE_OF_CODE[features["dtype"]]
        n_steps, channels, height, width = map(int, features["shape"])
        begin, end = map(int, features["data_offsets"])
        start_begin, start_end = map(int, starts["data_offsets"])
    except (ValueError, KeyError, TypeError) as error:
        raise BankError(path, "damaged: its header does not describe features.", _AGAIN) from error
    shape = (n_steps, channels, height, width)
    is_whole = (
        end - begin == prod(shape) * DTYPES[dtype][1].itemsize
        and start_end - start_begin == n_steps * _START_FRAME.itemsize
        and min(shape) >= 1
    )
    wanted = 8 + length + max(end, start_end)
    if not is_whole or size != wanted:
        raise BankError(path, f"damaged: it has {size} bytes instead of {wanted}.", _AGAIN)
    return BankFile(path, shape, dtype, 8 + length + begin, 8 + length + start_begin, metadata)


_AGAIN = "Remove it and run the same command again."


class PendingFile:
    """A bank file that is being written. Steps are put in any order and then committed.

    The bytes go to a temporary file in the same folder, which replaces ``path`` on ``commit`` and
    is removed otherwise. They do not depend on the order of ``put``. Not thread-safe. For the
    arguments, see ``FeatureBank.begin``; ``metadata`` is plain JSON with at least ``video_id``.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        start_frames: ArrayLike,
        dtype: str,
        metadata: Mapping[str, Any],
    ) -> None:
        self._path, self._shape, self._dtype = path, tuple(map(int, shape)), dtype
        video_id, n_steps = metadata["video_id"], self._shape[0]
        self._what = f"features of {video_id!r}"
        is_map = len(shape) == 4 and min(self._shape) >= 1
        must = "have the shape (S, C, H, W), none of them 0"
        checks.require(is_map, self._what, must, self._shape)
        starts = np.asarray(start_frames, _START_FRAME)
        fits, must = starts.shape == (n_steps,), f"be {n_steps} frame numbers, one per step"
        checks.require(fits, f"start_frames of {video_id!r}", must, starts.shape)
        header = _header(self._shape, dtype, metadata)
        self._offset = len(header) + starts.nbytes
        self._row_bytes = prod(self._shape[1:]) * DTYPES[dtype][1].itemsize
        self._is_missing = np.ones(n_steps, bool)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = temporary_path(path)
        self._file = self._temporary.open("wb")
        self._file.write(header + starts.tobytes())

    def put(self, first_step: int, features: NDArray[Any]) -> None:
        """Store the features of successive steps, (n, C, H, W).

        Raises:
            ValueError: If a number is not finite, or too large for the stored type.
        """
        found, wanted = features.shape[1:], self._shape[1:]
        checks.require(found == wanted, self._what, f"have maps of {wanted}", found)
        rounded = _rounded(features, self._dtype, self._what)
        self._file.seek(self._offset + first_step * self._row_bytes)
        self._file.write(rounded.tobytes())
        self._is_missing[first_step : first_step + len(features)] = False

    def commit(self) -> None:
        """Move the complete file to its place.

        Raises:
            ValueError: If a step was not put.
        """
        n_missing = self._is_missing.sum()
        received = f"{n_missing} steps missing"
        checks.require(n_missing == 0, self._what, "be put for every step", received)
        self._file.close()
        move_into_place(self._temporary, self._path)

    def discard(self) -> None:
        """Remove the temporary file. Has no effect after ``commit``."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.discard()


def _header(shape: tuple[int, ...], dtype: str, metadata: Mapping[str, Any]) -> bytes:
    code, kind, _ = DTYPES[dtype]
    content = {"format_version": FORMAT_VERSION, **metadata}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    split = shape[0] * _START_FRAME.itemsize
    end = split + prod(shape) * kind.itemsize
    layout = {
        "__metadata__": {METADATA_KEY: text},
        "start_frames": {"dtype": "I64", "shape": [shape[0]], "data_offsets": [0, split]},
        "features": {"dtype": code, "shape": list(shape), "data_offsets": [split, end]},
    }
    encoded = json.dumps(layout, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded


def _rounded(features: NDArray[Any], dtype: str, what: str) -> NDArray[Any]:
    _, kind, largest = DTYPES[dtype]
    peak = float(np.abs(features).max(initial=0))
    advice = "The source or the backbone's weights may be damaged."
    checks.require(np.isfinite(peak), what, "be finite numbers", peak, advice)
    if dtype == "bfloat16":
        rounded = _narrowed(np.ascontiguousarray(features, np.float32))
        fits = bool(np.isfinite(_widened(rounded)).all())
    else:
        with np.errstate(over="ignore"):
            rounded = np.ascontiguousarray(features, kind)
        fits = peak <= largest or bool(np.isfinite(rounded).all())
    others = "float32 or bfloat16" if dtype == "float16" else "float32"
    advice = f"Choose --dtype {others}."
    checks.require(fits, what, f"fit {dtype} (at most {largest:g})", peak, advice)
    return rounded


def _narrowed(features: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to the nearest bfloat16, ties to even; return the bits."""
    bits = features.view(np.uint32)
    return ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)


def _widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)
