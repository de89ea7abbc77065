"""Classes keep the order of the scores, also where that is not the alphabet's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.datasets import official_files as official
from tests.features.videos import make_video
from tests.inference.saved_models import save_model, tiny_backbone
from tests.order_recipe import table
from tests.training.small_runs import (
    CHANNELS,
    FRAMEWORK_WARNINGS,
    finished_run,
    pooling_logits,
    small_recipe,
)
from timeception.cli import main
from timeception.clips.task_data import read_task_data
from timeception.evaluation.evaluate import evaluate
from timeception.features.bank import FeatureBank
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import load_saved
from timeception.inference.streams import stream_video
from timeception.recipes.recipe import Recipe
from timeception.training.train import train
from timeception.weights import read_folder

pytestmark = FRAMEWORK_WARNINGS

ORDER = ("stir", "cut", "pour")
VIDEOS = {
    "P03_cam01_P03_milk": ["stir", "cut"],
    "P04_cam01_P04_milk": ["pour"],
    "P47_cam01_P47_milk": ["stir"],
    "P48_cam01_P48_milk": ["cut", "pour"],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Official files whose mapping names ``ORDER``, and a bank."""
    mapping = "".join(f"{number} {name}\n" for number, name in enumerate(ORDER))
    official.write_breakfast(tmp_path / "labels", VIDEOS, mapping)
    bank = FeatureBank(tmp_path / "bank", mode="a", settings={"made": "by hand"})
    rng = np.random.default_rng(0)
    for name in VIDEOS:
        bank.write(name, rng.normal(size=(4, CHANNELS, 1, 1)), np.arange(4) * 8, fps=15.0)
    return tmp_path


def recipe_of(data: Path, **changes: object) -> Recipe:
    source = {"kind": "breakfast_actions", "source": str(data / "labels")}
    split = {"test": ["P47*", "P48*"], "train": ["P0*"]}
    bank = {"bank": str(data / "bank"), "split": split}
    return small_recipe(data, data={**source, **bank}, **changes)


def test_targets_follow_the_order(data: Path) -> None:
    problem = read_task_data(recipe_of(data))
    assert problem.classes == ORDER
    assert problem.split("test").targets.tolist() == [[1, 0, 0], [0, 1, 1]]


def test_a_training_saves_the_order(framework: str, data: Path) -> None:
    run = train(recipe_of(data, framework=framework), data / "run")
    _, _, pipeline = read_folder(run.model)
    assert pipeline is not None and tuple(pipeline["classes"]) == ORDER
    assert load_saved(run.root).classes == ORDER


def test_tables_and_reports_of_a_test(data: Path) -> None:
    run = finished_run(data / "run", recipe_of(data), ORDER, "multi-label")
    report = evaluate(run, n_draws=1)
    _, arrays, _ = read_folder(run.model)
    bank = FeatureBank(data / "bank")
    videos = np.stack([np.float64(bank[name].features)[:, :, 0, 0] for name in list(VIDEOS)[2:]])
    expected = 1 / (1 + np.exp(-pooling_logits(arrays, videos, is_training=False)))
    rows = table(run.results / "test_scores.csv")
    assert list(rows[0]) == ["record", "labels", *ORDER]
    found = [[float(row[name]) for name in ORDER] for row in rows]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert [row["labels"].split(";") for row in rows] == [["stir"], ["cut", "pour"]]
    assert tuple(report.equidistant.average_precision) == ORDER
    by_hand = {  # of two videos: 1 where the right one has the higher score, else 1/2
        name: 1.0 if scores[wanted] > scores[1 - wanted] else 0.5
        for name, scores, wanted in zip(ORDER, expected.T, (0, 1, 1), strict=True)
    }
    assert report.equidistant.average_precision == pytest.approx(by_hand)
    written = json.loads((run.results / "test.json").read_text())
    assert tuple(written["equidistant"]["average_precision"]) == ORDER


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of ``ORDER``, and ``a.mp4`` beside it."""
    root = tmp_path_factory.mktemp("saved")
    folder = save_model(root / "model", tiny_backbone(), windows=(16, 10))
    config = json.loads((folder / "config.json").read_text())
    config["pipeline"]["classes"] = list(ORDER)
    (folder / "config.json").write_text(json.dumps(config))
    make_video(root / "a.mp4", 40, width=64, height=48)
    return folder


@pytest.fixture(scope="module")
def expected(model: Path) -> dict[str, float]:
    """Scores of the video by the place of the class."""
    prediction = Predictor(load_saved(model), tiny_backbone())(model.parent / "a.mp4")
    return {name: float(prediction.scores[index]) for index, name in enumerate(ORDER)}


def test_predictions_in_json(
    model: Path, expected: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(model), str(model.parent / "a.mp4"), "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["scores"] == pytest.approx(expected, abs=1e-6)
    highest = {name: max(w["scores"][name] for w in shown["windows"]) for name in ORDER}
    assert highest == pytest.approx(expected, abs=1e-6)
    assert len(set(expected.values())) == 3


def test_predictions_in_a_table(
    model: Path, expected: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(model), str(model.parent / "a.mp4")]) == 0
    lines = capsys.readouterr().out.splitlines()
    by_score = sorted(ORDER, key=lambda name: -expected[name])
    rows = [line.replace("│", " ").split() for line in lines]
    shown = [row for row in rows if len(row) == 2 and row[0] in ORDER]
    assert shown == [[name, f"{expected[name]:.3f}"] for name in by_score]


def test_predictions_of_a_stream(model: Path, expected: dict[str, float]) -> None:
    predictor = Predictor(load_saved(model), tiny_backbone())
    *_, final = stream_video(predictor, str(model.parent / "a.mp4"))
    assert final.classes == ORDER
    assert final.to_dict(3)["scores"] == pytest.approx(expected, abs=1e-5)
