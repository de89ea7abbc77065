"""Charades: household activities, 157 classes, from its official CSV files.

Source: Sigurdsson et al., "Hollywood in Homes", ECCV 2016; the files of ``Charades.zip``.
"""

from __future__ import annotations

from pathlib import Path

from timeception import checks
from timeception.datasets.kind import DatasetKind, last_part
from timeception.datasets.records import Interval, TimedDataset, TimedVideo
from timeception.datasets.rows import Row, read_class_list, read_rows
from timeception.datasets.timed import parse_interval, seconds

FILES = {"train": "Charades_v1_train.csv", "test": "Charades_v1_test.csv"}
CLASSES_FILE = "Charades_v1_classes.txt"


def read_charades(folder: str | Path) -> TimedDataset:
    """Read ``Charades_v1_{train,test}.csv`` and ``Charades_v1_classes.txt`` from a folder.

    The columns used are ``id``, ``actions`` (``c092 11.90 21.20;c147 0.00 12.60``, or empty) and
    ``length`` (seconds).

    Returns:
        Every video, including videos without an action (``to_videos().labelled()`` drops them).
        Class names are the lines of the classes file: ``c092 Opening a window``. Actions are kept
        unchanged; a few of them end before they start.

    Raises:
        ValueError: If a row has an unknown class, a malformed action, or a video that is listed
            elsewhere in either file; the error lists each row by line number.
    """
    folder = Path(folder)
    file, number = folder / CLASSES_FILE, "c{:03d}".format
    names = read_class_list(file, number, has_spaces=True)
    classes = {number(index): f"{number(index)} {name}" for index, name in enumerate(names)}
    listed: dict[str, str] = {}
    videos = [
        video
        for split, name in FILES.items()
        for video in _read_split(folder / name, split, classes, listed)
    ]
    return TimedDataset("charades", tuple(classes.values()), tuple(videos))


def _read_split(
    file: Path, split: str, classes: dict[str, str], listed: dict[str, str]
) -> list[TimedVideo]:
    """Read one CSV. ``listed`` maps every video read so far to its file; new ones are added."""

    def parse(row: Row) -> TimedVideo:
        video_id = row["id"]
        checks.require(bool(video_id), "id", "name a video", video_id)
        advice = f"It is also listed in {listed.get(video_id)}."
        checks.require(video_id not in listed, "id", "occur once", video_id, advice)
        listed[video_id] = file.name
        intervals = tuple(_action(text, classes) for text in row["actions"].split(";") if text)
        length = seconds("length", row["length"]) if row["length"] else None
        return TimedVideo(video_id, intervals, split, duration_seconds=length)

    return read_rows(file, ("id", "actions"), parse, optional=("length",))


def _action(text: str, classes: dict[str, str]) -> Interval:
    parts = text.split()
    checks.require(len(parts) == 3, "actions", "be 'c000 START END;...'", text)
    checks.require(parts[0] in classes, "actions", f"name one of {len(classes)} classes", parts[0])
    return parse_interval(classes[parts[0]], parts[1], parts[2], ordered=False)


KIND = DatasetKind(
    "charades",
    read_charades,
    protocol="charades_official",
    title="Charades",
    files=", ".join(FILES.values()),
    is_in=lambda folder: any((folder / name).exists() for name in FILES.values()),
    name_of=last_part,
    known={"classes": 157}
    | {"train videos": 7985, "train videos without labels": 174}
    | {"test videos": 1863, "test videos without labels": 49},
)
