"""Checks of scores and targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timeception import checks

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def scores_and_targets(scores: ArrayLike, targets: ArrayLike) -> tuple[Floats, Flags]:
    """Check scores and targets of several classes; return both with shape (N, n_classes).

    Raises:
        ValueError: If shapes disagree, a score is NaN, or a target is neither 0 nor 1.
    """
    values, truth = _checked_scores(scores), np.asarray(targets)
    same = truth.shape == values.shape
    checks.require(same, "targets", f"have the shape of the scores {values.shape}", truth.shape)
    is_binary = bool(np.isin(truth, (0, 1)).all())
    checks.require(is_binary, "targets", "be 0 or 1", np.unique(truth)[:8].tolist())
    return values, truth.astype(bool)


def scores_and_classes(scores: ArrayLike, targets: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    """Check single-label scores and targets; return scores and class indices (N,).

    Args:
        scores: Shape (N, n_classes).
        targets: Class indices (N,) or one-hot (N, n_classes).

    Raises:
        ValueError: If shapes disagree, a score is NaN, or a target is not exactly one class.
    """
    values, truth = _checked_scores(scores), np.asarray(targets)
    if truth.ndim == 2:
        _, positive = scores_and_targets(values, truth)
        is_single = bool((positive.sum(axis=1) == 1).all())
        checks.require(is_single, "targets", "have exactly one class per item", "another number")
        truth = positive.argmax(axis=1)
    same = truth.shape == values.shape[:1]
    checks.require(same, "targets", f"have shape ({len(values)},)", truth.shape)
    n_classes = values.shape[1]
    are_classes = truth.dtype.kind in "iu" and bool(((truth >= 0) & (truth < n_classes)).all())
    wanted = f"be class indices below {n_classes}"
    checks.require(are_classes, "targets", wanted, truth[:8].tolist())
    return values, truth.astype(np.int64)


def _checked_scores(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    is_table = values.ndim == 2 and values.size > 0
    checks.require(is_table, "scores", "have shape (N, n_classes), not empty", values.shape)
    n_broken = int(np.isnan(values).sum())
    checks.require(n_broken == 0, "scores", "be numbers", f"{n_broken} NaN of {values.size}")
    return values


def unique_names(class_names: Sequence[str] | None, n_classes: int) -> list[str]:
    """Return the class names by column; the default is the column numbers.

    Raises:
        ValueError: If there is not one unique name per class.
    """
    names = [str(n) for n in (range(n_classes) if class_names is None else class_names)]
    is_fit = len(names) == n_classes and len(set(names)) == n_classes
    checks.require(is_fit, "class_names", f"be {n_classes} unique names", names[:8])
    return names
