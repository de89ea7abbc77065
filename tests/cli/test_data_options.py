"""``timeception data``: each option changes what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.features.videos import make_video
from timeception.cli import main
from timeception.datasets.table import from_csv
from timeception.video import probe


def made(folder: Path, *words: str) -> Path:
    small = ["--videos-per-class", "2", "--fps", "2", "--side", "32"]
    assert main(["data", "synthesize", str(folder), *small, *words]) == 0
    return folder


def test_what_synthetic_videos_look_like(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", "--videos-per-class", "3", "--fps", "3", "--side", "48")
    dataset = from_csv(folder / "videos.csv")
    assert len(dataset) == 18 and len(dataset.classes) == 6
    info = probe(folder / str(dataset.records[0].path))
    assert (info.fps, info.height, info.width) == (3, 48, 48)


def test_the_share_for_testing(tmp_path: Path) -> None:
    words = ["--videos-per-class", "4", "--test-fraction"]
    for fraction, n_test in (("0.25", 6), ("0.5", 12)):
        dataset = from_csv(made(tmp_path / fraction, *words, fraction) / "videos.csv")
        assert len(dataset.subset("test")) == n_test
        assert len(dataset.subset("train")) == 24 - n_test


def test_the_seed(tmp_path: Path) -> None:
    folders = [made(tmp_path / name, "--seed", name[0]) for name in ("0", "0 again", "1")]
    texts = [(folder / "annotations.csv").read_text() for folder in folders]
    assert texts[0] == texts[1] != texts[2]
    assert (made(tmp_path / "default") / "annotations.csv").read_text() == texts[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Annotations of two videos of two seconds, whose files are in another folder."""
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "actions.csv").write_text(
        "video,label,start,end,split\na,cut,0,1.9,train\nb,pour,2.6,3.0,test\n"
    )
    for name in "ab":
        make_video(tmp_path / "files" / f"{name}.mp4", 24)
    return tmp_path


def findings(
    folder: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, list[dict[str, Any]]]:
    """The status, and what is wrong."""
    status = main(["data", "check", str(folder / "labels"), "--json", *words])
    found = json.loads(capsys.readouterr().out)["findings"]
    return status, [finding for finding in found if finding["is_problem"]]


def test_the_folder_of_the_videos(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = findings(folder, capsys)
    assert status == 1 and "missing" in found[0]["what"] and found[0]["items"] == ["a", "b"]
    assert findings(folder, capsys, "--videos", str(folder / "files")) == (0, [])


def test_the_tolerance(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An action begins 0.6 s after the end of its video."""
    files = ["--videos", str(folder / "files")]
    assert findings(folder, capsys, *files, "--tolerance", "0.7")[0] == 0
    status, (finding,) = findings(folder, capsys, *files, "--tolerance", "0.5")
    assert status == 1
    assert len(finding["items"]) == 1 and finding["items"][0].startswith("b")


def test_files_are_opened_unless_asked_not_to(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "files" / "a.mp4").write_text("no video at all")
    files = ["--videos", str(folder / "files")]
    assert findings(folder, capsys, *files)[0] == 1
    assert findings(folder, capsys, *files, "--open")[0] == 1
    assert findings(folder, capsys, *files, "--no-open") == (0, [])


def test_a_report_for_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "check", str(folder / "labels")]
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "PROBLEM: missing" in shown and "\n  a\n  b\n" in shown
    assert shown.endswith("\nproblems found\n")
    assert main([*words, "--videos", str(folder / "files")]) == 0
    *_, verdict, following = capsys.readouterr().out.splitlines()
    assert verdict == "no problems found" and "timeception extract" in following
