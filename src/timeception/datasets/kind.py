"""What the registry knows about a kind of data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from timeception import checks
from timeception.datasets.records import TimedDataset, VideoDataset
from timeception.datasets.rows import has_columns

Dataset = TimedDataset | VideoDataset


def last_part(video_id: str) -> str:
    """Name of a video without its folders.

    Example:
        >>> last_part("Charades_v1_480/ABCDE")
        'ABCDE'
    """
    return video_id.rsplit("/", 1)[-1]


def annotated_seconds(dataset: Dataset) -> dict[str, float]:
    """Durations given by timed annotations, by video id."""
    if isinstance(dataset, VideoDataset):
        return {}
    durations = ((video.video_id, video.duration_seconds) for video in dataset.videos)
    return {name: seconds for name, seconds in durations if seconds is not None}


def count(dataset: Dataset) -> dict[str, int]:
    """Count classes, videos, videos of each split, and videos without a label."""
    videos = dataset.entries
    counts = {"classes": len(dataset.classes), "videos": len(videos)}
    for split in filter(None, dataset.splits):
        inside = [video for video in videos if video.split == split]
        counts[f"{split} videos"] = len(inside)
        counts[f"{split} videos without labels"] = sum(not video.labels for video in inside)
    if not any(dataset.splits):
        counts["videos without labels"] = sum(not video.labels for video in videos)
    return counts


@dataclass(frozen=True)
class DatasetKind:
    """A kind of data set: how to read it, recognise it and test on it.

    Args:
        name: The value of ``data.kind`` in recipes.
        read: Reads the annotations at a path, ``data.source`` in recipes. If ``reads_ids``, it
            takes ``(path, video_ids, pattern)`` instead.
        protocol: The protocol that recipes are tested by unless they name another; ``None`` is mAP
            or accuracy.
        title: Display name; the default is ``name``.
        files: The annotation files, listed in the error when a folder holds no known data set.
        is_in: Whether a folder holds the annotation files; ``None`` if that cannot be determined.
        columns: The columns of its CSV file, if its annotations are one such file.
        name_of: Maps a video file's id (its path below the folder of the videos, without the
            suffix) to the video's name in the annotations; ``None`` for files to be ignored.
        known: Counts of a complete copy, named as ``count`` names them.
        seconds_of: The annotated duration of each video.
        count: Counts what a data set holds.
        family: The name under which kinds that share annotation files are checked; the default is
            ``name``.
        is_general: Whether any data set can have these files. Such kinds are recognised last, and
            only in the folder itself.
        reads_ids: Whether labels come from the video ids.
    """

    name: str
    read: Callable[..., Dataset]
    protocol: str | None = None
    title: str = ""
    files: str = ""
    is_in: Callable[[Path], bool] | None = None
    columns: tuple[str, ...] = ()
    name_of: Callable[[str], str | None] = str
    known: Mapping[str, int] = field(default_factory=dict)
    seconds_of: Callable[[Dataset], dict[str, float]] = annotated_seconds
    count: Callable[[Dataset], dict[str, int]] = count
    family: str = ""
    is_general: bool = False
    reads_ids: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.name)
        object.__setattr__(self, "family", self.family or self.name)


def csv_files(folder: Path, columns: tuple[str, ...]) -> list[Path]:
    """CSV files directly in ``folder`` whose header holds all of ``columns``, sorted."""
    return [file for file in sorted(folder.glob("*.csv")) if has_columns(file, columns)]


def only_csv(source: Path, columns: tuple[str, ...]) -> Path:
    """``source`` itself or, if it is a folder, the one CSV file in it that has ``columns``.

    Raises:
        ValueError: If a folder holds no such file, or several.
    """
    if not source.is_dir():
        return source
    files = csv_files(source, columns)
    names = [file.name for file in files]
    checks.require(len(files) == 1, f"{source}", f"hold one CSV of {','.join(columns)}", names)
    return files[0]


def csv_kind(
    name: str, columns: tuple[str, ...], read: Callable[[Path], Dataset], title: str
) -> DatasetKind:
    """The general kind whose annotations are the one CSV file in a folder that has ``columns``."""
    return DatasetKind(
        name,
        lambda source: read(only_csv(source, columns)),
        title=title,
        files=f"CSV of {','.join(columns)}",
        is_in=lambda folder: bool(csv_files(folder, columns)),
        columns=columns,
        is_general=True,
    )
