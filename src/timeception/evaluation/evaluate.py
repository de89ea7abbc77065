"""Testing: each metric is computed once, over the whole test set.

Two samplings stand side by side: the equidistant draw, and the average of the scores of N random
draws (10 by default), as the 2019 results were made. A protocol says what is measured of them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.task_data import Subset
from timeception.files import write_json, write_text
from timeception.inference.saved_model import Scorer, load_for_testing
from timeception.metrics import PROTOCOLS, accuracy, find_protocol, mean_average_precision
from timeception.metrics import measure as measure_by
from timeception.recipes.recipe import Framework
from timeception.training.runs import Run

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """Metrics of one sampling; ``accuracy`` is ``None`` for multi-label problems."""

    mean_average_precision: float
    accuracy: float | None
    average_precision: dict[str, float]


@dataclass(frozen=True)
class EvaluationReport:
    """What ``timeception test`` reports.

    ``protocols`` has, by the protocol's name, what it measured of each sampling.
    """

    run: str
    split: str
    n_records: int
    n_videos: int
    n_draws: int
    equidistant: Metrics
    average_of_draws: Metrics
    protocols: dict[str, dict[str, dict[str, Any]]]
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
    scorer: Scorer | None = None,
    *,
    n_draws: int,
    split: str = "test",
    protocols: Sequence[str] = (),
    framework: Framework | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> EvaluationReport:
    """Score a split of the run's data, write ``results/SPLIT.json`` and ``SPLIT_scores.csv``.

    Args:
        run: a finished run.
        scorer: its model, from clips to probabilities; ``None`` loads it.
        n_draws: number of random draws whose scores are averaged.
        split: ``test``, ``validation`` or ``train``.
        protocols: names of ``timeception.metrics.PROTOCOLS``; none takes the recipe's.
        framework: that scores; ``None`` takes the one of training.
        track: wraps the draws, to show progress.

    Raises:
        ValueError: if the split is empty, or a protocol is unknown or not for such labels.
    """
    recipe = run.recipe()
    problem, own_scorer = load_for_testing(run, framework)
    scorer = scorer or own_scorer
    names = protocols or [recipe.protocol(problem.is_multilabel)]
    for name in names:
        _check_protocol(name, problem.is_multilabel)
    subset = problem.subset(split)
    batch = recipe.testing.batch_size
    equidistant = score_subset(scorer, subset, None, batch)
    total = np.zeros_like(equidistant)
    for draw in track(range(n_draws)):
        total += score_subset(scorer, subset, draw, batch)
    average = total / n_draws
    both = {"equidistant": equidistant, "average_of_draws": average}

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
        protocols={
            name: {
                sampling: measure_by(name, scores, subset.targets, problem.classes).to_dict()
                for sampling, scores in both.items()
            }
            for name in names
        },
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


def _check_protocol(name: str, is_multilabel: bool) -> None:
    find_protocol(name)  # loads plug-ins if the name is not built in
    fitting = [key for key, known in PROTOCOLS.items() if known.is_multilabel == is_multilabel]
    task = "multi-label" if is_multilabel else "single-label"
    checks.one_of("protocol", name, fitting, f"These are for {task} data.")


def scores_table(subset: Subset, classes: Iterable[str], scores: Scores) -> str:
    """A CSV of one row per record: its name, its true labels, and a score per class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["record", "labels", *classes])
    for record, row in zip(subset.draws.records, scores, strict=True):
        writer.writerow([record.key, ";".join(record.labels), *(f"{score:.6f}" for score in row)])
    return text.getvalue()
