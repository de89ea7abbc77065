"""Splits of whole videos, by glob patterns on the id or by a random fraction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np

from timeception import checks
from timeception.datasets.records import VideoDataset


def split_by_globs(
    video_ids: Iterable[str], globs: Mapping[str, Sequence[str]], rest: str = "train"
) -> dict[str, str]:
    """Split videos by shell patterns on their ids (``*``, ``?``, ``[05]``; case-sensitive).

    Args:
        video_ids: Ids of the videos.
        globs: Patterns by split, such as ``{"test": ["S1_*"]}``.
        rest: The split of videos that no pattern matches. If ``globs`` has patterns for this split,
            they are in no split (the empty name).

    Returns:
        Split by video id, for ``with_splits``.

    Raises:
        ValueError: If a pattern matches nothing, or a video matches patterns of two splits.

    Example:
        >>> split_by_globs(["S1_tea", "S2_tea"], {"test": ["S1_*"]})
        {'S1_tea': 'test', 'S2_tea': 'train'}
    """
    names = tuple(dict.fromkeys(video_ids))
    splits: dict[str, str] = {}
    for split, patterns in globs.items():
        for pattern in patterns:
            matched = [name for name in names if fnmatchcase(name, pattern)]
            advice = f"Ids look like {', '.join(map(repr, names[:3]))}."
            checks.require(bool(matched), f"split {split}", "match videos", pattern, advice)
            for name in matched:
                other = splits.setdefault(name, split)
                both = f"not take videos of split {other}"
                checks.require(other == split, f"split {split}: {pattern!r}", both, name)
    other = "" if rest in globs else rest
    return {name: splits.get(name, other) for name in names}


def split_by_fraction(
    dataset: VideoDataset, fraction: float, seed: int = 0, name: str = "test", rest: str = "train"
) -> dict[str, str]:
    """Select a random fraction of the videos. It depends on the seed, not on the record order.

    Single-label data are stratified: the fraction of each class is rounded, but a class with two
    videos or more has at least one in each split.

    Args:
        dataset: The data set; windows of one video stay together.
        fraction: The fraction, in (0, 1).
        seed: Seed of the random choice.
        name: Split of the selected videos.
        rest: Split of the others.

    Returns:
        Split by video id, for ``with_splits``.

    Raises:
        ValueError: If the fraction is out of range or leaves a split empty.
    """
    checks.require(0 < fraction < 1, "fraction", "lie in (0, 1)", fraction)
    strata: dict[str, list[str]] = defaultdict(list)
    labels = {record.video_id: record.labels for record in dataset.records}
    for video_id in sorted(labels):
        strata["" if dataset.is_multilabel else labels[video_id][0]].append(video_id)
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    for stratum in sorted(strata):
        ids = strata[stratum]
        wanted = min(max(round(fraction * len(ids)), 1), len(ids) - 1)
        drawn.update(str(video_id) for video_id in rng.permutation(ids)[:wanted])
    advice = "Add videos, or define the splits yourself."
    if not dataset.is_multilabel and len(strata) > 1:
        names = ", ".join(map(repr, sorted(strata)[:5]))
        advice = f"Each of the {len(strata)} classes has one video: {names}, ... {advice}"
    checks.require(bool(drawn), "fraction", "leave videos in both splits", fraction, advice)
    return {video_id: name if video_id in drawn else rest for video_id in labels}
