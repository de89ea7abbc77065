"""Timed annotations: a CSV ``video,label,start,end`` in seconds, or one label per frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path

from timeception import checks
from timeception.datasets.folder import split_name
from timeception.datasets.kind import DatasetKind, csv_files, only_csv
from timeception.datasets.records import Interval, TimedDataset, TimedVideo
from timeception.datasets.rows import Row, read_rows, write_rows
from timeception.datasets.video_files import video_id_of

COLUMNS = ("video", "label", "start", "end")


def read_timed(file: str | Path, classes: Sequence[str] | None = None) -> TimedDataset:
    """Read ``video,label,start,end[,split]``, one action per row, with times in seconds.

    The rows of a video may be in any order and overlap in time. A video without actions has one
    row with only its name (``video,,,``).

    Args:
        file: The CSV.
        classes: The class names in order; ``None`` uses the labels in the file, sorted.

    Raises:
        ValueError: If a row has an invalid time, an end before the start, an empty name, or a
            second split for its video; the error lists each row by line number.
    """
    file = Path(file)
    intervals: dict[str, list[Interval]] = {}
    splits: dict[str, str] = {}

    def parse(row: Row) -> None:
        name = video_id_of(row["video"])
        split = splits.setdefault(name, split_name(row["split"]))
        same = split == split_name(row["split"])
        checks.require(same, f"split of {name}", f"be {split!r} in every row", row["split"])
        timed = intervals.setdefault(name, [])
        if any(row[column] for column in COLUMNS[1:]):
            timed.append(parse_interval(row["label"], row["start"], row["end"]))

    read_rows(file, COLUMNS, parse, optional=("split",))
    checks.require(bool(intervals), f"{file}", "hold at least one video", "only a header")
    videos = tuple(
        TimedVideo(name, tuple(sorted(timed, key=_by_time)), splits[name])
        for name, timed in intervals.items()
    )
    if classes is None:
        classes = sorted({label for video in videos for label in video.labels})
    return TimedDataset(file.stem, tuple(classes), videos)


def write_timed(file: str | Path, videos: Iterable[TimedVideo]) -> None:
    """Write the CSV that ``read_timed`` reads, with times to the nanosecond.

    With coarser times, an action could extend into the step after its last one.
    """
    rows: list[tuple[str, ...]] = [(*COLUMNS, "split")]
    for video in videos:
        rows += [
            (
                video.video_id,
                i.label,
                _decimal(i.start_seconds),
                _decimal(i.end_seconds),
                video.split,
            )
            for i in video.intervals
        ] or [(video.video_id, "", "", "", video.split)]
    write_rows(Path(file), rows)


def parse_interval(label: str, start: str, end: str, *, ordered: bool = True) -> Interval:
    """Parse an interval from three fields of text.

    Args:
        label: Name of a class.
        start: Start in seconds.
        end: End in seconds.
        ordered: Require that the end is after the start. A few intervals in official files end
            earlier; their labels count nevertheless.

    Raises:
        ValueError: If the label is empty, or a time is not a finite number of at least 0.

    Example:
        >>> parse_interval("c092", "11.90", "21.20")
        Interval(label='c092', start_seconds=11.9, end_seconds=21.2)
    """
    checks.require(bool(label), "label", "be a class name", label)
    start_seconds, end_seconds = seconds("start", start), seconds("end", end)
    is_after = not ordered or end_seconds > start_seconds
    checks.require(is_after, "end", f"be after the start ({start}), in seconds", end)
    return Interval(label, start_seconds, end_seconds)


def seconds(name: str, text: str) -> float:
    """Parse a time of at least 0 seconds.

    Raises:
        ValueError: If it is negative or not a finite number.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    checks.require(isfinite(value) and value >= 0, name, "be seconds of at least 0", text)
    return value


def intervals_of_frames(
    labels: Sequence[str], fps: float, ignored: Iterable[str] = ()
) -> tuple[Interval, ...]:
    """Convert one label per frame into intervals, one for each run of equal labels.

    Args:
        labels: One label per frame, or per step of features.
        fps: Frames (or steps) per second.
        ignored: Labels to leave out, such as a background.

    Example:
        >>> intervals_of_frames(["SIL", "pour", "pour", "stir"], fps=2.0, ignored=["SIL"])[0]
        Interval(label='pour', start_seconds=0.5, end_seconds=1.5)
    """
    checks.require(fps > 0, "fps", "be positive", fps)
    left_out, found, start = set(ignored), [], 0
    for stop in range(1, len(labels) + 1):
        if stop == len(labels) or labels[stop] != labels[start]:
            if labels[start] not in left_out:
                found.append(Interval(labels[start], start / fps, stop / fps))
            start = stop
    return tuple(found)


def _decimal(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _by_time(interval: Interval) -> tuple[float, float, str]:
    return interval.start_seconds, interval.end_seconds, interval.label


KIND = DatasetKind(
    "timed",
    lambda source: read_timed(only_csv(source, COLUMNS)),
    title="CSV of timed actions",
    files=f"CSV of {','.join(COLUMNS)}",
    is_in=lambda folder: bool(csv_files(folder, COLUMNS)),
    columns=COLUMNS,
    is_general=True,
)
