"""The data sets of the published recipes, by name, ready to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from timeception import checks
from timeception.datasets.breakfast import read_breakfast_activities
from timeception.datasets.records import TimedDataset, VideoDataset
from timeception.datasets.registry import KINDS, Dataset, pair

_KINDS = {kind.key: kind for kind in KINDS}

#: By name: the kind of the files, and their reader.
OFFICIAL: dict[str, tuple[str, Callable[[Path], Dataset]]] = {
    "charades": ("charades", _KINDS["charades"].read),
    "breakfast_activities": ("breakfast", read_breakfast_activities),
    "breakfast_actions": ("breakfast", _KINDS["breakfast"].read),
    "multithumos": ("multithumos", _KINDS["multithumos"].read),
    "kinetics": ("kinetics", _KINDS["kinetics"].read),
}


def read_official(
    name: str, folder: str | Path, available_ids: Iterable[str] | None = None
) -> VideoDataset:
    """Read a data set's video-level labels from its official files.

    Args:
        name: ``charades`` (157-way multi-label), ``breakfast_activities`` (10-way single-label),
            ``breakfast_actions`` (48-way multi-label), ``multithumos`` (65-way multi-label) or
            ``kinetics`` (400-way single-label).
        folder: with the annotation files.
        available_ids: of the videos or features that are there, such as ``bank.video_ids``, in
            whichever folders they lie. The records then have these ids, and videos without are
            left as they are named in the annotations. ``None`` keeps all names.

    Raises:
        ValueError: if the name is unknown, the files are malformed, or several available ids stand
            for one video.
    """
    key, read = OFFICIAL[checks.one_of("name", name, tuple(OFFICIAL))]
    dataset = read(Path(folder))
    videos = dataset.to_videos() if isinstance(dataset, TimedDataset) else dataset
    if available_ids is None:
        return videos
    pairing = pair(_KINDS[key], videos.video_ids, available_ids)
    twice = [f"{name}: {', '.join(ids)}" for name, ids in pairing.twice.items()]
    checks.require(not twice, "available_ids", "have one id a video", twice[:5])
    return videos.renamed(pairing.found)
