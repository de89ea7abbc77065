"""A test's scores are the mean over its random draws, each of them another, in every report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.order_recipe import table
from tests.training.small_runs import (
    CHANNELS,
    FRAMEWORK_WARNINGS,
    finished_run,
    small_recipe,
    write_data,
)
from timeception.clips.task_data import read_task_data
from timeception.evaluation.evaluate import evaluate
from timeception.features.bank import FeatureBank
from timeception.training.runs import Run

pytestmark = FRAMEWORK_WARNINGS

CLASSES = ("cut", "pour")
TEST = {"v0": "cut", "v1": "pour", "v2": "cut", "v3": "pour"}


def run_of(folder: Path, **changes: object) -> Run:
    """Four test videos of 40 steps, of which a draw takes four."""
    rows = [("t0", "cut", "train"), ("t1", "pour", "train")]
    rows += [(name, label, "test") for name, label in TEST.items()]
    root = write_data(folder, rows, n_steps=40)
    recipe = small_recipe(root, **changes)
    return finished_run(folder / "run", recipe, CLASSES, "single-label")


class Teller:
    """Tells the probabilities that it was given, clip after clip, and keeps the clips it saw."""

    def __init__(self, *draws: list[float]) -> None:
        self.waiting = [first for draw in draws for first in draw]
        self.seen: list[np.ndarray] = []

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        self.seen += list(clips)
        firsts = [self.waiting.pop(0) for _ in clips]
        return np.array([[first, 1 - first] for first in firsts], np.float32)


EQUIDISTANT = [0.9, 0.8, 0.3, 0.6]  # of "cut": right in v0 alone
DRAWS = ([0.9, 0.1, 0.4, 0.6], [0.2, 0.1, 0.4, 0.3], [0.2, 0.1, 0.9, 0.3])
MEANS = [1.3 / 3, 0.1, 1.7 / 3, 0.4]  # wrong in v0 alone, whose highest score is right


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_known_scores(batch_size: int, tmp_path: Path) -> None:
    run, teller = run_of(tmp_path, testing__batch_size=batch_size), Teller(EQUIDISTANT, *DRAWS)
    report = evaluate(run, teller, n_draws=3)
    assert teller.waiting == []
    assert (report.n_draws, report.n_records, report.n_videos) == (3, 4, 4)
    assert report.equidistant.accuracy == 0.25
    assert report.average_of_draws.accuracy == 0.75
    # cut: v0 and v2 stand first and last; pour: v3 and v1 second and third
    found = report.equidistant.average_precision
    assert found == pytest.approx({"cut": (1 + 2 / 4) / 2, "pour": (1 / 2 + 2 / 3) / 2})
    assert report.equidistant.mean_average_precision == pytest.approx(2 / 3)
    assert report.average_of_draws.mean_average_precision == 1.0  # in order, though not all right
    (name,) = report.protocols
    assert name == "accuracy"
    measured = {
        sampling: each["top_1_accuracy"] for sampling, each in report.protocols[name].items()
    }
    assert measured == {"equidistant": 0.25, "average_of_draws": 0.75}


def test_the_table_holds_the_means(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    evaluate(run, Teller(EQUIDISTANT, *DRAWS), n_draws=3)
    rows = table(run.results / "test_scores.csv")
    assert [(row["record"], row["labels"]) for row in rows] == list(TEST.items())
    assert [float(row["cut"]) for row in rows] == pytest.approx(MEANS, abs=1e-6)
    assert [float(row["pour"]) for row in rows] == pytest.approx([1 - m for m in MEANS], abs=1e-6)


def test_one_draw_is_its_own_mean(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    evaluate(run, Teller(EQUIDISTANT, DRAWS[2]), n_draws=1)
    rows = table(run.results / "test_scores.csv")
    assert [float(row["cut"]) for row in rows] == pytest.approx(DRAWS[2], abs=1e-6)


def clips_of(run: Run, n_draws: int, split: str = "test") -> np.ndarray:
    """What a test scores: (1 + draws, records, T, C, H, W), the equidistant draw first."""
    n_records = {"test": 4, "train": 2}[split]
    teller = Teller(*[[0.5] * n_records] * (1 + n_draws))
    evaluate(run, teller, n_draws=n_draws, split=split)
    return np.reshape(teller.seen, (1 + n_draws, n_records, *teller.seen[0].shape))


def test_every_draw_is_another(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    clips = clips_of(run, 5)
    for record in range(4):
        assert len({draw[record].tobytes() for draw in clips}) == 6
    np.testing.assert_array_equal(clips_of(run, 5), clips)  # and repeats
    np.testing.assert_array_equal(clips_of(run, 2), clips[:3])
    sampler = read_task_data(run.recipe()).split("test").sampler
    for number, draw in zip((None, 0, 1, 2, 3, 4), clips, strict=True):  # numbered from 0
        expected = [sampler.sample(record, number) for record in range(4)]
        np.testing.assert_array_equal(draw, expected)


def test_draws_are_of_the_recipes_seed(tmp_path: Path) -> None:
    clips = [clips_of(run_of(tmp_path / str(seed), seed=seed), 2) for seed in (0, 1)]
    np.testing.assert_array_equal(clips[0][0], clips[1][0])  # the equidistant draw has none
    assert not np.array_equal(clips[0][1], clips[1][1])


def test_the_split_that_is_named_is_scored(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    clips_of(run, 1, split="train")
    written = json.loads((run.results / "train.json").read_text())
    assert (written["split"], written["n_records"]) == ("train", 2)
    assert [row["record"] for row in table(run.results / "train_scores.csv")] == ["t0", "t1"]
    assert not (run.results / "test.json").exists()
    with pytest.raises(ValueError, match="split must be one of"):
        evaluate(run, Teller(), n_draws=1, split="validation")


def test_all_protocols_measure_the_same_scores(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    report = evaluate(
        run, Teller(EQUIDISTANT, *DRAWS), n_draws=3, protocols=["kinetics", "accuracy"]
    )
    assert list(report.protocols) == ["kinetics", "accuracy"]
    for measured in report.protocols.values():
        assert measured["equidistant"]["top_1_accuracy"] == 0.25
        assert measured["average_of_draws"]["top_1_accuracy"] == 0.75
    with pytest.raises(ValueError, match="These are for single-label data"):
        evaluate(run, Teller(EQUIDISTANT, *DRAWS), n_draws=3, protocols=["map"])


def test_without_a_scorer_the_runs_own_head_scores(framework: str, tmp_path: Path) -> None:
    from timeception.inference.saved_model import load_saved

    run = run_of(tmp_path, framework=framework)
    evaluate(run, load_saved(run.root, framework).score, n_draws=2)
    expected = (run.results / "test_scores.csv").read_text()
    evaluate(run, n_draws=2)
    assert (run.results / "test_scores.csv").read_text() == expected
    evaluate(run, Teller(*[[0.5] * 4] * 3), n_draws=2)
    assert (run.results / "test_scores.csv").read_text() != expected


def test_a_report_names_what_is_missing(tmp_path: Path) -> None:
    """A class without a test video, and a test video without features."""
    rows = [("t0", "cut", "train"), ("t1", "pour", "train"), ("t2", "stir", "train")]
    rows += [("v0", "cut", "test"), ("v1", "pour", "test")]
    root = write_data(tmp_path, rows)
    FeatureBank(root / "bank", mode="a").record_failure("gone", root / "gone.mp4", "cut short")
    with (root / "videos.csv").open("a") as file:
        file.write("gone.mp4,pour,test\n")
    classes = (*CLASSES, "stir")
    run = finished_run(root / "run", small_recipe(root), classes, "single-label")
    report = evaluate(run, n_draws=1)
    assert report.left_out == ["gone"]
    assert report.classes_without_positives == ["stir"]
    assert set(report.equidistant.average_precision) == set(CLASSES)
    assert (report.n_records, report.n_videos) == (2, 2)


def test_windows_are_records_of_fewer_videos(tmp_path: Path) -> None:
    bank = FeatureBank(tmp_path / "bank", mode="a", settings={"made": "by hand"})
    lines = ["video,label,start,end,split"]
    for name, split in (("a", "train"), ("b", "train"), ("c", "test"), ("d", "test")):
        bank.write(name, np.ones((8, CHANNELS, 1, 1)), np.arange(8), fps=1.0)
        lines += [f"{name},cut,0,4,{split}", f"{name},pour,5,8,{split}"]
    (tmp_path / "actions.csv").write_text("\n".join(lines) + "\n")
    data = {"kind": "timed", "source": str(tmp_path / "actions.csv")}
    windows = {"length_steps": 4, "stride_steps": 2}
    bank_and_windows = {"bank": str(tmp_path / "bank"), "windows": windows}
    recipe = small_recipe(tmp_path, data={**data, **bank_and_windows})
    run = finished_run(tmp_path / "run", recipe, CLASSES, "multi-label")
    report = evaluate(run, n_draws=1)
    assert (report.n_records, report.n_videos) == (6, 2)
    rows = table(run.results / "test_scores.csv")
    assert [row["record"] for row in rows[:3]] == ["c@0-4", "c@2-6", "c@4-8"]
    assert [row["labels"] for row in rows[:3]] == ["cut", "cut;pour", "pour"]
