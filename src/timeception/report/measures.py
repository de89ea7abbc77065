"""What a report of a test shows beside average precision: confusions, calibration, mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timeception.evaluation.scores import TestScores

Array = NDArray[np.float64]

N_BINS = 10
MAX_CURVE_POINTS = 100


@dataclass(frozen=True)
class Calibration:
    """Agreement of scores with frequencies, in bins of equal width.

    Args:
        mean_scores: mean score of each bin that is not empty.
        frequencies: share of the scores of each bin that are right.
        counts: number of scores in each bin.
        expected_error: mean of ``|mean score - frequency|``, weighted by count.
    """

    mean_scores: Array
    frequencies: Array
    counts: NDArray[np.int64]
    expected_error: float


@dataclass(frozen=True)
class Mistake:
    """A class that a record has but scored low (``is_missed``), or lacks but scored high."""

    record: str
    label: str
    score: float
    is_missed: bool
    true_labels: tuple[str, ...]


def confusion(scores: Array, targets: Array) -> Array:
    """Return how often each class is taken for another, (true class, predicted class).

    A record with k classes predicts its k highest scores. Predicted true classes count on the
    diagonal. Each missed class is divided equally among the wrongly predicted ones, so that the sum
    of a row is the number of positives. For single-label data, this is the usual matrix.

    Shape:
        scores, targets: N, n_classes; result: n_classes, n_classes.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.8, 0.2]])
        >>> confusion(scores, np.eye(2)).tolist()
        [[1.0, 0.0], [1.0, 0.0]]
    """
    matrix = np.zeros((targets.shape[1], targets.shape[1]))
    for row, target in zip(scores, targets.astype(bool), strict=True):
        predicted = np.zeros_like(target)
        predicted[np.argsort(-row, kind="stable")[: target.sum()]] = True
        hits, wrong = np.flatnonzero(predicted & target), np.flatnonzero(predicted & ~target)
        matrix[hits, hits] += 1
        if len(wrong):
            matrix[np.ix_(np.flatnonzero(target & ~predicted), wrong)] += 1 / len(wrong)
    return matrix


def calibration(scores: Array, targets: Array, is_multilabel: bool) -> Calibration:
    """Compare scores with frequencies: of all classes, or of the highest one if labels exclude.

    Source: the reliability diagram and expected calibration error of Guo et al., On calibration of
    modern neural networks, ICML 2017.

    Example:
        >>> found = calibration(np.array([[0.9, 0.1], [0.9, 0.1]]), np.eye(2), False)
        >>> found.frequencies.tolist(), round(found.expected_error, 3)
        ([0.5], 0.4)
    """
    if is_multilabel:
        given, right = scores.ravel(), targets.ravel()
    else:
        best = scores.argmax(axis=1)[:, None]
        given = np.take_along_axis(scores, best, 1).ravel()
        right = np.take_along_axis(targets, best, 1).ravel()
    bins = np.minimum((given * N_BINS).astype(np.int64), N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    filled = counts > 0
    means = np.bincount(bins, given, N_BINS)[filled] / counts[filled]
    frequencies = np.bincount(bins, right, N_BINS)[filled] / counts[filled]
    weights = counts[filled] / max(counts.sum(), 1)
    error = float((weights * np.abs(means - frequencies)).sum())
    return Calibration(means, frequencies, counts[filled], error)


def precision_recall(scores: Array, targets: Array) -> tuple[Array, Array]:
    """Return recall and precision of one class, (points,), at most ``MAX_CURVE_POINTS``.

    Source: ``sklearn.metrics.precision_recall_curve``.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(targets, scores)
    n_points = min(len(recall), MAX_CURVE_POINTS)
    chosen = np.linspace(0, len(recall) - 1, n_points).round().astype(int)
    return recall[chosen][::-1], precision[chosen][::-1]


def mistakes(found: TestScores, is_multilabel: bool, count: int) -> list[Mistake]:
    """Return the most confident mistakes, the worst first.

    Single-label: the records whose highest score is wrong. Multi-label: up to ``count`` absent
    classes with the highest scores, then up to ``count`` present classes with the lowest ones.
    """
    present = found.targets.astype(bool)

    def mistake(row: int, column: int) -> Mistake:
        labels = tuple(found.classes[index] for index in np.flatnonzero(present[row]))
        name, score = found.classes[column], float(found.scores[row, column])
        return Mistake(found.records[row], name, score, bool(present[row, column]), labels)

    if not is_multilabel:
        best = found.scores.argmax(axis=1)
        tops = found.scores[np.arange(len(best)), best]
        wrong = [row for row in np.argsort(-tops, kind="stable") if not present[row, best[row]]]
        return [mistake(row, best[row]) for row in wrong[:count]]
    order = np.argsort(found.scores, axis=None, kind="stable")
    rows, columns = np.unravel_index(order, found.scores.shape)
    is_present = present[rows, columns]
    absent = np.flatnonzero(~is_present)[::-1][:count]
    missed = np.flatnonzero(is_present)[:count]
    return [mistake(rows[place], columns[place]) for place in (*absent, *missed)]
