"""Accuracy, top-k accuracy and the confusion matrix of single-label predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timeception import checks
from timeception.metrics.inputs import scores_and_classes


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
    scores, true = scores_and_classes(scores, targets)
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
    scores, true = scores_and_classes(scores, targets)
    counts = np.zeros((scores.shape[1],) * 2, dtype=np.int64)
    np.add.at(counts, (true, scores.argmax(axis=1)), 1)
    return counts
