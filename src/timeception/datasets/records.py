"""Typed records of videos and of the timed actions in them, common to all data sets.

Times are in seconds from the start of the video; steps are those of the feature bank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

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


_R = TypeVar("_R", VideoRecord, TimedVideo)


@dataclass(frozen=True)
class _Dataset(Generic[_R]):
    """Operations common to both kinds of data sets; ``_field`` is the attribute with the videos."""

    name: str
    classes: tuple[str, ...]

    _field: ClassVar[str]

    def __post_init__(self) -> None:
        unique(f"{self.name}: classes", self.classes)
        known = set(self.classes)
        for item in self.entries:
            for label in item.labels:
                if label not in known:
                    key = item.key if isinstance(item, VideoRecord) else item.video_id
                    checks.one_of(f"{self.name}: labels of {key}", label, self.classes)

    @property
    def entries(self) -> tuple[_R, ...]:
        """The records or videos."""
        entries: tuple[_R, ...] = getattr(self, self._field)
        return entries

    def _with(self, items: Iterable[_R], **changes: Any) -> Self:
        changes[self._field] = tuple(items)
        return replace(self, **changes)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted."""
        return tuple(sorted({item.split for item in self.entries}))

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of the videos in order, without repetition."""
        return tuple(dict.fromkeys(item.video_id for item in self.entries))

    def subset(self, split: str) -> Self:
        """A copy with only the videos of one split, and all classes.

        Raises:
            ValueError: If the split is empty; the error lists the splits.
        """
        checks.one_of(f"{self.name}: split", split, self.splits)
        return self._with(item for item in self.entries if item.split == split)

    def with_splits(self, splits: Mapping[str, str]) -> Self:
        """A copy with new splits, given by video id. Other videos keep their split."""
        unknown = sorted(set(splits) - set(self.video_ids))
        checks.require(not unknown, f"{self.name}: splits", "name known videos", unknown[:5])
        return self._with(
            replace(item, split=splits.get(item.video_id, item.split)) for item in self.entries
        )

    def without_classes(self, names: Iterable[str]) -> Self:
        """A copy without some classes. All videos stay, with their other labels.

        Raises:
            ValueError: If a class is unknown, or is the label of a single-label record.
        """
        dropped = {checks.one_of(f"{self.name}: class", name, self.classes) for name in names}
        classes = tuple(name for name in self.classes if name not in dropped)
        return self._with((_without(item, dropped) for item in self.entries), classes=classes)

    def renamed(self, video_ids: Mapping[str, str]) -> Self:
        """A copy with new video ids, given by the old ids. Other videos keep their id."""
        return self._with(
            replace(item, video_id=video_ids.get(item.video_id, item.video_id))
            for item in self.entries
        )


def _without(item: Any, dropped: set[str]) -> Any:
    if isinstance(item, VideoRecord):
        return replace(item, labels=tuple(name for name in item.labels if name not in dropped))
    return replace(item, intervals=tuple(i for i in item.intervals if i.label not in dropped))


@dataclass(frozen=True)
class VideoDataset(_Dataset[VideoRecord]):
    """Labelled videos or windows.

    Args:
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

    records: tuple[VideoRecord, ...]
    is_multilabel: bool

    _field: ClassVar[str] = "records"

    def __post_init__(self) -> None:
        unique(f"{self.name}: records", (record.key for record in self.records))
        super().__post_init__()
        splits: dict[str, str] = {}
        for record in self.records:
            if not self.is_multilabel:
                where, one = f"{self.name}: labels of {record.key}", len(record.labels) == 1
                checks.require(one, where, "be exactly one (single-label data)", record.labels)
            other = splits.setdefault(record.video_id, record.split)
            whole = f"{self.name}: split of {record.video_id}"
            checks.require(other == record.split, whole, f"be one: {other!r}", record.split)

    def labelled(self) -> VideoDataset:
        """A copy with only the records that have a label."""
        return replace(self, records=tuple(record for record in self.records if record.labels))

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
class TimedDataset(_Dataset[TimedVideo]):
    """Videos with timed actions, from which video-level labels and windows are made.

    Raises:
        ValueError: If a class or video is repeated, or a label is unknown.
    """

    videos: tuple[TimedVideo, ...]

    _field: ClassVar[str] = "videos"

    def __post_init__(self) -> None:
        unique(f"{self.name}: videos", (video.video_id for video in self.videos))
        super().__post_init__()

    def to_videos(self) -> VideoDataset:
        """Multi-label data with one record per video, labelled with all its actions."""
        records = tuple(
            VideoRecord(v.video_id, v.labels, v.split, path=v.path) for v in self.videos
        )
        return VideoDataset(self.name, self.classes, records, is_multilabel=True)


def unique(what: str, names: Iterable[str]) -> None:
    """Check that no name is repeated.

    Raises:
        ValueError: If one is; the error lists the first five.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    checks.require(not repeated, what, "be unique", repeated[:5], "These are repeated.")
