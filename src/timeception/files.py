"""Hashes of files, and files that appear whole or not at all. Needs the standard library only.

A file is first written under a hidden temporary name in the same folder, flushed to disk, and then
renamed. Readers see the old file or the new one, never a part, even after a power cut.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TEMPORARY_SUFFIX = ".tmp"
_STALE_AFTER_SECONDS = 3600.0
_HOST = socket.gethostname().replace(".", "_").replace("/", "_")[:64]
_numbers = itertools.count()


def sha256_of(parts: Iterable[Any]) -> str:
    """SHA-256 of bytes (or buffers) in succession, as 64 hexadecimal digits.

    Example:
        >>> sha256_of([b"time", b"ception"]) == sha256_of([b"timeception"])
        True
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def sha256_of_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Create or replace a file; its folder is created if it does not exist."""
    target = path.resolve()  # a symbolic link stays one
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(target)
    try:
        temporary.write_bytes(data)
        move_into_place(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Create or replace a file of UTF-8 text; its folder is created if it does not exist."""
    write_bytes(path, text.encode())


def write_json(
    path: Path, value: Any, *, sort_keys: bool = False, ensure_ascii: bool = False
) -> None:
    """Create or replace a file of indented JSON; its folder is created if it does not exist.

    ``value`` must not contain NaN or infinity. The options are those of ``json.dumps``.
    """
    options: dict[str, Any] = {"sort_keys": sort_keys, "ensure_ascii": ensure_ascii}
    write_text(path, json.dumps(value, indent=2, allow_nan=False, **options) + "\n")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Create or replace a file with a writer that needs a path.

    Yields the path to write to, which has the same file name because some writers choose the format
    by the suffix. If the body raises an exception, ``path`` stays as it was.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "made" / "a.txt"
        >>> with replacing(file) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> file.read_text(), [path.name for path in file.parent.iterdir()]
        ('whole', ['a.txt'])
    """
    target = path.resolve()  # a symbolic link stays one
    folder = temporary_path(target)
    folder.mkdir(parents=True, exist_ok=True)  # a dead process may have had our id
    try:
        yield folder / path.name
        move_into_place(folder / path.name, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def temporary_path(path: Path) -> Path:
    """A new hidden name beside ``path`` that identifies the host and process that write it."""
    name = f"{sha256_of([path.name.encode()])[:16]}-{next(_numbers)}"
    return path.with_name(f".{name}.{_HOST}-{os.getpid()}{_TEMPORARY_SUFFIX}")


def move_into_place(temporary: Path, path: Path) -> None:
    """Flush a finished temporary file to disk and rename it to ``path``, in the same folder."""
    _sync(temporary, os.O_RDWR)
    temporary.replace(path)
    if os.name == "posix":
        _sync(path.parent, os.O_RDONLY)  # so that the new name outlasts a power cut


def remove_stale(folder: Path) -> int:
    """Remove what interrupted writers left anywhere below ``folder``; return how many files.

    A temporary file is stale if its process no longer runs on this host, or, on other hosts, if
    nothing was written to it for an hour.
    """
    stale = [path for path in folder.rglob(f".*{_TEMPORARY_SUFFIX}") if _is_stale(path)]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return len(stale)


def _is_stale(path: Path) -> bool:
    owner = path.name.removesuffix(_TEMPORARY_SUFFIX).rpartition(".")[2]
    host, _, process = owner.rpartition("-")
    try:
        if os.name != "posix" or host != _HOST or not process.isdecimal():
            return time.time() - path.stat().st_mtime > _STALE_AFTER_SECONDS
        os.kill(int(process), 0)  # sends nothing
    except ProcessLookupError:
        return True
    except (FileNotFoundError, PermissionError):  # just finished, or of another user
        return False
    return False


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
