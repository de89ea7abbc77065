"""The main job on small made videos, by the commands: extract, train, test, predict."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from timeception.cli import main
from timeception.datasets.synthetic import make_synthetic_activities

pytestmark = [
    pytest.mark.slow,  # it trains
    pytest.mark.filterwarnings(
        # Lightning and TensorBoard call deprecated parts of other packages.
        "ignore::DeprecationWarning:lightning",
        "ignore::DeprecationWarning:tensorboard",
        "ignore::DeprecationWarning:torch",
    ),
]

BACKBONE = ("--backbone", "timm:test_resnet", "--weights", "random", "--stride", "4")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos (one broken), a bank of them, and a run trained on it."""
    root = tmp_path_factory.mktemp("job")
    make_synthetic_activities(root / "videos", 2, side=64, fps=6)
    return root


@pytest.fixture(scope="module")
def run(work: Path) -> Path:
    (work / "videos" / "wave.mp4").write_text("this is no video")
    assert main(["extract", str(work / "videos"), "--out", str(work / "bank"), *BACKBONE]) == 1
    fields = [
        f"data.source={work / 'videos' / 'videos.csv'}",
        f"data.bank={work / 'bank'}",
        "backbone=null",  # the bank is told, not made by the recipe
        "sampling.n_timesteps=8",
        "training.epochs=2",
        "training.batch_size=4",
    ]
    assert main(["train", "demo", *fields, "--out", str(work / "run")]) == 0
    return work / "run"


def test_prediction_from_the_file_equals_the_test_from_the_bank(
    work: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", str(run), "--draws", "1"]) == 0
    assert "mAP" in capsys.readouterr().out
    tested = json.loads((run / "results" / "test.json").read_text())
    with (run / "results" / "test_scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == tested["n_videos"] == 6
    from timeception.features import FeatureBank
    from timeception.inference.predictor import Predictor
    from timeception.inference.saved_model import load_saved

    model, predictor = load_saved(run), Predictor.load(run)
    assert model.timestep_seconds is not None and 0.5 < model.timestep_seconds < 20
    bank = FeatureBank(work / "bank")
    for row in rows[:2]:
        clip = bank.draw(row["record"], 8).astype("float32").mean((2, 3), keepdims=True)
        expected = model.score(clip[None])[0]
        found = predictor(work / "videos" / f"{row['record']}.mp4")
        assert found.error is None
        assert found.scores == pytest.approx(expected, abs=2e-3)  # the bank holds float16


def test_prediction_has_the_precision_of_the_bank(work: Path, run: Path) -> None:
    from timeception.inference.predictor import Predictor

    plain, halved = Predictor.load(run), Predictor.load(run)
    halved.model.pipeline["features"]["precision"] = "bf16"
    video = next((work / "videos").glob("*/*.mp4"))
    assert plain(video).scores.tolist() != halved(video).scores.tolist()
    assert [each._extractor.precision for each in (plain, halved)] == ["fp32", "bf16"]


def test_predict_names_a_broken_video_and_scores_the_others(
    work: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = next((work / "videos").glob("*/*.mp4"))
    broken = work / "videos" / "wave.mp4"
    assert main(["predict", str(run), str(broken), str(good), "--json", "--top", "2"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert "text file" in first["error"]
    assert len(second["scores"]) == 2
    assert sum(second["scores"].values()) <= 1.001


def test_a_saved_model_folder_predicts_like_its_run(work: Path, run: Path) -> None:
    from timeception.inference.predictor import Predictor

    video = next((work / "videos").glob("*/*.mp4"))
    from_run, from_model = Predictor.load(run)(video), Predictor.load(run / "model")(video)
    assert from_run.scores.tolist() == from_model.scores.tolist()
    assert from_run.top(1)[0][0] in from_run.classes
