"""Average precision of intervals at a temporal overlap, as in ActivityNet and THUMOS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from timeception import checks
from timeception.metrics.segments import intersection_over_union, segments_of
from timeception.metrics.timelines import Timelines

#: Number of the video, start and end in seconds.
Truth = tuple[int, float, float]
#: Number of the video, start and end in seconds, score.
Proposal = tuple[int, float, float, float]

#: Thresholds on probabilities; every run of steps at or above one is an interval.
THRESHOLDS = tuple(number / 10 for number in range(1, 10))
#: Of two intervals of a class that overlap more, the one with the lower score is dropped.
MAX_OVERLAP = 0.5


def proposals(timelines: Timelines) -> list[list[Proposal]]:
    """Return scored intervals of each class, from probabilities over time.

    With one class per step, the intervals are the runs of steps whose class has the highest score.
    Otherwise they are the runs of steps at or above each of ``THRESHOLDS``. The score of an
    interval is the mean over its steps. Of two that overlap by more than ``MAX_OVERLAP``, the
    better one is kept.
    """
    found: list[list[Proposal]] = []
    for label in range(len(timelines.classes)):
        of_class: list[Proposal] = []
        for number, video in enumerate(timelines.videos):
            scores = video.scores[:, label]
            if timelines.is_multilabel:
                flags = [scores >= threshold for threshold in THRESHOLDS]
            else:
                flags = [video.scores.argmax(axis=1) == label] if len(scores) else []
            runs = {run[1:] for flag in flags for run in segments_of(flag.astype(int), 0)}
            candidates = [
                (
                    number,
                    float(video.start_seconds[start]),
                    float(video.end_seconds[stop - 1]),
                    float(scores[start:stop].mean()),
                )
                for start, stop in sorted(runs)
            ]
            of_class += _without_overlaps(candidates)
        found.append(of_class)
    return found


def _without_overlaps(candidates: list[Proposal]) -> list[Proposal]:
    kept: list[Proposal] = []
    for one in sorted(candidates, key=lambda found: -found[3]):
        if all(intersection_over_union(one[1:3], other[1:3]) <= MAX_OVERLAP for other in kept):
            kept.append(one)
    return kept


def interval_average_precision(
    found: Sequence[Proposal], wanted: Sequence[Truth], overlap: float
) -> float:
    """Return the interpolated average precision of the intervals of one class.

    By falling score, an interval is correct if the unmatched true interval of its video that it
    overlaps best has an intersection over union of at least ``overlap``.

    Source: the evaluation code of ActivityNet (``compute_average_precision_detection``).

    Example:
        >>> found = [(0, 0.0, 4.0, 0.9), (0, 10.0, 12.0, 0.8), (1, 0.0, 2.0, 0.7)]
        >>> wanted = [(0, 0.0, 5.0), (1, 0.0, 2.0)]
        >>> round(interval_average_precision(found, wanted, 0.5), 4)  # 1/2 * 1 + 1/2 * 2/3
        0.8333
    """
    checks.require(bool(wanted), "wanted", "hold at least one interval", "none")
    by_video: dict[int, list[Truth]] = defaultdict(list)
    for truth in wanted:
        by_video[truth[0]].append(truth)
    correct = []
    for video, start, end, _ in sorted(found, key=lambda one: -one[3]):
        rest = by_video[video]
        ious = [intersection_over_union((start, end), truth[1:]) for truth in rest]
        best = int(np.argmax(ious)) if ious else -1
        is_correct = bool(ious) and ious[best] >= overlap
        if is_correct:
            del rest[best]
        correct.append(is_correct)
    if not correct:
        return 0.0
    hits = np.cumsum(correct)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[np.asarray(correct)].sum() / len(wanted))
