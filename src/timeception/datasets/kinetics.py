"""Kinetics-400: trimmed clips of one action each, from its official CSV files.

The official list of test clips has no ``label`` column and is ignored.

Source: Kay et al., "The Kinetics Human Action Video Dataset", 2017.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from timeception import checks
from timeception.datasets.folder import split_name
from timeception.datasets.kind import Dataset, DatasetKind, csv_files, last_part
from timeception.datasets.records import VideoDataset, VideoRecord
from timeception.datasets.rows import Row, read_rows
from timeception.datasets.timed import seconds

COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")


def read_kinetics(files: Iterable[str | Path]) -> VideoDataset:
    """Read ``label,youtube_id,time_start,time_end,split`` files: ``train.csv``, ``validate.csv``.

    Returns:
        Classes sorted by name. Ids are the names of the clips' files, ``YOUTUBEID_000010_000020``,
        because one video may have several clips.

    Raises:
        ValueError: If a row has no label or id, times that are not whole seconds, or a clip that is
            listed elsewhere in the files; the error lists each row by line number.
    """
    listed: dict[str, str] = {}
    records = [record for file in files for record in _read_file(Path(file), listed)]
    checks.require(bool(records), "files", "list clips", "none")
    classes = tuple(sorted({label for record in records for label in record.labels}))
    return VideoDataset("kinetics", classes, tuple(records), is_multilabel=False)


def clip_name(youtube_id: str, start_seconds: int, end_seconds: int) -> str:
    """Return the name of a clip's file, without the suffix.

    Example:
        >>> clip_name("---QUuC4vJs", 84, 94)
        '---QUuC4vJs_000084_000094'
    """
    return f"{youtube_id}_{start_seconds:06d}_{end_seconds:06d}"


def _read_file(file: Path, listed: dict[str, str]) -> list[VideoRecord]:
    def parse(row: Row) -> VideoRecord:
        checks.require(bool(row["label"]), "label", "be a class name", row["label"])
        checks.require(bool(row["youtube_id"]), "youtube_id", "name a video", row["youtube_id"])
        start, end = (seconds(name, row[name]) for name in ("time_start", "time_end"))
        are_whole = start.is_integer() and end.is_integer() and start < end
        times = f"{row['time_start']}-{row['time_end']}"
        checks.require(are_whole, "times", "be whole seconds, start before end", times)
        name = clip_name(row["youtube_id"], int(start), int(end))
        advice = f"It is also listed in {listed.get(name)}."
        checks.require(name not in listed, "clip", "occur once", name, advice)
        listed[name] = file.name
        return VideoRecord(name, (row["label"],), split_name(row["split"]))

    return read_rows(file, COLUMNS, parse)


def _clip_seconds(dataset: Dataset) -> dict[str, float]:
    times = {name: name.rsplit("_", 2)[1:] for name in dataset.video_ids}
    return {name: float(end) - float(start) for name, (start, end) in times.items()}


KIND = DatasetKind(
    "kinetics",
    lambda folder: read_kinetics(csv_files(folder, COLUMNS)),
    protocol="kinetics",
    title="Kinetics-400",
    files=f"CSV of {','.join(COLUMNS)}",
    is_in=lambda folder: bool(csv_files(folder, COLUMNS)),
    name_of=last_part,
    known={"classes": 400},
    seconds_of=_clip_seconds,
)
