"""Groups of videos (subject, camera, recording) that must not be divided by a split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from timeception import checks
from timeception.datasets.kind import only_csv
from timeception.datasets.records import VideoDataset
from timeception.datasets.rows import Row, has_columns, read_rows
from timeception.datasets.video_files import video_id_of

#: Parts of file names that usually name a person, a camera or a recording: P03, S1, cam2, ...
_USUAL = re.compile(
    r"(?P<kind>p|s|subj|subject|person|participant|patient|user|actor|cam|camera|rec|session)\d+",
    re.IGNORECASE,
)
_PARTS = re.compile(r"[^a-zA-Z0-9]+")


def find_groups(group: str, video_ids: Iterable[str], source: Path) -> dict[str, str]:
    """Return the group of each video.

    Args:
        group: a regular expression with one named group, searched in video ids, such as
            ``(?P<subject>P[0-9]+)_``; or a column of the CSV file at ``source``.
        video_ids: the videos.
        source: the annotations.

    Raises:
        ValueError: if a video has no group, or the expression or column does not exist.

    Example:
        >>> find_groups("(?P<subject>P[0-9]+)_", ["P03_tea", "P04_tea"], Path("videos"))
        {'P03_tea': 'P03', 'P04_tea': 'P04'}
    """
    ids = tuple(video_ids)
    found = _by_pattern(group, ids) if "(" in group else _by_column(group, source)
    without = [video_id for video_id in ids if not found.get(video_id)]
    advice = "Correct the pattern, or fill the column."
    must = "give each video a group"
    checks.require(not without, f"data.group {group!r}", must, without[:5], advice)
    return {video_id: found[video_id] for video_id in ids}


def group_name(group: str) -> str:
    """Return what a ``data.group`` calls its groups: ``subject`` for ``(?P<subject>...)``."""
    names = list(re.compile(group).groupindex) if "(" in group else [group]
    return names[0] if names else group


def suggest_group(video_ids: Iterable[str]) -> str | None:
    """Return a pattern for ``data.group`` if file names look as if they named groups.

    A part such as ``P03`` or ``cam2`` counts if it occurs in every name, with at least two values
    that are shared by two videos on average.

    Example:
        >>> suggest_group(["P03_tea", "P03_milk", "P04_tea", "P04_milk"])
        '(?:^|[^a-zA-Z0-9])(?P<p>[pP][0-9]+)(?![a-zA-Z0-9])'
    """
    ids = tuple(video_ids)
    kinds = [
        {match["kind"].lower() for part in _PARTS.split(name) if (match := _USUAL.fullmatch(part))}
        for name in ids
    ]
    for kind in sorted(set.intersection(*kinds) if kinds else ()):
        letters = "".join(f"[{c}{c.upper()}]" for c in kind)
        pattern = rf"(?:^|[^a-zA-Z0-9])(?P<{kind}>{letters}[0-9]+)(?![a-zA-Z0-9])"
        n_groups = len(set(_by_pattern(pattern, ids).values()))
        if 2 <= n_groups <= len(ids) // 2:
            return pattern
    return None


def split_by_groups(
    dataset: VideoDataset, groups: dict[str, str], fraction: float, seed: int, name: str
) -> dict[str, str]:
    """Assign about a share of the videos to a split without dividing a group.

    Args:
        dataset: the videos to divide.
        groups: group by video id.
        fraction: the share, in (0, 1).
        seed: seed of the random choice.
        name: the split; the other videos are in ``train``.

    Raises:
        ValueError: if there are fewer than two groups.

    Source: scikit-learn's ``StratifiedGroupKFold``, one fold of it.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    ids, labels = stratification(dataset)
    named = [groups[video_id] for video_id in ids]
    n_groups = len(set(named))
    checks.require(n_groups >= 2, "data.group", "give at least two groups to divide", n_groups)
    n_folds = min(max(2, round(1 / fraction)), n_groups)
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    _, chosen = next(iter(folds.split(ids, labels, named)))
    inside = {ids[index] for index in chosen}
    return {video_id: name if video_id in inside else "train" for video_id in ids}


def stratification(dataset: VideoDataset) -> tuple[list[str], list[str]]:
    """Return the ids of the videos, sorted, and the class by which each is stratified.

    A video with several labels counts as its rarest class.
    """
    labels: dict[str, set[str]] = {}
    for record in dataset.records:
        labels.setdefault(record.video_id, set()).update(record.labels)
    counts = Counter(label for found in labels.values() for label in found)
    ids = sorted(labels)
    return ids, [min(sorted(labels[i]), key=counts.__getitem__, default="") for i in ids]


def _by_pattern(pattern: str, ids: Sequence[str]) -> dict[str, str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        requirement = f"be a valid regular expression ({error})"
        raise ValueError(checks.problem("data.group", requirement, pattern)) from None
    n_named = len(compiled.groupindex)
    advice = "Such as (?P<subject>P[0-9]+)."
    checks.require(n_named == 1, "data.group", "have one named group", pattern, advice)
    matches = {video_id: compiled.search(video_id) for video_id in ids}
    return {video_id: match[group_name(pattern)] for video_id, match in matches.items() if match}


def _by_column(column: str, source: Path) -> dict[str, str]:
    id_column = "video" if has_columns(source, ("video", column)) else "path"
    columns = (id_column, column)

    def parse(row: Row) -> tuple[str, str]:
        return video_id_of(row[id_column]), row[column]

    return dict(read_rows(only_csv(source, columns), columns, parse))
