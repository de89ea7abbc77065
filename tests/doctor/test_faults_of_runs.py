"""Planted faults of runs, and videos unlike those of training."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doctor.made import N_STEPS, codes, make_recipe
from tests.tiny_data import square
from timeception.cli.app import main
from timeception.datasets.synthetic.generate import write_mp4
from timeception.doctor import diagnose
from timeception.features.bank import FeatureBank


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a bank, annotations and a tested run."""
    root = tmp_path_factory.mktemp("trained")
    recipe = str(make_recipe(root))
    options = ["model.head=pooling", "training.epochs=1"]
    assert main(["train", recipe, *options, "--out", str(root / "run")]) == 0
    assert main(["test", str(root / "run")]) == 0
    return root


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the tested run, which a test may damage."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def test_a_run_without_faults(run: Path) -> None:
    assert list(diagnose([run])) == []


def test_a_run_without_its_recipe(run: Path) -> None:
    (run / "recipe.yaml").write_text("name: [")
    assert "recipe" in codes(run)


def test_a_run_that_diverged(run: Path) -> None:
    (log,) = (run / "logs").glob("part_*/metrics.csv")
    rows = list(csv.DictReader(log.read_text().splitlines()))
    rows[-1]["train_loss"] = "nan"
    with log.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (advice,) = diagnose([run])
    assert advice.code == "diverged"
    assert "train_loss" in advice.problem


def test_a_run_that_has_not_finished(run: Path) -> None:
    shutil.rmtree(run / "model")
    (advice,) = diagnose([run])
    assert advice.code == "unfinished"
    assert "--resume" in advice.cure


def test_classes_that_changed_since(run: Path) -> None:
    config = json.loads((run / "model" / "config.json").read_text())
    config["pipeline"]["classes"] = ["a", "c"]
    (run / "model" / "config.json").write_text(json.dumps(config))
    (advice,) = diagnose([run])
    assert advice.code == "classes-changed"
    assert "b, c" in advice.problem


def record(run: Path, seconds: float, **features: Any) -> None:
    """Record in the run's model how its features were spaced."""
    config = json.loads((run / "model" / "config.json").read_text())
    config["pipeline"] |= {"timestep_seconds": seconds, "features": features}
    (run / "model" / "config.json").write_text(json.dumps(config))


def test_a_bank_unlike_that_of_training(run: Path, tmp_path: Path) -> None:
    steps = np.cumsum(np.random.default_rng(0).normal(size=(N_STEPS, 4, 2, 2)), axis=0)
    bank = FeatureBank(tmp_path / "bank", mode="a", dtype="float32")
    bank.write("v", steps.astype(np.float32), np.arange(N_STEPS) * 8, 24.0)
    found = {advice.code: advice.problem for advice in diagnose([run, tmp_path / "bank"])}
    assert "channels: 4 in this bank, 8 in the features" in found.pop("model-bank")
    assert found == {}


@pytest.mark.parametrize(
    ("code", "report"), [("left-out", '{"left_out": ["v11"]}'), ("results", "[")]
)
def test_results_of_a_part(run: Path, code: str, report: str) -> None:
    (run / "results" / "test.json").write_text(report)
    assert codes(run) == {code}


def write_videos(folder: Path, fps: int, n_frames: int) -> Path:
    """Write two videos of different content."""
    folder.mkdir()
    for number in range(2):
        ground = np.full(3, 40 * number)
        frames = [square(10 + number, step % 20, ground) for step in range(n_frames)]
        write_mp4(folder / f"{number}.mp4", frames, fps=fps)
    return folder


@pytest.mark.parametrize(
    ("fps", "n_frames", "expected"),
    [(24, 192, set()), (60, 480, {"frame-rate"}), (24, 24, {"length"})],
)
def test_videos_unlike_those_of_training(
    run: Path, tmp_path: Path, fps: int, n_frames: int, expected: set[str]
) -> None:
    record(run, N_STEPS * 8 / 24 / 16, stride=8)
    found = list(diagnose([run, write_videos(tmp_path / "videos", fps, n_frames)]))
    assert {advice.code for advice in found} == expected
