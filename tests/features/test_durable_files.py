"""Files of a bank survive a crash: a new file on disk, then in place, then the folder on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from timeception.features.bank import FeatureBank
from timeception.files import write_bytes, write_json

needs_folder_sync = pytest.mark.skipif(os.name != "posix", reason="folders cannot be synced here")


def write_features(folder: Path, value: float) -> Path:
    bank = FeatureBank(folder / "bank", mode="a")
    bank.write("tea/v", np.full((3, 2, 1, 1), value), range(3), 25)
    return bank.path("tea/v")


def write_settings(folder: Path, value: float) -> Path:
    FeatureBank(folder / "bank", mode="a", settings={"value": value}, is_replaced=True)
    return folder / "bank" / "bank.json"


def write_failure(folder: Path, value: float) -> Path:
    bank = FeatureBank(folder / "bank", mode="a")
    bank.record_failure("v", "v.mp4", f"error {value}")
    return folder / "bank" / "failures.json"


def clear_one_of_two_failures(folder: Path, value: float) -> Path:
    path = write_failure(folder, value)
    bank = FeatureBank(folder / "bank", mode="a")
    bank.record_failure("w", "w.mp4", f"error {value}")
    bank.clear_failure("v")
    return path


def write_plain_json(folder: Path, value: float) -> Path:
    write_json(folder / "a.json", {"value": value})
    return folder / "a.json"


def write_plain_bytes(folder: Path, value: float) -> Path:
    write_bytes(folder / "a.bin", f"{value}".encode() * 999)
    return folder / "a.bin"


WRITERS: list[Callable[[Path, float], Path]] = [
    write_features,
    write_settings,
    write_failure,
    clear_one_of_two_failures,
    write_plain_json,
    write_plain_bytes,
]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What is synced and what is replaced, in order; a file is known by its inode and size."""
    seen: list[tuple] = []
    sync, replace = os.fsync, os.replace

    def spy_sync(handle: int) -> None:
        status = os.fstat(handle)
        kind = "sync folder" if stat.S_ISDIR(status.st_mode) else "sync file"
        size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        seen.append((kind, status.st_ino, size))
        sync(handle)

    def spy_replace(source: Path, target: Path) -> None:
        status = Path(source).stat()
        replace(source, target)
        seen.append(("replace", status.st_ino, status.st_size, Path(target)))

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(os, "replace", spy_replace)
    return seen


@needs_folder_sync
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_file_then_name_then_folder(write: Callable, tmp_path: Path, events: list) -> None:
    write(tmp_path, 1.0)
    path = write(tmp_path, 2.0)
    status, folder = path.stat(), path.parent.stat()
    assert events[-3:] == [
        ("sync file", status.st_ino, status.st_size),  # with all of its bytes
        ("replace", status.st_ino, status.st_size, path),
        ("sync folder", folder.st_ino, 0),
    ]


@needs_folder_sync
def test_every_file_of_a_bank_is_made_so(tmp_path: Path, events: list) -> None:
    for write in WRITERS[:4]:
        write(tmp_path, 1.0)
    kinds = [event[0] for event in events]
    assert kinds == ["sync file", "replace", "sync folder"] * (len(kinds) // 3)
    replaced = {event[3] for event in events if event[0] == "replace"}
    assert replaced == {path for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_an_open_file_stays_what_it_was(write: Callable, tmp_path: Path) -> None:
    """Whoever has the old file, here by a second name, keeps all of it."""
    path = write(tmp_path, 1.0)
    old, second = path.read_bytes(), tmp_path / "second name"
    os.link(path, second)
    write(tmp_path, 2.0)
    assert second.read_bytes() == old != path.read_bytes()


def test_a_memory_map_outlives_its_file(tmp_path: Path) -> None:
    write_features(tmp_path, 1.0)
    features = FeatureBank(tmp_path / "bank")["tea/v"].features
    write_features(tmp_path, 2.0)
    assert np.all(features == 1)
    assert np.all(FeatureBank(tmp_path / "bank")["tea/v"].features == 2)


@pytest.mark.parametrize("fails", ["fsync", "replace"])
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_failing_disk_leaves_the_old_file(
    write: Callable, fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, 1.0)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, fails, fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, 2.0)
    monkeypatch.undo()
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert write(tmp_path, 2.0) == path
    assert path.read_bytes() != before[path]


def test_nothing_shows_before_the_commit(tmp_path: Path) -> None:
    bank = FeatureBank(tmp_path, mode="a")
    with bank.begin("v", (2, 1, 1, 1), [0, 8], 25) as pending:
        pending.put(0, np.ones((2, 1, 1, 1)))
        assert not bank.path("v").exists()
        pending.commit()
        pending.discard()  # too late to discard
    assert bank.path("v").is_file()
    assert not list(tmp_path.rglob("*.tmp"))
