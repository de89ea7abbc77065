"""Thresholds of scores, tuned for each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve


def tune_thresholds(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Return for each class the threshold with the highest F1.

    A positive is a score of at least the threshold. The threshold lies in the middle between the
    lowest score that counts and the next lower one. A class without positives, or with nothing
    else, has NaN.

    Args:
        scores: higher is more likely.
        targets: true where the class holds.

    Shape:
        scores, targets: N, n_classes; result: n_classes.

    Example:
        >>> tune_thresholds([[0.9], [0.6], [0.4], [0.1]], [[1], [1], [0], [0]]).tolist()
        [0.5]
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(targets) > 0
    found = np.full(values.shape[1], np.nan)
    for column in range(values.shape[1]):
        if not 0 < truth[:, column].sum() < len(truth):
            continue
        precision, recall, limits = precision_recall_curve(truth[:, column], values[:, column])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best = float(limits[int(np.argmax(f1[:-1]))])
        below = values[values[:, column] < best, column]
        found[column] = (best + below.max()) / 2 if len(below) else best
    return found
