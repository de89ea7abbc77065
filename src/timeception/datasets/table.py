"""A CSV of videos and their labels: ``path,labels`` and, optionally, ``split``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from timeception import checks
from timeception.datasets.folder import split_name
from timeception.datasets.kind import DatasetKind, csv_files, only_csv
from timeception.datasets.records import VideoDataset, VideoRecord
from timeception.datasets.rows import Row, read_csv, read_rows
from timeception.datasets.video_files import video_id_of

COLUMNS = ("path", "labels")
Separator = Literal[";", " "]


def from_csv(
    file: str | Path, separator: Separator | None = None, is_multilabel: bool | None = None
) -> VideoDataset:
    """Read ``path,labels[,split]``.

    Paths are relative to the folder that the videos are extracted from; a video's id is its path
    without the video suffix. Other columns are ignored.

    Args:
        file: The CSV.
        separator: Separator of labels; ``None`` uses ``;`` if any row contains one, otherwise a
            space. Class names with spaces require ``;``, given here or used once in the file
            (``pour water;`` is one label).
        is_multilabel: Whether a video may have several labels; ``None`` infers it from the rows.

    Returns:
        Classes sorted by name, records in the order of the file.

    Raises:
        ValueError: If a row has no label, a repeated label or path, or an absolute path; the error
            lists each row by line number.
    """
    file = Path(file)
    separator = separator or _find_separator(file)
    seen: set[str] = set()

    def parse(row: Row) -> VideoRecord:
        name = video_id_of(row["path"])
        checks.require(
            name not in seen, "path", "occur once", row["path"], "Delete one of the rows."
        )
        seen.add(name)
        labels = split_labels(row["labels"], separator)
        return VideoRecord(name, labels, split_name(row["split"]), path=row["path"])

    records = read_rows(file, COLUMNS, parse, optional=("split",))
    checks.require(bool(records), f"{file}", "hold at least one video", "only a header")
    if is_multilabel is None:
        is_multilabel = any(len(record.labels) > 1 for record in records)
    classes = tuple(sorted({label for record in records for label in record.labels}))
    return VideoDataset(file.stem, classes, tuple(records), is_multilabel)


def split_labels(text: str, separator: Separator) -> tuple[str, ...]:
    """Split the labels of one field.

    Raises:
        ValueError: If there is none, or one is repeated.

    Example:
        >>> split_labels("pour water; cut", ";"), split_labels("c001 c092", " ")
        (('pour water', 'cut'), ('c001', 'c092'))
    """
    labels = tuple(label.strip() for label in text.split(separator) if label.strip())
    advice = "Add its classes, or delete the row."
    checks.require(bool(labels), "labels", "name at least one class", text, advice)
    checks.require(len(set(labels)) == len(labels), "labels", "name each class once", text)
    return labels


def _find_separator(file: Path) -> Separator:
    header, lines = read_csv(file, COLUMNS)
    column = header.index("labels")
    return ";" if any(";" in field for _, row in lines for field in row[column:][:1]) else " "


KIND = DatasetKind(
    "csv",
    lambda source: from_csv(only_csv(source, COLUMNS)),
    title="CSV of videos and labels",
    files=f"CSV of {','.join(COLUMNS)}",
    is_in=lambda folder: bool(csv_files(folder, COLUMNS)),
    columns=COLUMNS,
    is_general=True,
)
