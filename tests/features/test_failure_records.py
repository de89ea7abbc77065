"""What ``failures.json`` says after each run: the videos that are broken now, and no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.features.videos import make_video
from timeception.features.bank import FeatureBank
from timeception.features.bank.importing import import_features
from timeception.features.extraction.extract import extract


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A sound video and one that is none."""
    folder = tmp_path / "videos"
    make_video(folder / "good.mp4", 3)
    (folder / "bad.mp4").write_text("this is no video")
    return folder


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """A sound file of features and one that is none."""
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "good.npy", np.ones((3, 5), np.float32))
    (folder / "bad.npy").write_text("no array")
    return folder


def failures(bank: Path) -> list[str]:
    return list(FeatureBank(bank).failures)


def test_a_video_that_is_done_has_no_record(two, tmp_path, images) -> None:
    root = tmp_path / "bank"
    assert list(extract([two], root, images).failed) == failures(root) == ["bad"]
    shutil.copy(two / "good.mp4", two / "bad.mp4")
    assert extract([two], root, images).done == ["bad"]
    assert failures(root) == []
    assert not (root / "failures.json").exists()


def test_a_video_that_is_skipped_has_no_record(two, tmp_path, images) -> None:
    """As when one run noted a failure while another extracted the video."""
    root = tmp_path / "bank"
    extract([two], root, images)
    FeatureBank(root, mode="a").record_failure("good", two / "good.mp4", "the disk was away")
    assert failures(root) == ["bad", "good"]
    report = extract([two / "good.mp4"], root, images)
    assert (report.done, report.skipped, report.failed) == ([], ["good"], {})
    assert failures(root) == ["bad"]  # not asked for, and not forgotten


def test_a_record_tells_the_last_error(two, tmp_path, images) -> None:
    root = tmp_path / "bank"
    extract([two], root, images)
    first = FeatureBank(root).failures["bad"]
    (two / "bad.mp4").write_bytes(b"")
    report = extract([two], root, images)
    second = FeatureBank(root).failures["bad"]
    assert "is a text file" in first["error"] and "is empty" in second["error"]
    assert second == {"path": str(two / "bad.mp4"), "error": report.failed["bad"]}


def test_a_video_that_breaks_is_recorded_beside_its_features(two, tmp_path, images) -> None:
    root = tmp_path / "bank"
    extract([two], root, images)
    (two / "good.mp4").write_bytes(b"")
    report = extract([two], root, images, is_overwritten=True)
    assert list(report.failed) == failures(root) == ["bad", "good"]


def test_imports_clear_the_record_of_what_they_bring(arrays, tmp_path) -> None:
    root = tmp_path / "bank"
    report = import_features([arrays], root, axes="TC")
    assert (report.done, list(report.failed)) == (["good"], ["bad"])
    assert failures(root) == ["bad"]
    np.save(arrays / "bad.npy", np.zeros((2, 5), np.float32))
    again = import_features([arrays], root, axes="TC")
    assert (again.done, again.skipped, again.failed) == (["bad"], ["good"], {})
    assert failures(root) == []


def test_clearing_what_has_no_record_writes_nothing(tmp_path) -> None:
    bank = FeatureBank(tmp_path, mode="a")
    bank.clear_failure("v")
    assert [path.name for path in tmp_path.iterdir()] == ["bank.json"]
    bank.record_failure("w", "w.mp4", "broken")
    before = (tmp_path / "failures.json").stat().st_mtime_ns
    bank.clear_failure("v")
    assert (tmp_path / "failures.json").stat().st_mtime_ns == before
