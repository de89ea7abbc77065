"""Testing: each metric is computed once, over the whole test set.

Two protocols stand side by side: the equidistant draw, and the average of the scores of N random
draws (10 by default), as the 2019 results were made.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception.metrics import accuracy, mean_average_precision
from timeception.training.problem import Subset, build_problem
from timeception.training.runs import Run, write_json, write_text
from timeception.training.saved import Scorer

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """Metrics of one protocol; ``accuracy`` is ``None`` for multi-label problems."""

    mean_average_precision: float
    accuracy: float | None
    average_precision: dict[str, float]


@dataclass(frozen=True)
class EvaluationReport:
    """What ``timeception test`` reports."""

    run: str
    split: str
    n_records: int
    n_videos: int
    n_draws: int
    equidistant: Metrics
    average_of_draws: Metrics
    classes_without_positives: list[str]
    left_out: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return asdict(self)


def score_subset(scorer: Scorer, subset: Subset, draw: int | None, batch_size: int) -> Scores:
    """Scores (n_records, n_classes) of one draw of every record."""
    parts = [scorer(features) for _, features in subset.draws.batches(draw, batch_size)]
    return np.concatenate(parts).astype(np.float64)


def evaluate(
    run: Run,
    scorer: Scorer,
    *,
    n_draws: int,
    split: str = "test",
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> EvaluationReport:
    """Score a split of the run's data, write ``results/SPLIT.json`` and ``SPLIT_scores.csv``.

    Args:
        run: a finished run.
        scorer: its model, from features to probabilities.
        n_draws: number of random draws whose scores are averaged.
        split: ``test``, ``validation`` or ``train``.
        track: wraps the draws, to show progress.

    Raises:
        ValueError: if the split is empty.
    """
    recipe = run.recipe()
    problem = build_problem(recipe)
    subset = problem.subset(split)
    batch = recipe.testing.batch_size
    equidistant = score_subset(scorer, subset, None, batch)
    total = np.zeros_like(equidistant)
    for draw in track(range(n_draws)):
        total += score_subset(scorer, subset, draw, batch)
    average = total / n_draws

    def measure(scores: Scores) -> Metrics:
        result = mean_average_precision(scores, subset.targets, problem.classes)
        correct = None if problem.is_multilabel else accuracy(scores, subset.targets)
        return Metrics(result.mean, correct, result.per_class)

    report = EvaluationReport(
        run=str(run.root),
        split=split,
        n_records=len(subset),
        n_videos=len({record.video_id for record in subset.draws.records}),
        n_draws=n_draws,
        equidistant=measure(equidistant),
        average_of_draws=measure(average),
        classes_without_positives=[
            name
            for name, count in zip(problem.classes, subset.targets.sum(axis=0), strict=True)
            if not count
        ],
        left_out=list(problem.left_out),
    )
    write_json(run.results / f"{split}.json", report.to_dict())
    write_text(run.results / f"{split}_scores.csv", scores_table(subset, problem.classes, average))
    return report


def scores_table(subset: Subset, classes: Iterable[str], scores: Scores) -> str:
    """A CSV of one row per record: its name, its true labels, and a score per class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["record", "labels", *classes])
    for record, row in zip(subset.draws.records, scores, strict=True):
        writer.writerow([record.key, ";".join(record.labels), *(f"{score:.6f}" for score in row)])
    return text.getvalue()
