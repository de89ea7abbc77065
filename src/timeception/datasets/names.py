"""Labels in file names, found by a regular expression with the group ``label``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from timeception import checks
from timeception.datasets.folder import split_name
from timeception.datasets.kind import DatasetKind
from timeception.datasets.records import VideoDataset, VideoRecord


def from_names(video_ids: Iterable[str], pattern: str, name: str = "names") -> VideoDataset:
    r"""Read single-label data from the ids of videos.

    Args:
        video_ids: For example ``bank.video_ids`` or the keys of ``find_videos``.
        pattern: A regular expression, searched for in each id. Its group ``label`` is the class;
            its optional group ``split`` is the split.
        name: Name of the data set.

    Returns:
        Classes sorted by name, records in the order of the ids.

    Raises:
        ValueError: If the pattern is not a regular expression, lacks the group, or does not match
            every id, or finds only one class; the error lists ids without a match, and classes.

    Example:
        >>> data = from_names(["S1_Tea_C1", "S2_Coffee_C1"], r"S\d_(?P<label>[^_]+)")
        >>> data.classes, data.records[0].labels
        (('Coffee', 'Tea'), ('Tea',))
    """
    try:
        regex = re.compile(pattern)
    except re.error as error:
        must, advice = "be a regular expression", f"It fails with: {error}."
        raise ValueError(checks.problem("pattern", must, pattern, advice)) from None
    checks.require("label" in regex.groupindex, "pattern", "have a group (?P<label>...)", pattern)
    matches = {video_id: regex.search(video_id) for video_id in video_ids}
    checks.require(bool(matches), "video_ids", "name at least one video", [])
    strange = [video_id for video_id, match in matches.items() if not (match and match["label"])]
    found = sorted({match["label"] for match in matches.values() if match and match["label"]})
    if strange:
        classes = f"It finds the classes {_few(found)}." if found else "It finds no class."
        must = f"give every video a label, but {pattern!r} does not match {len(strange)} of them"
        raise ValueError(checks.problem("pattern", must, strange[:5], classes))
    checks.require(
        len(found) > 1,
        "pattern",
        f"find at least two classes ({pattern!r})",
        found,
        f"Ids look like {_few(list(matches))}.",
    )
    records = tuple(
        VideoRecord(video_id, (match["label"],), split_name(match.groupdict().get("split") or ""))
        for video_id, match in matches.items()
        if match
    )
    return VideoDataset(name, tuple(found), records, is_multilabel=False)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 5 else shown


KIND = DatasetKind(
    "names",
    lambda source, video_ids, pattern: from_names(video_ids, pattern, source.name),
    is_general=True,
    reads_ids=True,
)
