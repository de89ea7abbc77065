"""Source files of a bank by video id, and which of them are still to be processed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from timeception import checks
from timeception.datasets.video_files import find_videos, video_id_of
from timeception.features.bank.arrays import ARRAY_SUFFIXES, looks_like_arrays
from timeception.features.bank.storage import BankError
from timeception.features.bank.store import (
    ANOTHER_BANK,
    FAILURES_FILE,
    SETTINGS_FILE,
    FeatureBank,
    MismatchError,
    require_same,
)
from timeception.files import sha256_of_file

logger = logging.getLogger(__name__)

_N_MISMATCHES_SHOWN = 5


@dataclass(frozen=True)
class SourceFile:
    """The file of one video or its features. ``key`` selects one of several arrays in it."""

    video_id: str
    path: Path
    key: str | None = None


@dataclass(frozen=True)
class Worklist:
    """Source files that are still to be processed, and those already in the bank."""

    todo: tuple[SourceFile, ...]
    done: tuple[SourceFile, ...]


def video_sources(paths: Sequence[str | Path]) -> tuple[SourceFile, ...]:
    """Find video files, sorted by id.

    Paths are folders, searched recursively for video files that are not hidden; ``.txt`` files with
    one path per line, relative to the list; and video files with any suffix. The id is the path
    relative to the folder or list, without the suffix; for a video file given directly, it is the
    name without the suffix.

    Raises:
        ValueError: If a path does not exist, two files have the same id, or no file is found.
    """
    found: list[SourceFile] = []
    for path in _existing(paths):
        if path.is_dir():
            found += [SourceFile(video_id, file) for video_id, file in find_videos(path).items()]
        elif path.suffix.lower() == ".txt":
            found += _listed(path)
        else:
            found.append(SourceFile(video_id_of(path.name), path))
    return _checked(found, "video files", paths)


def array_sources(paths: Sequence[str | Path]) -> tuple[SourceFile, ...]:
    """Find array files like ``video_sources``, in folders by their suffix or content."""
    found: list[SourceFile] = []
    for path in _existing(paths):
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                below = file.relative_to(path)
                is_hidden = any(part.startswith(".") for part in below.parts)
                if not is_hidden and file.is_file() and looks_like_arrays(file):
                    found.append(SourceFile(_array_id(below), file))
        else:
            found.append(SourceFile(_array_id(Path(path.name)), path))
    return _checked(found, "files of arrays", paths)


def unique_sources(sources: Iterable[SourceFile]) -> tuple[SourceFile, ...]:
    """Sort sources by id and remove repeated ones.

    Raises:
        ValueError: If two different sources have the same id; the error names both.
    """
    by_id: dict[str, SourceFile] = {}
    for source in sources:
        twin = by_id.setdefault(source.video_id, source)
        if (twin.path, twin.key) != (source.path, source.key):
            both = [_label(twin), _label(source)]
            advice = "Rename or remove one of them."
            checks.require(False, f"id {source.video_id!r}", "belong to one file", both, advice)
    return tuple(by_id[video_id] for video_id in sorted(by_id))


def describe_file(path: Path) -> dict[str, Any]:
    """Return the name, size in bytes and SHA-256 of a file, which identify its content."""
    status = path.stat()
    digest = _sha256(path, status.st_size, status.st_mtime_ns)
    return {"name": path.name, "size_bytes": status.st_size, "sha256": digest}


@lru_cache(maxsize=8)  # a file with the arrays of many videos is hashed once
def _sha256(path: Path, size_bytes: int, modified_ns: int) -> str:
    return sha256_of_file(path)


def open_bank(
    root: str | Path,
    settings: Mapping[str, Any],
    dtype: str,
    sources: Sequence[SourceFile],
    *,
    is_overwritten: bool = False,
) -> FeatureBank:
    """Open a bank to write the features of ``sources``, made with ``settings``.

    Raises:
        MismatchError: If it has other settings and ``is_overwritten`` is false, or if it holds
            videos that are not among the sources and would keep the old settings.
    """
    try:
        return FeatureBank(root, mode="a", settings=settings, dtype=dtype)
    except MismatchError as error:
        if not is_overwritten:
            raise
        left = sorted(set(FeatureBank(root)) - {source.video_id for source in sources})
        if left:
            raise MismatchError(
                f"{error}\n--overwrite would leave {len(left)} video(s) in the bank with the old "
                f"settings: {', '.join(left[:5])}. Remove the bank, or choose another --out."
            ) from error
    return FeatureBank(root, mode="a", settings=settings, dtype=dtype, is_replaced=True)


@contextmanager
def new_bank_kept_if_filled(root: str | Path) -> Iterator[None]:
    """Remove the bank that the block made, if it ends without a video in it."""
    folder = Path(root)
    parents = [path for path in (folder, *folder.parents) if not path.exists()]
    is_new = not (folder / SETTINGS_FILE).exists()
    try:
        yield
    finally:
        if is_new and (folder / SETTINGS_FILE).exists() and not FeatureBank(folder):
            for name in (SETTINGS_FILE, FAILURES_FILE):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / "videos", ignore_errors=True)
            for path in parents:
                path.rmdir()


def plan(
    bank: FeatureBank,
    sources: Sequence[SourceFile],
    *,
    expected: Mapping[str, Any] | None = None,
    is_overwritten: bool = False,
    n_workers: int = 1,
) -> Worklist:
    """Determine which sources are still to be processed.

    A source is done if the bank holds features made from the same content in the same way, with the
    ``expected`` entries in their provenance. ``n_workers`` files are read at once.

    Raises:
        MismatchError: If features in the bank do not match and ``is_overwritten`` is false; the
            error lists the differences.
    """
    present = [source for source in sources if source.video_id in bank]
    with ThreadPoolExecutor(n_workers) as pool:
        states = list(pool.map(partial(_state, bank, expected or {}), present))
    mismatches = [state.strip() for state in states if state not in (_MATCHES, _DAMAGED)]
    if mismatches and not is_overwritten:
        hidden = len(mismatches) - _N_MISMATCHES_SHOWN
        lines = [f"bank {bank.root} does not match {len(mismatches)} of the files:"]
        lines += mismatches[:_N_MISMATCHES_SHOWN]
        if hidden > 0:
            lines.append(f"... and {hidden} more")
        raise MismatchError("\n".join([*lines, ANOTHER_BANK]))
    finished = {s.video_id for s, state in zip(present, states, strict=True) if state == _MATCHES}
    return Worklist(
        tuple(source for source in sources if source.video_id not in finished),
        tuple(source for source in sources if source.video_id in finished),
    )


_MATCHES, _DAMAGED = "matches", "damaged"


def _state(bank: FeatureBank, expected: Mapping[str, Any], source: SourceFile) -> str:
    """``_MATCHES``, ``_DAMAGED``, or a text that lists the differences."""
    try:
        provenance = bank.file(source.video_id).metadata["provenance"]
    except BankError as error:
        logger.warning("%s It is replaced.", error)
        return _DAMAGED
    known = provenance.get("source", {})
    try:
        content: dict[str, Any] = {"size_bytes": source.path.stat().st_size}
        if content["size_bytes"] == known.get("size_bytes"):
            content["sha256"] = describe_file(source.path)["sha256"]
    except OSError:  # reported when it is processed
        return _DAMAGED
    has = {name: provenance.get(name) for name in expected}
    has["source"] = {name: known.get(name) for name in content}
    try:
        owner = f"{source.video_id!r} from {_label(source)}"
        require_same("provenance", owner, has, {**expected, "source": content}, "")
    except MismatchError as error:
        return str(error)
    return _MATCHES


def _listed(file: Path) -> list[SourceFile]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} must be a text file with one video path per line.") from error
    sources = []
    for line in filter(None, lines):
        path = PurePosixPath(line)
        is_below = not path.is_absolute() and ".." not in path.parts
        video_id = video_id_of(path if is_below else path.name)
        sources.append(SourceFile(video_id, file.parent / line))
    return sources


def _checked(
    found: list[SourceFile], what: str, paths: Sequence[str | Path]
) -> tuple[SourceFile, ...]:
    if not found:
        names = ", ".join(map(str, paths))
        raise ValueError(f"no {what} in {names}: name other files or folders.")
    return unique_sources(found)


def _existing(paths: Sequence[str | Path]) -> list[Path]:
    absent = [str(path) for path in paths if not Path(path).exists()]
    if absent:
        raise ValueError(f"no such file or folder: {', '.join(absent)}")
    return [Path(path) for path in paths]


def _array_id(below: Path) -> str:
    known = below.suffix.lower() in ARRAY_SUFFIXES
    return (below.with_suffix("") if known else below).as_posix()


def _label(source: SourceFile) -> str:
    return f"{source.path}" if source.key is None else f"{source.path}:{source.key}"
