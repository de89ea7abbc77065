"""Average precision per class, and its mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from timeception import checks
from timeception.metrics.inputs import scores_and_targets, unique_names

Ties = Literal["together", "in_order"]


def average_precision(scores: ArrayLike, targets: ArrayLike, ties: Ties = "together") -> float:
    """Average precision of one class: the mean of the precision at each positive.

    Items are ranked by score, highest first. There is no interpolation.

    Args:
        scores: Shape (N,); minus infinity is allowed, NaN is not.
        targets: Shape (N,), 0 or 1.
        ties: With ``together``, items of equal score have the precision of the last of them, as in
            scikit-learn's ``average_precision_score``. With ``in_order``, they are ranked in input
            order, as in the official Charades script.

    Raises:
        ValueError: If there is no positive, a score is NaN, or a target is neither 0 nor 1.

    Example:
        >>> average_precision([0.9, 0.8, 0.7], [1, 0, 1])  # (1/1 + 2/3) / 2
        0.8333333333333333
    """
    scores = np.asarray(scores, dtype=np.float64)
    checks.require(scores.ndim == 1, "scores", "have shape (N,)", scores.shape)
    column, truth = scores_and_targets(scores[:, None], np.asarray(targets)[..., None])
    scores, positive = column[:, 0], truth[:, 0]
    checks.one_of("ties", ties, ("together", "in_order"))
    advice = "Average precision is undefined for a class without positives."
    checks.require(bool(positive.any()), "targets", "contain a positive", "none", advice)
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
    """Average precision of each class with positives, and their mean.

    Args:
        mean: Mean over the classes in ``per_class``.
        per_class: Average precision by class name, in the order of the classes.
        classes_without_positives: Classes that are not part of the mean.
        n_items: Number of ranked items.
    """

    mean: float
    per_class: dict[str, float]
    classes_without_positives: tuple[str, ...]
    n_items: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON."""
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
    """Mean of the average precision over the classes with positives.

    Args:
        scores: Shape (N, n_classes).
        targets: Shape (N, n_classes), 0 or 1.
        class_names: Names by column; ``None`` uses the column numbers.
        ties: As in ``average_precision``.

    Raises:
        ValueError: If shapes disagree, a score is NaN, or no class has a positive.

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
    checks.require(bool(per_class), "targets", "contain at least one positive", "none")
    without = tuple(name for name in names if name not in per_class)
    mean = float(np.mean(list(per_class.values())))
    return MeanAveragePrecision(mean, per_class, without, len(scores))
