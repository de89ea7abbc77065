"""Typed records of videos and of the timed actions in them, common to all data sets.

Times are in seconds from the start of the video; steps are those of the feature bank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from timeception import checks


@dataclass(frozen=True)
class VideoRecord:
    """One example: a video, or a window of it.

    Args:
        video_id: Path below the data set's folder, without suffix, with ``/``; it is also the name
            in the feature bank.
        labels: Names of the classes; multi-label data may have several or none.
        split: For example ``train``; empty if no split is known.
        start_seconds: Start of a window or trimmed clip; ``None`` is the start of the video.
        end_seconds: End of a window or trimmed clip; ``None`` is the end of the video.
        path: Path of the video file in the annotations, if they have one.
        steps: (start, stop) of a window in steps of the feature bank.
    """

    video_id: str
    labels: tuple[str, ...]
    split: str = ""
    start_seconds: float | None = None
    end_seconds: float | None = None
    path: str | None = None
    steps: tuple[int, int] | None = None

    @property
    def key(self) -> str:
        """Unique name within a data set: the video's id and, for a window, its position.

        Example:
            >>> VideoRecord("S1/tea", ("pour",), steps=(0, 256)).key
            'S1/tea@0-256'
        """
        if self.steps is not None:
            return f"{self.video_id}@{self.steps[0]}-{self.steps[1]}"
        if self.start_seconds is not None or self.end_seconds is not None:
            end = "end" if self.end_seconds is None else f"{self.end_seconds}s"
            return f"{self.video_id}@{self.start_seconds or 0}s-{end}"
        return self.video_id


@dataclass(frozen=True)
class VideoDataset:
    """Labelled videos or windows.

    Args:
        name: Name of the data set.
        classes: Class names; a class's position is its index in ``targets`` and in scores.
        records: The videos or windows.
        is_multilabel: Whether a record may have any number of labels; otherwise it has one.

    Raises:
        ValueError: If a class or record is repeated, a label is unknown, a single-label record
            does not have exactly one label, or one video is in two splits.

    Example:
        >>> records = (VideoRecord("a", ("pour", "cut")), VideoRecord("b", ("cut",)))
        >>> VideoDataset("kitchen", ("cut", "pour"), records, True).targets().tolist()
        [[1.0, 1.0], [1.0, 0.0]]
    """

    name: str
    classes: tuple[str, ...]
    records: tuple[VideoRecord, ...]
    is_multilabel: bool

    def __post_init__(self) -> None:
        unique(f"{self.name}: classes", self.classes)
        unique(f"{self.name}: records", (record.key for record in self.records))
        known, splits = set(self.classes), dict[str, str]()
        for record in self.records:
            where = f"{self.name}: labels of {record.key}"
            for label in record.labels:
                if label not in known:
                    checks.one_of(where, label, self.classes)
            if not self.is_multilabel:
                one = len(record.labels) == 1
                checks.require(one, where, "be exactly one (single-label data)", record.labels)
            other = splits.setdefault(record.video_id, record.split)
            whole = f"{self.name}: split of {record.video_id}"
            checks.require(other == record.split, whole, f"be one: {other!r}", record.split)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted."""
        return tuple(sorted({record.split for record in self.records}))

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of the videos, without repetition, in the order of the records."""
        return tuple(dict.fromkeys(record.video_id for record in self.records))

    def subset(self, split: str) -> VideoDataset:
        """A copy with only the records of one split, and all classes.

        Raises:
            ValueError: If the split is empty; the error lists the splits.
        """
        checks.one_of(f"{self.name}: split", split, self.splits)
        return replace(self, records=tuple(r for r in self.records if r.split == split))

    def with_splits(self, splits: Mapping[str, str]) -> VideoDataset:
        """A copy with new splits, given by video id. Other videos keep their split."""
        return replace(self, records=_assigned(self.name, self.records, splits))

    def without_classes(self, names: Iterable[str]) -> VideoDataset:
        """A copy without some classes. Records keep their other labels.

        Raises:
            ValueError: If a class is unknown, or is the label of a single-label record.
        """
        dropped = {checks.one_of(f"{self.name}: class", name, self.classes) for name in names}
        classes = tuple(name for name in self.classes if name not in dropped)
        records = tuple(
            replace(record, labels=tuple(x for x in record.labels if x not in dropped))
            for record in self.records
        )
        return replace(self, classes=classes, records=records)

    def labelled(self) -> VideoDataset:
        """A copy with only the records that have a label."""
        return replace(self, records=tuple(record for record in self.records if record.labels))

    def renamed(self, video_ids: Mapping[str, str]) -> VideoDataset:
        """A copy with new video ids, given by the old ids. Other videos keep their id."""
        records = (replace(r, video_id=video_ids.get(r.video_id, r.video_id)) for r in self.records)
        return replace(self, records=tuple(records))

    def targets(self) -> NDArray[np.float32]:
        """Multi-hot targets.

        Shape:
            (number of records, number of classes), float32, 1 if the record has the class.
        """
        index = {name: column for column, name in enumerate(self.classes)}
        targets = np.zeros((len(self.records), len(self.classes)), dtype=np.float32)
        for row, record in enumerate(self.records):
            targets[row, [index[label] for label in record.labels]] = 1
        return targets


@dataclass(frozen=True)
class Interval:
    """One action in time: ``label`` from ``start_seconds`` to ``end_seconds``."""

    label: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class TimedVideo:
    """A video and its timed actions, in any order; they may overlap."""

    video_id: str
    intervals: tuple[Interval, ...]
    split: str = ""
    path: str | None = None
    duration_seconds: float | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the intervals, without repetition, in order of their first occurrence."""
        return tuple(dict.fromkeys(interval.label for interval in self.intervals))


