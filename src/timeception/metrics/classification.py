"""Accuracy, top-k accuracy and the confusion matrix of single-label predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timeception import checks
from timeception.metrics.inputs import scores_and_classes


def top_k_accuracy(scores: ArrayLike, targets: ArrayLike, k: int = 1) -> float:
    """Fraction of items whose true class is among the ``k`` highest scores.

    An item is correct if fewer than ``k`` other classes have an equal or higher score, so that
    constant scores are never correct by their order.

    Args:
        scores: Shape (N, n_classes).
        targets: Class indices of shape (N,), or one-hot of shape (N, n_classes).
        k: From 1 to the number of classes.

    Raises:
        ValueError: If shapes disagree, a score is NaN, a target is not a class, or k is out of
            range.

    Example:
        >>> scores = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]
        >>> top_k_accuracy(scores, [0, 1], k=1), top_k_accuracy(scores, [0, 1], k=2)
        (0.5, 1.0)
    """
    scores, true = scores_and_classes(scores, targets)
    in_range = checks.positive_int("k", k) <= scores.shape[1]
    checks.require(in_range, "k", f"be at most the {scores.shape[1]} classes", k)
    own = np.take_along_axis(scores, true[:, None], axis=1)
    rivals = (scores >= own).sum(axis=1) - 1
    return float((rivals < k).mean())


def accuracy(scores: ArrayLike, targets: ArrayLike) -> float:
    """Fraction of items whose true class has the highest score: ``top_k_accuracy`` with k = 1.

    Example:
        >>> accuracy([[0.7, 0.3], [0.6, 0.4]], [0, 1])
        0.5
    """
    return top_k_accuracy(scores, targets, k=1)


def confusion_matrix(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.int64]:
    """Count items by true and predicted class. Of equal scores, the first class is predicted.

    Args:
        scores: Shape (N, n_classes).
        targets: Class indices of shape (N,), or one-hot of shape (N, n_classes).

    Shape:
        (n_classes, n_classes): row = true class, column = predicted class.

    Example:
        >>> confusion_matrix([[0.7, 0.3], [0.6, 0.4]], [0, 1]).tolist()
        [[1, 0], [1, 0]]
    """
    scores, true = scores_and_classes(scores, targets)
    counts = np.zeros((scores.shape[1],) * 2, dtype=np.int64)
    np.add.at(counts, (true, scores.argmax(axis=1)), 1)
    return counts
