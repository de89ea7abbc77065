"""Comparison of tested runs on the same test records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from timeception import checks
from timeception.evaluation.cross_validation import (
    RESULT_FILE,
    fold_scores,
    seed_mean,
    seed_stack,
)
from timeception.evaluation.scores import TestScores
from timeception.evaluation.tests import metric_of_tests, read_test, test_file
from timeception.evaluation.uncertainty import (
    Difference,
    Interval,
    confidence_interval,
    paired_difference,
    resample,
)


@dataclass(frozen=True)
class Comparison:
    """Results of several runs on the same test records.

    Args:
        metric: name of the metric.
        intervals: the metric of each run.
        differences: difference of each pair of runs, first minus second.
    """

    metric: str
    intervals: dict[str, Interval]
    differences: dict[tuple[str, str], Difference]

    def to_dict(self) -> dict[str, Any]:
        """Return the results, for JSON."""
        return {
            "metric": self.metric,
            "runs": {run: asdict(interval) for run, interval in self.intervals.items()},
            "differences": [
                {"first": one, "second": other, **asdict(found.interval), "p": found.p_value}
                for (one, other), found in self.differences.items()
            ],
        }


def compare(runs: Sequence[str | Path], split: str = "test") -> Comparison:
    """Compare tested runs, or cross-validations, by the paired bootstrap.

    Args:
        runs: folders of tested runs, or of ``cross-validate``; all of one kind.
        split: split whose scores are compared.

    Raises:
        ValueError: if fewer than two are given, one was not tested, or their test records differ.
    """
    checks.require(len(runs) >= 2, "RUN", "be at least two runs", len(runs))
    folds = {str(run): read_folds(Path(run), split) for run in runs}
    sizes = {len(found) for found in folds.values()}
    checks.require(len(sizes) == 1, "runs", "have the same number of folds", sorted(sizes))
    first = next(iter(folds.values()))
    name, metric, n_resamples = metric_of_tests(test_files(Path(runs[0]), split), first)
    drawn = {run: resample(seed_mean(metric), found, n_resamples) for run, found in folds.items()}
    return Comparison(
        name,
        {run: confidence_interval(found) for run, found in drawn.items()},
        {
            (one, other): paired_difference(drawn[one], drawn[other])
            for one, other in combinations(drawn, 2)
        },
    )


def read_folds(folder: Path, split: str = "test") -> list[TestScores]:
    """Read the scores of a tested run (one fold) or a cross-validation, stacked over seeds.

    Raises:
        ValueError: if the folder is neither, or was not tested.
    """
    result = folder / RESULT_FILE
    if result.is_file():
        folds = json.loads(result.read_text(encoding="utf-8"))["folds"]
        seeds = sorted(
            int(path.name.removeprefix("seed_"))
            for path in (folder / f"fold_{next(iter(folds))}").glob("seed_*")
        )
        by_seed = [fold_scores(folder, list(folds), seed) for seed in seeds]
        return [seed_stack(scores) for scores in zip(*by_seed, strict=True)]
    return [seed_stack([read_test(test_files(folder, split)[0])])]


def test_files(folder: Path, split: str) -> list[Path]:
    """Return the files of scores of a tested run, or of every run of a cross-validation.

    Raises:
        ValueError: if it was not tested.
    """
    if (folder / RESULT_FILE).is_file():
        return [test_file(run, split) for run in sorted(folder.glob("fold_*/seed_*"))]
    return [test_file(folder, split)]
