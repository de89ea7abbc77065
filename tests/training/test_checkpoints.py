"""Training states survive interrupted writes and damage."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from timeception.training.torch import checkpoints
from timeception.training.torch.checkpoints import WholeCheckpointIO, find_checkpoint


def _save(folder: Path, *epochs: int) -> None:
    for epoch in epochs:
        state = {"epoch": epoch, "weights": torch.full((1000,), float(epoch))}
        WholeCheckpointIO().save_checkpoint(state, str(folder / "last.ckpt"))


def _epoch(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(torch.full((1000,), 2.0).numpy().tobytes()) + 7] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def test_the_last_two_are_kept_and_nothing_else(tmp_path: Path) -> None:
    _save(tmp_path, 0, 1, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert _epoch(tmp_path / "last.ckpt") == 2
    assert _epoch(tmp_path / "previous.ckpt") == 1
    assert find_checkpoint(tmp_path) == tmp_path / "last.ckpt"


def test_other_checkpoints_are_not_kept_twice(tmp_path: Path) -> None:
    for epoch in range(2):
        WholeCheckpointIO().save_checkpoint({"epoch": epoch}, tmp_path / "best.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]
    assert _epoch(tmp_path / "best.ckpt") == 1


def test_a_write_that_fails_leaves_both_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, 0, 1)

    def fill_disk(state: object, path: Path) -> None:
        path.write_bytes(b"a stump")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        _save(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert _epoch(tmp_path / "last.ckpt") == 1
    assert _epoch(tmp_path / "previous.ckpt") == 0


def test_nothing_is_written_outside_the_folder_of_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))  # any use of it would fail
    (tmp_path / "run").mkdir()
    _save(tmp_path / "run", 0)
    assert _epoch(tmp_path / "run" / "last.ckpt") == 0


@pytest.mark.parametrize("damage", [_flip, _cut, _empty])
def test_training_falls_back_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    _save(tmp_path, 1, 2)
    damage(tmp_path / "last.ckpt")
    with caplog.at_level(logging.WARNING):
        found = find_checkpoint(tmp_path)
    assert found == tmp_path / "previous.ckpt"
    assert "last.ckpt is damaged" in caplog.text and "resumes from" in caplog.text
    assert not (tmp_path / "last.ckpt").exists()
    _save(tmp_path, 3)  # must not put the damaged one in place of the good one
    assert _epoch(tmp_path / "previous.ckpt") == 1


def test_an_interruption_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    _save(tmp_path, 0)
    (tmp_path / "last.ckpt").rename(tmp_path / "previous.ckpt")
    assert find_checkpoint(tmp_path) == tmp_path / "previous.ckpt"


def test_two_damaged_checkpoints_are_one_error(tmp_path: Path) -> None:
    _save(tmp_path, 1, 2)
    _flip(tmp_path / "last.ckpt")
    _cut(tmp_path / "previous.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged .*checksum.*previous\.ckpt"):
        find_checkpoint(tmp_path)
    assert (tmp_path / "last.ckpt").exists()


def test_a_run_without_checkpoints_starts_from_the_beginning(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) is None


def test_storage_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="storage_options"):
        WholeCheckpointIO().save_checkpoint({}, tmp_path / "a.ckpt", storage_options={})


def test_a_missing_last_checkpoint_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a power cut on a file system that lost the newer file."""
    _save(tmp_path, 0, 1)
    (tmp_path / "last.ckpt").unlink()
    assert find_checkpoint(tmp_path) == tmp_path / "previous.ckpt"
    assert "last.ckpt is missing. Training resumes from" in caplog.text


def test_the_last_checkpoint_exists_until_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interruption just before the new file takes its place."""
    _save(tmp_path, 0, 1)
    keep = checkpoints._keep

    def interrupted(last: Path, previous: Path) -> None:
        keep(last, previous)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "_keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _save(tmp_path, 2)
    assert _epoch(tmp_path / "last.ckpt") == 1
    assert find_checkpoint(tmp_path) == tmp_path / "last.ckpt"
