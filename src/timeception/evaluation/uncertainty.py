"""Confidence intervals and paired comparisons of test results, by the bootstrap.

Records of one video (windows) are not independent, so whole videos are resampled. The intervals
cover the choice of test videos, not that of training videos or seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, norm

from timeception import checks
from timeception.evaluation.scores import TestScores
from timeception.metrics import accuracy, mean_average_precision

N_RESAMPLES = 1000
_Z = float(norm.ppf(0.975))

Metric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Difference:
    """Difference of a metric between two models on the same records.

    Args:
        interval: the difference, first model minus second.
        p_value: two-sided p-value of no difference, by the bootstrap's standard error.
    """

    interval: Interval
    p_value: float


def metric_of(is_multilabel: bool) -> tuple[str, Metric]:
    """Return the main metric of a task: mAP for multi-label data, else accuracy."""
    return ("mAP", mean_ap) if is_multilabel else ("accuracy", accuracy)


def mean_ap(scores: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Return mAP, or NaN if no class has a positive."""
    return mean_average_precision(scores, targets).mean if targets.any() else float("nan")


def confidence_interval(
    metric: Metric, folds: Sequence[TestScores], n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Interval:
    """Return a metric, averaged over folds, with its 95 % interval.

    The interval is the value plus and minus 1.96 standard errors of the bootstrap. Percentiles of
    the bootstrap would be biased: average precision rises when records are repeated.

    Args:
        metric: function of scores and targets, both (n_records, n_classes).
        folds: scores of each fold; videos are resampled within their fold.
        n_resamples: bootstrap resamples.
        seed: seed of the resamples.

    Source: Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13 (standard
    interval); the resamples are those of ``scipy.stats.bootstrap``.
    """
    value = float(np.mean([metric(fold.scores, fold.targets) for fold in folds]))
    error = _standard_error([metric_by_videos(metric, fold) for fold in folds], n_resamples, seed)
    if not error and value in (0.0, 1.0):  # all resamples agree: the exact binomial interval
        margin = 1 - 0.025 ** (1 / sum(len(set(fold.videos)) for fold in folds))
        return Interval(value, max(value - margin, 0.0), min(value + margin, 1.0))
    return Interval(value, max(value - _Z * error, 0.0), min(value + _Z * error, 1.0))


def paired_difference(
    metric: Metric,
    first: Sequence[TestScores],
    second: Sequence[TestScores],
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Compare two models on the same test records: each resample takes the same videos of both.

    Args:
        metric: as in ``confidence_interval``.
        first: scores of the first model by fold.
        second: scores of the second model, of the same folds and records.
        n_resamples: bootstrap resamples.
        seed: seed of the resamples.

    Raises:
        ValueError: if the records, their labels or the classes differ.
    """
    for one, other in zip(first, second, strict=True):
        require_same_records(one, other)
    pairs = [
        _difference(metric_by_videos(metric, a), metric_by_videos(metric, b))
        for a, b in zip(first, second, strict=True)
    ]
    value = float(np.mean([pair.function(np.arange(pair.n_videos)) for pair in pairs]))
    error = _standard_error(pairs, n_resamples, seed)
    p_value = 2 * float(norm.sf(abs(value) / error)) if error else float(value == 0)
    return Difference(Interval(value, value - _Z * error, value + _Z * error), p_value)


def require_same_records(one: TestScores, other: TestScores) -> None:
    """Check that two tests have the same records, labels and classes.

    Raises:
        ValueError: if they differ; the error names what does.
    """
    checks.require(one.classes == other.classes, "classes of both", "be equal", other.classes[:5])
    differing = sorted(set(one.records) ^ set(other.records))
    advice = "Compare runs that were tested on the same split of the same data."
    checks.require(not differing, "test records of both", "be the same", differing[:5], advice)
    same = one.records == other.records and (one.targets == other.targets).all()
    checks.require(bool(same), "order and labels of the test records", "be the same", "others")


@dataclass(frozen=True)
class ByVideos:
    """A metric as a function of chosen videos; ``n_videos`` can be chosen from."""

    n_videos: int
    function: Callable[[NDArray[np.int64]], float]


def metric_by_videos(metric: Metric, scores: TestScores) -> ByVideos:
    """Return a metric as a function of the indices of the videos it is computed on."""
    names, numbers = np.unique(np.array(scores.videos), return_inverse=True)
    rows = [np.flatnonzero(numbers == index) for index in range(len(names))]

    def function(videos: NDArray[np.int64]) -> float:
        chosen = np.concatenate([rows[index] for index in videos])
        return metric(scores.scores[chosen], scores.targets[chosen])

    return ByVideos(len(names), function)


def _difference(one: ByVideos, other: ByVideos) -> ByVideos:
    return ByVideos(one.n_videos, lambda videos: one.function(videos) - other.function(videos))


def _standard_error(folds: Sequence[ByVideos], n_resamples: int, seed: int) -> float:
    """Standard error of the mean over folds, whose videos are resampled independently."""
    drawn = [
        bootstrap(
            (np.arange(fold.n_videos),),
            fold.function,
            vectorized=False,
            n_resamples=n_resamples,
            method="percentile",
            rng=np.random.default_rng([seed, index]),
        ).bootstrap_distribution
        for index, fold in enumerate(folds)
        if fold.n_videos > 1
    ]
    errors = [np.nanstd(distribution, ddof=1) for distribution in drawn]
    return float(np.sqrt(np.square(errors).sum()) / len(folds))
