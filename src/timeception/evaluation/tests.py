"""The scores of a test, of clips or of timelines, and the metric that they are compared by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from timeception import checks
from timeception.evaluation.scores import TestScores, read_scores
from timeception.evaluation.timelines import timeline_metric, timeline_scores
from timeception.evaluation.uncertainty import N_RESAMPLES, metric_of

#: Resamples of timelines, whose metrics take longer.
N_TIMELINE_RESAMPLES = 200


def test_file(run: Path, split: str) -> Path:
    """Return the file with the scores of a tested run.

    Raises:
        ValueError: if it was not tested on the split.
    """
    results = run / "results"
    found = [results / f"{split}_{name}" for name in ("timelines.npz", "scores.csv")]
    existing = [path for path in found if path.is_file()]
    advice = f"Test it: timeception test {run} --split {split}"
    checks.require(bool(existing), f"{run}", f"hold scores of split {split}", "none", advice)
    return existing[0]


def read_test(path: Path) -> TestScores:
    """Read the scores of a test."""
    return timeline_scores(path) if path.suffix == ".npz" else read_scores(path)


def metric_of_tests(
    files: Sequence[Path], folds: Sequence[TestScores]
) -> tuple[str, Callable[[Any, Any], float], int]:
    """Return name and function of the metric of tests, and the number of resamples."""
    if files[0].suffix == ".npz":
        return (*timeline_metric(files[0]), N_TIMELINE_RESAMPLES)
    is_multilabel = any((fold.targets.sum(axis=1) != 1).any() for fold in folds)
    return (*metric_of(is_multilabel), N_RESAMPLES)


test_file.__test__ = False  # type: ignore[attr-defined]  # not a test of pytest
