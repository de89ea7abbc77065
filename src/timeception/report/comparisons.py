"""The report of several runs: ``timeception report RUN RUN...``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from timeception.evaluation.comparison import Comparison, compare, read_folds
from timeception.evaluation.scores import TestScores
from timeception.metrics import mean_average_precision
from timeception.report import charts
from timeception.report.page import Section, Table, write_page


def write_comparison_report(runs: Sequence[Path], path: Path, *, split: str = "test") -> None:
    """Write the paired comparison of tested runs, or of cross-validations.

    Args:
        runs: at least two folders, as for ``compare``.
        path: the HTML file, created or replaced.
        split: split whose scores are compared.

    Raises:
        ValueError: as ``compare``.
    """
    found = compare(runs, split)
    folds = {str(run): read_folds(run, split) for run in runs}
    first = next(iter(folds.values()))
    summary = [
        ("runs", str(len(folds))),
        ("records", str(sum(len(fold.records) for fold in first))),
        ("videos", str(sum(len(set(fold.videos)) for fold in first))),
        ("metric", found.metric),
    ]
    intervals = {
        run: (interval.value, interval.low, interval.high)
        for run, interval in sorted(found.intervals.items(), key=lambda item: -item[1].value)
    }
    text = "95 % bootstrap intervals over test videos. They do not cover the choice of training "
    text += "videos."
    sections = [
        Section("Runs", text, [charts.interval_chart(found.metric, intervals)]),
        Section("Differences", "On the same records, paired.", [difference_table(found)]),
        Section("Classes", "", [class_table(folds)]),
    ]
    write_page(path, f"Comparison of {len(folds)} runs", summary, sections)


def difference_table(found: Comparison) -> Table:
    """Return the difference of each pair of runs, its interval and p-value."""
    rows = [
        (f"{one} − {other}", d.interval.value, d.interval.low, d.interval.high, d.p_value)  # noqa: RUF001
        for (one, other), d in found.differences.items()
    ]
    columns = ("runs", f"difference of {found.metric}", "from", "to", "p")
    return Table("Paired differences", columns, rows)


def class_table(folds: dict[str, list[TestScores]]) -> Table:
    """Return AP of each class and run, averaged over the folds that have positives of it."""
    first = next(iter(folds.values()))
    classes = first[0].classes
    counts = sum(np.asarray(fold.targets).sum(axis=0) for fold in first)
    by_run = [_average_precision(found) for found in folds.values()]
    rows = [
        (name, int(np.asarray(counts)[index]), *(found.get(name) for found in by_run))
        for index, name in enumerate(classes)
    ]
    return Table("AP of each class", ("class", "positives", *folds), rows)


def _average_precision(folds: list[TestScores]) -> dict[str, float]:
    """Return the mean over folds and seeds; scores are (n_records, n_seeds, n_classes)."""
    values: dict[str, list[float]] = {}
    for fold in folds:
        if not fold.targets.any():
            continue
        for scores in np.moveaxis(fold.scores, 1, 0):
            result = mean_average_precision(scores, fold.targets, fold.classes)
            for name, value in result.per_class.items():
                values.setdefault(name, []).append(value)
    return {name: float(np.mean(found)) for name, found in values.items()}
