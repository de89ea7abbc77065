"""A bank, runs and predictions made by commit 38d7f3f load, and give the same numbers.

``data/made_by_38d7f3f/make.py`` made them, run in that commit's root: ``python make.py FOLDER``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from timeception.cli import main
from timeception.features import FeatureBank

MADE = Path(__file__).parent / "data" / "made_by_38d7f3f"
RENAMED = "ignore:.*keep_positions is now called:DeprecationWarning"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what was made, which is the current directory: its recipes have relative paths."""
    folder = shutil.copytree(MADE, tmp_path / "made")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.filterwarnings(RENAMED)
def test_the_run_gives_the_same_scores(made: Path) -> None:
    before = json.loads(Path("run/results/test.json").read_text())
    scores = Path("run/results/test_scores.csv").read_text().splitlines()
    shutil.rmtree("run/results")
    assert main(["test", "run"]) == 0
    after = json.loads(Path("run/results/test.json").read_text())
    for report in (before, after):
        report.pop("run")
    assert after == before
    for old, new in zip(
        scores, Path("run/results/test_scores.csv").read_text().splitlines(), strict=True
    ):
        assert old.split(",")[:2] == new.split(",")[:2]
        if not old.startswith("record"):
            numbers = [np.array(row.split(",")[2:], dtype=float) for row in (old, new)]
            np.testing.assert_allclose(*numbers, atol=2e-6)


def test_the_old_recipe_key_warns(made: Path) -> None:
    from timeception.training.runs import find_run

    with pytest.warns(
        DeprecationWarning, match=r"model\.keep_positions is now called model\.keep_spatial"
    ):
        assert find_run("run").recipe().model.keep_spatial


def test_predictions_are_the_same(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = ["videos/left/0.mp4", "videos/right/1.mp4"]
    assert main(["predict", "video_run", *videos, "--draws", "3", "--json"]) == 0
    assert_near(
        json.loads(capsys.readouterr().out), json.loads(Path("predictions.json").read_text())
    )
    assert main(["predict", "video_run", "--stream", videos[0], "--json"]) == 0
    assert_near(json.loads(capsys.readouterr().out), json.loads(Path("stream.jsonl").read_text()))


def test_extraction_continues_the_bank_and_gives_the_same_features(made: Path) -> None:
    old = FeatureBank("video_bank")
    assert main(["extract", "videos", "--out", "fresh", *EXTRACTION]) == 0
    fresh = FeatureBank("fresh")
    assert (fresh.settings, fresh.video_ids) == (old.settings, old.video_ids)
    for video_id in old:
        np.testing.assert_array_equal(fresh[video_id].start_frames, old[video_id].start_frames)
        np.testing.assert_allclose(
            fresh[video_id].features.astype(np.float32),
            old[video_id].features.astype(np.float32),
            rtol=2e-3,
            atol=2e-3,
        )
    shutil.rmtree("video_bank/videos/left")
    assert main(["extract", "videos", "--out", "video_bank", *EXTRACTION]) == 0
    assert FeatureBank("video_bank").video_ids == fresh.video_ids


EXTRACTION = ["--backbone", "efficientnet_lite0", "--stride", "4", "--map-size", "1x1"]


def assert_near(found: object, expected: object) -> None:
    """Equal but for rounding of numbers."""
    if isinstance(expected, dict) and isinstance(found, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_near(found[key], value)
    elif isinstance(expected, list) and isinstance(found, list):
        for one, other in zip(found, expected, strict=True):
            assert_near(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-3)
    else:
        assert found == expected