@dataclass(frozen=True)
class TimedDataset:
    """Videos with timed actions, from which video-level labels and windows are made.

    Raises:
        ValueError: If a class or video is repeated, or a label is unknown.
    """

    name: str
    classes: tuple[str, ...]
    videos: tuple[TimedVideo, ...]

    def __post_init__(self) -> None:
        unique(f"{self.name}: classes", self.classes)
        unique(f"{self.name}: videos", (video.video_id for video in self.videos))
        known = set(self.classes)
        for video in self.videos:
            for label in video.labels:
                if label not in known:
                    checks.one_of(f"{self.name}: labels of {video.video_id}", label, self.classes)

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of the videos in order."""
        return tuple(video.video_id for video in self.videos)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted."""
        return tuple(sorted({video.split for video in self.videos}))

    def subset(self, split: str) -> TimedDataset:
        """A copy with only the videos of one split, and all classes.

        Raises:
            ValueError: If the split is empty; the error lists the splits.
        """
        checks.one_of(f"{self.name}: split", split, self.splits)
        return replace(self, videos=tuple(v for v in self.videos if v.split == split))

    def with_splits(self, splits: Mapping[str, str]) -> TimedDataset:
        """A copy with new splits, given by video id. Other videos keep their split."""
        return replace(self, videos=_assigned(self.name, self.videos, splits))

    def without_classes(self, names: Iterable[str]) -> TimedDataset:
        """A copy without some classes and their intervals, and with all videos.

        Raises:
            ValueError: If a class is unknown.
        """
        dropped = {checks.one_of(f"{self.name}: class", name, self.classes) for name in names}
        videos = tuple(
            replace(v, intervals=tuple(i for i in v.intervals if i.label not in dropped))
            for v in self.videos
        )
        classes = tuple(name for name in self.classes if name not in dropped)
        return replace(self, classes=classes, videos=videos)

    def renamed(self, video_ids: Mapping[str, str]) -> TimedDataset:
        """A copy with new video ids, given by the old ids. Other videos keep their id."""
        videos = (replace(v, video_id=video_ids.get(v.video_id, v.video_id)) for v in self.videos)
        return replace(self, videos=tuple(videos))

    def to_videos(self) -> VideoDataset:
        """Multi-label data with one record per video, labelled with all its actions."""
        records = tuple(
            VideoRecord(video.video_id, video.labels, video.split, path=video.path)
            for video in self.videos
        )
        return VideoDataset(self.name, self.classes, records, is_multilabel=True)


_R = TypeVar("_R", VideoRecord, TimedVideo)


def unique(what: str, names: Iterable[str]) -> None:
    """Check that no name is repeated.

    Raises:
        ValueError: If one is; the error lists the first five.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    checks.require(not repeated, what, "be unique", repeated[:5], "These are repeated.")


def _assigned(name: str, records: tuple[_R, ...], splits: Mapping[str, str]) -> tuple[_R, ...]:
    known = {record.video_id for record in records}
    unknown = sorted(set(splits) - known)
    checks.require(not unknown, f"{name}: splits", "name known videos", unknown[:5])
    return tuple(replace(r, split=splits.get(r.video_id, r.split)) for r in records)
