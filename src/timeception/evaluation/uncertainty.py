"""Confidence intervals and paired comparisons of test results, by the bootstrap.

Records of one video (windows) are not independent, so whole videos are resampled. The intervals
cover the choice of test videos, not that of training videos or seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Resampled:
    """A metric on the test records, and on bootstrap resamples of the test videos.

    Args:
        folds: the scores of each fold.
        value: the metric, averaged over folds.
        resamples: the metric of each fold on each resample, (n_resamples,). Two models with the
            same records have the same resamples.
    """

    folds: tuple[TestScores, ...]
    value: float
    resamples: tuple[NDArray[np.float64], ...]


def metric_of(is_multilabel: bool) -> tuple[str, Metric]:
    """Return the main metric of a task: mAP for multi-label data, else accuracy."""
    return ("mAP", mean_ap) if is_multilabel else ("accuracy", accuracy)


def mean_ap(scores: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Return mAP, or NaN if no class has a positive."""
    return mean_average_precision(scores, targets).mean if targets.any() else float("nan")


def resample(
    metric: Metric, folds: Sequence[TestScores], n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Resampled:
    """Compute a metric on resamples of the test videos, within each fold.

    Args:
        metric: function of scores and targets, both (n_records, n_classes).
        folds: scores of each fold.
        n_resamples: number of resamples.
        seed: seed of the resamples.

    Source: the bootstrap of ``scipy.stats``; the statistic is a function of video indices.
    """
    drawn = []
    for index, fold in enumerate(folds):
        names, numbers = np.unique(np.array(fold.videos), return_inverse=True)
        rows = [np.flatnonzero(numbers == video) for video in range(len(names))]

        def statistic(
            videos: NDArray[np.int64],
            fold: TestScores = fold,
            rows: list[NDArray[np.int64]] = rows,
        ) -> float:
            chosen = np.concatenate([rows[video] for video in videos])
            return metric(fold.scores[chosen], fold.targets[chosen])

        videos = np.arange(len(names))
        if len(names) < 2:  # nothing to resample
            drawn.append(np.full(n_resamples, statistic(videos)))
            continue
        rng = np.random.default_rng([seed, index])
        options: dict[str, Any] = {"vectorized": False, "method": "percentile", "rng": rng}
        found = bootstrap((videos,), statistic, n_resamples=n_resamples, **options)
        drawn.append(found.bootstrap_distribution)
    value = float(np.mean([metric(fold.scores, fold.targets) for fold in folds]))
    return Resampled(tuple(folds), value, tuple(drawn))


def confidence_interval(found: Resampled) -> Interval:
    """Return the metric with its 95 % interval: plus and minus 1.96 standard errors.

    Percentiles of the resamples would be biased, since average precision rises when records are
    repeated. Where all resamples are 0 or 1, the interval is the exact binomial one.

    Source: Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13 (standard
    interval).
    """
    value, margin = found.value, _Z * _standard_error(found.resamples)
    if not margin and value in (0.0, 1.0):
        margin = 1 - 0.025 ** (1 / sum(len(set(fold.videos)) for fold in found.folds))
    return Interval(value, max(value - margin, 0.0), min(value + margin, 1.0))


def paired_difference(first: Resampled, second: Resampled) -> Difference:
    """Compare two models on the same test records, resample by resample.

    Raises:
        ValueError: if the records, their labels or the classes differ.
    """
    for one, other in zip(first.folds, second.folds, strict=True):
        require_same_records(one, other)
    pairs = zip(first.resamples, second.resamples, strict=True)
    error = _standard_error([one - other for one, other in pairs])
    value = first.value - second.value
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


def _standard_error(folds: Sequence[NDArray[np.float64]]) -> float:
    """Standard error of the mean over folds, whose videos are resampled independently."""
    errors = [np.nanstd(resamples, ddof=1) for resamples in folds]
    return float(np.sqrt(np.square(errors).sum()) / len(folds))
