"""What the test command measures, by name, beside the metrics by hand."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from tests.datasets import official_files as official
from timeception.cli import main
from timeception.evaluation.evaluate import evaluate
from timeception.features.bank import FeatureBank
from timeception.metrics import average_precision
from timeception.recipes.recipe import build_recipe
from timeception.training.runs import Run
from timeception.training.train import train

pytestmark = [
    pytest.mark.slow,  # it trains
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning:lightning",
        "ignore::DeprecationWarning:tensorboard",
        "ignore::DeprecationWarning:torch",
    ),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A hardly trained model of four classes; two of eight test videos have no action."""
    root = tmp_path_factory.mktemp("charades")
    row = official.charades_row
    actions = ["c000 1 9", "c001 1 9;c002 2 5", "c002 1 9", "c000 1 5;c002 1 9"]
    tests = [*actions, "", "c001 1 9", "", "c000 1 9"]
    official.write_charades(
        root / "labels",
        [row(f"A{n}", text) for n, text in enumerate(actions)],
        [row(f"B{n}", text) for n, text in enumerate(tests)],
    )
    bank = FeatureBank(root / "bank", mode="a")
    for number, name in enumerate([*(f"A{n}" for n in range(4)), *(f"B{n}" for n in range(8))]):
        steps = np.random.default_rng(number).random((12, 8, 1, 1))
        bank.write(name, steps, np.arange(12) * 8, fps=24.0)
    data = {"kind": "charades", "source": str(root / "labels"), "bank": str(root / "bank")}
    recipe = build_recipe(
        {
            "name": "charades",
            "data": {**data, "trains_on_unlabelled": False},
            "sampling": {"n_timesteps": 4},
            "model": {"n_layers": 1, "hidden": 8},
            "training": {"epochs": 1, "batch_size": 2},
        }
    )
    return train(recipe, root / "run")


def table(run: Run) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores, targets and classes from the written table."""
    with (run.results / "test_scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    classes = list(rows[0])[2:]
    scores = np.array([[float(row[name]) for name in classes] for row in rows])
    targets = np.array([[name in row["labels"].split(";") for name in classes] for row in rows])
    return scores, targets, classes


def test_the_recipe_of_charades_is_tested_by_the_official_rule(run: Run) -> None:
    report = evaluate(run, n_draws=2)
    assert list(report.protocols) == ["charades_official"]
    measured = report.protocols["charades_official"]["average_of_draws"]
    scores, targets, classes = table(run)
    labelled = targets.any(axis=1)
    expected = [
        average_precision(scores[labelled, c], targets[labelled, c])
        for c in range(len(classes))
        if targets[:, c].any()
    ]
    assert measured["mean_average_precision"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert measured["n_items"] == 8 and measured["n_left_out"] == 0
    assert measured["classes_without_positives"] == ["c003 Doing thing 3"]


def test_protocols_differ_in_what_they_do_with_unlabelled_videos(run: Run) -> None:
    names = ("charades_official", "charades_skip_unlabelled", "map")
    report = evaluate(run, n_draws=2, protocols=names)
    found = {n: report.protocols[n]["equidistant"] for n in names}
    values = {n: found[n]["mean_average_precision"] for n in names}
    assert values["charades_official"] == pytest.approx(values["charades_skip_unlabelled"])
    assert values["map"] <= values["charades_official"]
    assert values["map"] == pytest.approx(report.equidistant.mean_average_precision)
    assert found["charades_skip_unlabelled"]["n_left_out"] == 2


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("charades", "protocol must be one of .* Did you mean 'charades_official'"),
        ("kinetics", "These are for multi-label data"),
    ],
)
def test_protocols_that_do_not_fit(run: Run, protocol: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        evaluate(run, n_draws=1, protocols=[protocol])


def test_the_command(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["test", str(run.root), "--draws", "2", "--protocol", "charades_skip_unlabelled"]
    assert main([*words, "--protocol", "map"]) == 0
    shown = capsys.readouterr().out
    assert "charades_skip_unlabelled" in shown and "6 of 8" in shown
    assert "mean average precision" in shown
    assert main([*words, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["protocols"]) == {"charades_skip_unlabelled"}
