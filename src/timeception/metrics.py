"""Measures of predictions against targets, in numpy, computed once over a whole test set.

Scores may be logits, probabilities or any numbers that rank: higher means more likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timeception import checks

Ties = Literal["together", "in_order"]


def average_precision(scores: ArrayLike, targets: ArrayLike, ties: Ties = "together") -> float:
    """Average precision of one class: the mean of the precision at each positive.

    Items are ranked by score, highest first. No interpolation.

    Args:
        scores: shape (N,); minus infinity is allowed, NaN is not.
        targets: shape (N,), 0 or 1.
        ties: ``together``: items of equal score share the precision of their last (as
            scikit-learn's ``average_precision_score``); ``in_order``: equal scores rank as they
            stand, earlier first (as the official Charades script).

    Raises:
        ValueError: if there is no positive, a score is NaN, or a target is neither 0 nor 1.

    Example:
        >>> average_precision([0.9, 0.8, 0.7], [1, 0, 1])  # (1/1 + 2/3) / 2
        0.8333333333333333
    """
    scores, positive = _one_class(scores, targets)
    checks.one_of("ties", ties, ("together", "in_order"))
    advice = "The average precision of a class without positives is not defined."
    checks.require(bool(positive.any()), "targets", "hold a positive", "none", advice)
    order = np.argsort(-scores, kind="stable")
    positive, ranked = positive[order], scores[order]
    if ties == "together":
        last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    else:
        last = np.arange(len(ranked))
    hits = np.cumsum(positive)[last]
    found = np.diff(hits, prepend=0)  # positives among the items of each score
    return float((found * hits / (last + 1)).sum() / hits[-1])


@dataclass(frozen=True)
class MeanAveragePrecision:
    """Average precision of each class that has positives, and their mean.

    Args:
        mean: over the classes of ``per_class``.
        per_class: average precision by class name, in the order of the classes.
        classes_without_positives: left out of the mean.
        n_items: items that were ranked.
    """

    mean: float
    per_class: dict[str, float]
    classes_without_positives: tuple[str, ...]
    n_items: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON holds them."""
        return {
            "mean_average_precision": self.mean,
            "average_precision": self.per_class,
            "classes_without_positives": list(self.classes_without_positives),
            "n_items": self.n_items,
        }


def mean_average_precision(
    scores: ArrayLike,
    targets: ArrayLike,
    class_names: Sequence[str] | None = None,
    ties: Ties = "together",
) -> MeanAveragePrecision:
    """Mean over classes of the average precision; classes without positives are named, not NaN.

    Args:
        scores: shape (N, n_classes).
        targets: shape (N, n_classes), 0 or 1.
        class_names: by column; ``None`` takes the column numbers.
        ties: as in ``average_precision``.

    Raises:
        ValueError: if shapes disagree, a score is NaN, or no class has a positive.

    Example:
        >>> result = mean_average_precision([[0.9, 0.1], [0.2, 0.3]], [[1, 0], [0, 0]], ["a", "b"])
        >>> result.mean, result.classes_without_positives
        (1.0, ('b',))
    """
    scores, positive = _scores_and_targets(scores, targets)
    names = _names(class_names, scores.shape[1])
    per_class = {
        name: average_precision(scores[:, column], positive[:, column], ties)
        for column, name in enumerate(names)
        if positive[:, column].any()
    }
    checks.require(bool(per_class), "targets", "hold a positive of some class", "none")
    without = tuple(name for name in names if name not in per_class)
    mean = float(np.mean(list(per_class.values())))
    return MeanAveragePrecision(mean, per_class, without, len(scores))


def top_k_accuracy(scores: ArrayLike, targets: ArrayLike, k: int = 1) -> float:
    """Share of items whose true class is among the ``k`` highest scores.

    An item counts as right if fewer than ``k`` other classes score higher or equal, so that a
    constant score is never right by luck of the order.

    Args:
        scores: shape (N, n_classes).
        targets: class indices of shape (N,), or one-hot of shape (N, n_classes).
        k: from 1 to the number of classes.

    Raises:
        ValueError: if shapes disagree, a score is NaN, a target is no class, or k is out of range.

    Example:
        >>> scores = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]
        >>> top_k_accuracy(scores, [0, 1], k=1), top_k_accuracy(scores, [0, 1], k=2)
        (0.5, 1.0)
    """
    scores, true = _scores_and_classes(scores, targets)
    in_range = checks.positive_int("k", k) <= scores.shape[1]
    checks.require(in_range, "k", f"be at most the {scores.shape[1]} classes", k)
    own = np.take_along_axis(scores, true[:, None], axis=1)
    rivals = (scores >= own).sum(axis=1) - 1
    return float((rivals < k).mean())


def accuracy(scores: ArrayLike, targets: ArrayLike) -> float:
    """Share of items whose true class alone scores highest: ``top_k_accuracy`` with k = 1.

    Example:
        >>> accuracy([[0.7, 0.3], [0.6, 0.4]], [0, 1])
        0.5
    """
    return top_k_accuracy(scores, targets, k=1)


def confusion_matrix(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.int64]:
    """Count items by true and by predicted class; of equal scores the first class is predicted.

    Args:
        scores: shape (N, n_classes).
        targets: class indices of shape (N,), or one-hot of shape (N, n_classes).

    Shape:
        (n_classes, n_classes): row = true class, column = predicted class.

    Example:
        >>> confusion_matrix([[0.7, 0.3], [0.6, 0.4]], [0, 1]).tolist()
        [[1, 0], [1, 0]]
    """
    scores, true = _scores_and_classes(scores, targets)
    counts = np.zeros((scores.shape[1],) * 2, dtype=np.int64)
    np.add.at(counts, (true, scores.argmax(axis=1)), 1)
    return counts


def _one_class(
    scores: ArrayLike, targets: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values = np.asarray(scores, dtype=np.float64)
    checks.require(values.ndim == 1, "scores", "have shape (N,)", values.shape)
    columns, positive = _scores_and_targets(values[:, None], np.asarray(targets)[..., None])
    return columns[:, 0], positive[:, 0]


def _scores_and_targets(
    scores: ArrayLike, targets: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, truth = _checked_scores(scores), np.asarray(targets)
    same = truth.shape == values.shape
    checks.require(same, "targets", f"have the shape of the scores {values.shape}", truth.shape)
    is_binary = bool(np.isin(truth, (0, 1)).all())
    checks.require(is_binary, "targets", "be 0 or 1", np.unique(truth)[:8].tolist())
    return values, truth.astype(bool)


def _scores_and_classes(
    scores: ArrayLike, targets: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, truth = _checked_scores(scores), np.asarray(targets)
    if truth.ndim == 2:
        _, positive = _scores_and_targets(values, truth)
        is_single = bool((positive.sum(axis=1) == 1).all())
        checks.require(is_single, "targets", "name exactly one class an item", "other than one")
        truth = positive.argmax(axis=1)
    same = truth.shape == values.shape[:1]
    checks.require(same, "targets", f"have shape ({len(values)},)", truth.shape)
    n_classes = values.shape[1]
    are_classes = truth.dtype.kind in "iu" and bool(((truth >= 0) & (truth < n_classes)).all())
    checks.require(
        are_classes, "targets", f"be class indices below {n_classes}", truth[:8].tolist()
    )
    return values, truth.astype(np.int64)


def _checked_scores(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    is_table = values.ndim == 2 and values.size > 0
    checks.require(is_table, "scores", "have shape (N, n_classes), not empty", values.shape)
    n_broken = int(np.isnan(values).sum())
    checks.require(n_broken == 0, "scores", "be numbers", f"{n_broken} NaN of {values.size}")
    return values


def _names(class_names: Sequence[str] | None, n_classes: int) -> list[str]:
    names = [str(n) for n in (range(n_classes) if class_names is None else class_names)]
    is_fit = len(names) == n_classes and len(set(names)) == n_classes
    checks.require(is_fit, "class_names", f"be {n_classes} different names", names[:8])
    return names
