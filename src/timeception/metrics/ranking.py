"""Average precision, by class and in the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from timeception import checks
from timeception.metrics.inputs import one_class, scores_and_targets, unique_names

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
    scores, positive = one_class(scores, targets)
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
    scores, positive = scores_and_targets(scores, targets)
    names = unique_names(class_names, scores.shape[1])
    per_class = {
        name: average_precision(scores[:, column], positive[:, column], ties)
        for column, name in enumerate(names)
        if positive[:, column].any()
    }
    checks.require(bool(per_class), "targets", "hold a positive of some class", "none")
    without = tuple(name for name in names if name not in per_class)
    mean = float(np.mean(list(per_class.values())))
    return MeanAveragePrecision(mean, per_class, without, len(scores))
