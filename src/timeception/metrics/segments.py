"""Action segmentation: segmental edit score and segmental F1, one class per step.

Source: Lea et al., Temporal convolutional networks for action segmentation and detection, CVPR
2017; counts are added over all videos, and edit scores averaged, as in the evaluation code of
MS-TCN (Abu Farha and Gall, CVPR 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timeception import checks

#: Class, first step, and end (exclusive).
Segment = tuple[int, int, int]


def segments_of(labels: ArrayLike, background: int | None = None) -> list[Segment]:
    """Return the runs of equal labels, without those of the background.

    Example:
        >>> segments_of([0, 0, 2, 2, 2, 1], background=0)
        [(2, 2, 5), (1, 5, 6)]
    """
    values = np.asarray(labels)
    if not len(values):
        return []
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    runs = pairwise(edges)
    found = [(int(values[start]), start, stop) for start, stop in runs]
    return [segment for segment in found if segment[0] != background]


def edit_score(predicted: ArrayLike, true: ArrayLike, background: int | None = None) -> float:
    """Return 1 - Levenshtein distance of the segments' classes / the larger number of segments.

    Two timelines without segments are equal: 1.

    Example:
        >>> edit_score([1, 1, 2, 1, 0], [1, 1, 2, 2, 0], background=0)  # 1, 2, 1 and 1, 2
        0.6666666666666667
    """
    one = [segment[0] for segment in segments_of(predicted, background)]
    other = [segment[0] for segment in segments_of(true, background)]
    longest = max(len(one), len(other))
    return 1.0 if not longest else 1 - _levenshtein(one, other) / longest


def _levenshtein(one: Sequence[int], other: Sequence[int]) -> int:
    row = list(range(len(other) + 1))
    for i, first in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, second in enumerate(other, start=1):
            best = min(row[j] + 1, row[j - 1] + 1, diagonal + (first != second))
            diagonal, row[j] = row[j], best
    return row[-1]


def segment_counts(
    predicted: ArrayLike, true: ArrayLike, overlap: float, background: int | None = None
) -> tuple[int, int, int]:
    """Count true positives, false positives and false negatives among the segments.

    A predicted segment is correct if its intersection over union with the segment of its class that
    it overlaps best is at least ``overlap``, and no earlier one was correct for that segment.

    Example:
        >>> segment_counts([1, 1, 1, 2], [1, 1, 2, 2], overlap=0.5)
        (2, 0, 0)
        >>> segment_counts([1, 2, 1, 1], [1, 1, 1, 1], overlap=0.25)  # the second 1 is too much
        (1, 2, 0)
    """
    checks.require(0 < overlap <= 1, "overlap", "lie in (0, 1]", overlap)
    found, wanted = segments_of(predicted, background), segments_of(true, background)
    matched: set[int] = set()
    for label, start, stop in found:
        ious = [
            intersection_over_union((start, stop), (other[1], other[2]))
            if other[0] == label
            else 0.0
            for other in wanted
        ]
        best = int(np.argmax(ious)) if ious else -1
        if ious and ious[best] >= overlap:
            matched.add(best)
    return len(matched), len(found) - len(matched), len(wanted) - len(matched)


def intersection_over_union(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the intersection over union of two stretches of time, each (start, end).

    Example:
        >>> intersection_over_union((0, 4), (2, 6))
        0.3333333333333333
    """
    intersection = min(one[1], other[1]) - max(one[0], other[0])
    if intersection <= 0:
        return 0.0
    return intersection / (one[1] - one[0] + other[1] - other[0] - intersection)


def f1_score(
    pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    overlap: float,
    background: int | None = None,
) -> float:
    """Return the segmental F1 of predicted and true labels, with counts added over videos.

    Without any segment, predicted or true, it is 1.
    """
    counts = [segment_counts(predicted, true, overlap, background) for predicted, true in pairs]
    hits, wrong, missed = (sum(column) for column in zip(*counts, strict=True))
    total = 2 * hits + wrong + missed
    return 2 * hits / total if total else 1.0
