"""``timeception test``: each option changes what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.features.videos import make_video
from tests.order_recipe import table
from tests.training.small_runs import FRAMEWORK_WARNINGS, finished_run, small_recipe, write_data
from timeception.cli import main
from timeception.evaluation.evaluate import evaluate
from timeception.training.runs import Run

pytestmark = FRAMEWORK_WARNINGS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was not trained; the recipe tests four draws of four in forty steps."""
    root = tmp_path_factory.mktemp("data")
    labels = ("cut", "pour")
    rows = [(f"t{n}", labels[n % 2], "train") for n in range(2)]
    rows += [(f"v{n}", labels[n % 2], "validation") for n in range(3)]
    rows += [(f"w{n}", labels[n % 2], "test") for n in range(6)]
    write_data(root, rows, n_steps=40)
    return finished_run(root / "run", small_recipe(root, testing__draws=4), labels, "single-label")


def report_of(run: Run, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["test", str(run.root), "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def scores(run: Run, split: str = "test") -> list[float]:
    return [float(row["cut"]) for row in table(run.results / f"{split}_scores.csv")]


def test_json_is_the_written_report(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(run, capsys)
    assert report == json.loads((run.results / "test.json").read_text())
    assert report["run"] == str(run.root)


def test_a_table_is_printed_without_json(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(run, capsys, "--draws", "2")
    assert main(["test", str(run.root), "--draws", "2"]) == 0
    shown = capsys.readouterr().out
    with pytest.raises(json.JSONDecodeError):
        json.loads(shown)
    rows = [line.replace("│", " ").split() for line in shown.splitlines()]
    for name in ("cut", "pour"):
        samplings = (report["equidistant"], report["average_of_draws"])
        values = [f"{each['average_precision'][name]:.3f}" for each in samplings]
        assert [name, *values] in rows
        maps = [f"{each['mean_average_precision']:.3f}" for each in samplings]
        accuracies = [f"{each['accuracy']:.3f}" for each in samplings]
    assert ["mAP", *maps] in rows and ["accuracy", *accuracies] in rows
    assert "average of 2 draws" in shown and "6 test records" in shown


def test_draws_are_the_recipes_unless_given(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for n_draws, words in ((4, []), (1, ["--draws", "1"]), (7, ["--draws", "7"])):
        assert report_of(run, capsys, *words)["n_draws"] == n_draws
        found[n_draws] = scores(run)
        evaluate(run, n_draws=n_draws)
        assert scores(run) == found[n_draws]
    assert len({tuple(each) for each in found.values()}) == 3


def test_the_split(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for split, n_records in (("validation", 3), ("train", 2), ("test", 6)):
        report = report_of(run, capsys, "--split", split)
        assert (report["split"], report["n_records"]) == (split, n_records)
        assert len(scores(run, split)) == n_records
    assert report_of(run, capsys)["split"] == "test"


def test_protocols(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(report_of(run, capsys)["protocols"]) == ["accuracy"]
    assert list(report_of(run, capsys, "--protocol", "kinetics")["protocols"]) == ["kinetics"]
    both = ["--protocol", "kinetics", "--protocol", "breakfast_activities"]
    assert list(report_of(run, capsys, *both)["protocols"]) == ["kinetics", "breakfast_activities"]


def test_the_framework_that_scores(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads of either framework are counted as they are built."""
    pytest.importorskip("tests.keras")
    import timeception.keras
    import timeception.torch

    built: list[str] = []
    for name, package in (("torch", timeception.torch), ("keras", timeception.keras)):
        kind = package.PoolingClassifier
        make = kind.from_arrays

        def spy(*arguments: Any, make: Any = make, name: str = name) -> Any:
            built.append(name)
            return make(*arguments)

        monkeypatch.setattr(kind, "from_arrays", spy)
    found = {}
    for words in ([], ["--framework", "torch"], ["--framework", "keras"]):
        report_of(run, capsys, *words)
        found[built[-1]] = scores(run)
    assert built == ["torch", "torch", "keras"]
    assert found["keras"] == pytest.approx(found["torch"], abs=2e-6)


def test_a_backbone_that_was_trained_is_pytorchs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option is refused where it cannot be honoured."""
    clips = tmp_path / "clips"
    for label in ("left", "right"):
        make_video(clips / label / "a.mp4")
    recipe = small_recipe(
        tmp_path,
        data={"kind": "folder", "source": str(clips), "videos": str(clips)},
        backbone={"name": "timm:test_resnet", "weights": "random"},
        training__scheme="end_to_end",
    )
    run = finished_run(tmp_path / "run", recipe, ("left", "right"), "single-label")
    assert main(["test", str(run.root), "--framework", "keras"]) == 2
    assert "Pass --framework torch" in capsys.readouterr().err
