"""Splits of videos, by globs on the id or by a random share; never within a video."""

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
    """Split videos by shell patterns on their ids (``*``, ``?``, ``[05]``; case counts).

    Args:
        video_ids: the videos.
        globs: patterns by split, such as ``{"test": ["S1_*"]}``.
        rest: the split of videos that no pattern matches; where ``globs`` names that split itself,
            they are in no split (the empty name).

    Returns:
        Split by video id, for ``with_splits``.

    Raises:
        ValueError: if a pattern matches nothing, or a video falls into two splits.

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
    """Draw a random share of the videos, by the seed alone (not by the order of the records).

    Single-label data are stratified: each class gives its share, rounded, but where it has two
    videos or more at least one and never all.

    Args:
        dataset: whole videos; windows of one video stay together.
        fraction: the share, in (0, 1).
        seed: of the random choice.
        name: split of the drawn videos.
        rest: split of the others.

    Returns:
        Split by video id, for ``with_splits``.

    Raises:
        ValueError: if the fraction is out of range or leaves a split empty.
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
    advice = "Give more videos, or name the splits yourself."
    checks.require(bool(drawn), "fraction", "leave videos in both splits", fraction, advice)
    return {video_id: name if video_id in drawn else rest for video_id in labels}
