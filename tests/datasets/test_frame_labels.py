"""One label per frame, in folders as MS-TCN distributes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from timeception.datasets.frame_labels import read_frame_labels
from timeception.datasets.registry import recognise


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mapping.txt").write_text("0 background\n1 take\n2 open\n")
    (tmp_path / "groundTruth").mkdir()
    (tmp_path / "groundTruth" / "S1_Tea.txt").write_text("background\ntake\ntake\nopen\n")
    (tmp_path / "groundTruth" / "S2_Tea.txt").write_text("take\n" * 3)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train.split1.bundle").write_text("S2_Tea.txt\n")
    (tmp_path / "splits" / "test.split1.bundle").write_text("S1_Tea.txt\n")
    return tmp_path


def test_intervals_and_splits(folder: Path) -> None:
    data = read_frame_labels(folder, fps=2.0)
    assert data.classes == ("background", "take", "open")
    first, second = data.videos
    assert [(i.label, i.start_seconds, i.end_seconds) for i in first.intervals] == [
        ("background", 0.0, 0.5),
        ("take", 0.5, 1.5),
        ("open", 1.5, 2.0),
    ]
    assert (first.split, second.split) == ("test", "train")
    assert second.duration_seconds == 1.5
    assert recognise(folder)[0].name == "frame_labels"


def test_without_splits(folder: Path) -> None:
    for file in (folder / "splits").iterdir():
        file.unlink()
    (folder / "splits").rmdir()
    assert {video.split for video in read_frame_labels(folder).videos} == {""}


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("groundTruth/S1_Tea.txt", "tak\n", r"label must be one of .*'tak'"),
        ("groundTruth/S1_Tea.txt", "", "must hold a label for every frame"),
        ("mapping.txt", "", "must hold 'index name' lines"),
        ("splits/test.split1.bundle", "S9_Tea.txt\n", "must have a file in groundTruth; got 'S9"),
        ("splits/test.split1.bundle", "S2_Tea.txt\n", "split of S2_Tea must be one"),
    ],
)
def test_bad_files(folder: Path, file: str, text: str, words: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(ValueError, match=words):
        read_frame_labels(folder)
