"""``timeception predict`` of files: each option changes what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.features.videos import make_video
from tests.inference.saved_models import CLASSES, save_model, tiny_backbone
from timeception.cli import main
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import load_saved


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of windows, with two videos beside it."""
    root = tmp_path_factory.mktemp("saved")
    for seed, name in enumerate(("a.mp4", "b.mp4")):
        make_video(root / name, 60, width=64, height=48, seed=seed)
    return save_model(root / "model", tiny_backbone(), windows=(24, 6))


@pytest.fixture(scope="module")
def predictor(model: Path) -> Predictor:
    return Predictor(load_saved(model), tiny_backbone())


def predictions(
    model: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> list[dict[str, Any]]:
    assert main(["predict", str(model), "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_draws(model: Path, predictor: Predictor, capsys: pytest.CaptureFixture[str]) -> None:
    video, found = model.parent / "a.mp4", set()
    for n_draws, words in (
        (1, []),
        (1, ["--draws", "1"]),
        (2, ["--draws", "2"]),
        (5, ["--draws=5"]),
    ):
        (shown,) = predictions(model, capsys, str(video), *words)
        expected = predictor(video, n_draws)
        assert shown["scores"] == pytest.approx(dict(expected.top(3)), abs=1e-6)
        for ours, theirs in zip(shown["windows"], expected.windows, strict=True):
            assert ours["scores"] == pytest.approx(dict(theirs.top(CLASSES, 3)), abs=1e-6)
        found.add(tuple(round(score, 6) for score in shown["scores"].values()))
    assert len(found) == 3


@pytest.mark.parametrize("top", [1, 2, 3, 9])
def test_top(model: Path, top: int, capsys: pytest.CaptureFixture[str]) -> None:
    video = str(model.parent / "a.mp4")
    (shown,) = predictions(model, capsys, video, "--top", str(top))
    (whole,) = predictions(model, capsys, video)
    highest = sorted(whole["scores"].items(), key=lambda pair: -pair[1])
    assert list(shown["scores"].items()) == highest[:top]
    assert {len(window["scores"]) for window in shown["windows"]} == {min(top, 3)}
    assert main(["predict", str(model), video, "--top", str(top)]) == 0
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    rows = [line for line in lines if len(line) == 2 and line[0] in CLASSES]
    assert rows == [[name, f"{score:.3f}"] for name, score in highest[:top]]


def test_every_file_in_its_order(
    model: Path, predictor: Predictor, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(model.parent / name) for name in ("b.mp4", "a.mp4")]
    shown = predictions(model, capsys, *files)
    assert [each["video"] for each in shown] == files
    for each in shown:
        assert each["scores"] == pytest.approx(dict(predictor(each["video"]).top(3)), abs=1e-6)
    assert shown[0]["scores"] != shown[1]["scores"]


def test_a_table_has_every_window(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = str(model.parent / "a.mp4")
    (shown,) = predictions(model, capsys, video)
    assert main(["predict", str(model), video]) == 0
    text = capsys.readouterr().out
    assert len(shown["windows"]) == 2
    for window in shown["windows"]:
        assert f"{window['start_seconds']:.1f} - {window['end_seconds']:.1f}" in text


def test_weights_of_the_backbone(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A file that is not there is an error: the option is not passed over."""
    words = [str(model), str(model.parent / "a.mp4"), "--weights", str(tmp_path / "gone.pt")]
    assert main(["predict", *words]) == 2
    assert "gone.pt" in capsys.readouterr().err
