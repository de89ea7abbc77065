"""MultiTHUMOS: 65 classes of sports and their parts; and a JSON form that Charades has too.

Source: Yeung et al., "Every Moment Counts", IJCV 2018. Two forms are read: the official one (a text
file a class) and ``multithumos.json``, common since Piergiovanni and Ryoo's code.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timeception import checks
from timeception.datasets.folder import split_name
from timeception.datasets.kind import DatasetKind, last_part
from timeception.datasets.records import Interval, TimedDataset, TimedVideo
from timeception.datasets.rows import raise_bad, read_lines, read_text
from timeception.datasets.timed import parse_interval, seconds

JSON_FILE = "multithumos.json"
CLASSES_FILE = "class_list.txt"
LABELS_FOLDER = "annotations"
FIRST_CLASS = 1  # MultiTHUMOS counts its classes from 1 in both forms
_SPLITS = {"video_validation_": "train", "video_test_": "test"}  # THUMOS trains on its validation


def read_multithumos(folder: str | Path) -> TimedDataset:
    """Read MultiTHUMOS from the official text files or, where there are none, from JSON.

    Args:
        folder: holds ``annotations/CLASS.txt`` and ``class_list.txt`` (``1 BaseballPitch`` lines);
            or ``multithumos.json`` and, where the class names are wanted, ``class_list.txt``.

    Returns:
        Videos named ``video_validation_*`` are in ``train``, ``video_test_*`` in ``test``.
        Durations are known from the JSON alone. Without ``class_list.txt`` classes are named by
        number.

    Raises:
        ValueError: for each bad line or entry, told by its place.
    """
    folder = Path(folder)
    names = read_class_list(folder / CLASSES_FILE) if (folder / CLASSES_FILE).is_file() else None
    if (folder / LABELS_FOLDER).is_dir():
        needed = f"{folder / CLASSES_FILE}"
        checks.require(names is not None, "file", "be there, for the order of classes", needed)
        return _read_text_files(folder / LABELS_FOLDER, names or [])
    return read_actions_json(folder / JSON_FILE, names, first_class=FIRST_CLASS)


def read_class_list(file: str | Path) -> list[str]:
    """Read ``1 BaseballPitch`` lines: class names in their order.

    Raises:
        ValueError: for each line whose number is out of order, or without a name.
    """
    names: list[str] = []

    def parse(line: str) -> None:
        number = str(len(names) + FIRST_CLASS)
        parts = line.split()
        checks.require(
            parts[:1] == [number] and len(parts) == 2, "class", f"be '{number} NAME'", line
        )
        names.append(parts[1])

    read_lines(file, parse)
    return names


def read_actions_json(
    file: str | Path, class_names: Sequence[str] | None = None, *, first_class: int
) -> TimedDataset:
    """Read ``{id: {"subset": ..., "duration": seconds, "actions": [[class, start, end], ...]}}``.

    Args:
        file: the JSON file.
        class_names: in the order of their numbers; ``None`` names classes by number, up to the
            highest that occurs.
        first_class: number of the first class: 1 in ``multithumos.json``, 0 in ``charades.json``.

    Raises:
        ValueError: if it is not JSON of that form; every bad video is told by its id.
    """
    try:
        content = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}, line {error.lineno}: not JSON ({error.msg}).") from None
    is_table = isinstance(content, dict) and bool(content)
    checks.require(is_table, f"{file}", "map video ids to annotations", type(content).__name__)
    if class_names is None:
        highest = max((_class_number(a) for e in content.values() for a in _actions(e)), default=0)
        class_names = [str(number) for number in range(first_class, highest + 1)]
    videos, bad = [], []
    for video_id, entry in content.items():
        try:
            videos.append(_video(video_id, entry, list(class_names), first_class))
        except ValueError as error:
            bad.append(f"{video_id}: {error}")
    raise_bad(file, bad)
    return TimedDataset(Path(file).stem, tuple(class_names), tuple(videos))


def _video(video_id: str, entry: Any, names: list[str], first_class: int) -> TimedVideo:
    is_form = isinstance(entry, dict) and {"subset", "duration", "actions"} <= set(entry)
    checks.require(is_form, "entry", "have subset, duration and actions", entry)
    split = split_name(str(entry["subset"]))
    checks.one_of("subset", split, ("train", "validation", "test"))
    duration = seconds("duration", str(entry["duration"]))
    intervals = []
    for action in _actions(entry):
        number, last = _class_number(action), first_class + len(names) - 1
        is_action = isinstance(action, list) and len(action) == 3
        checks.require(is_action, "action", "be [class, start, end]", action)
        is_class = first_class <= number <= last
        checks.require(is_class, "class", f"lie in {first_class} to {last}", action[0])
        label = names[number - first_class]
        intervals.append(parse_interval(label, str(action[1]), str(action[2]), ordered=False))
    return TimedVideo(video_id, tuple(intervals), split, duration_seconds=duration)


def _actions(entry: Any) -> list[Any]:
    actions = entry.get("actions") if isinstance(entry, dict) else None
    return actions if isinstance(actions, list) else []


def _class_number(action: Any) -> int:
    number = action[0] if isinstance(action, list) and action else None
    return number if isinstance(number, int) else -1


def _read_text_files(folder: Path, names: list[str]) -> TimedDataset:
    found = {file.stem: file for file in sorted(folder.glob("*.txt"))}
    checks.same_names(f"{folder}: classes", names, found)
    intervals: dict[str, list[Interval]] = defaultdict(list)
    for name in names:

        def parse(line: str, name: str = name) -> None:
            parts = line.split()
            checks.require(len(parts) == 3, "line", "be 'video start end'", line)
            _split_of(parts[0])
            intervals[parts[0]].append(parse_interval(name, parts[1], parts[2], ordered=False))

        read_lines(found[name], parse)
    videos = tuple(TimedVideo(v, tuple(intervals[v]), _split_of(v)) for v in sorted(intervals))
    return TimedDataset("multithumos", tuple(names), videos)


def _split_of(video_id: str) -> str:
    for prefix, split in _SPLITS.items():
        if video_id.startswith(prefix):
            return split
    raise ValueError(
        checks.problem("video", "be named video_validation_* or video_test_*", video_id)
    )


def _is_in(folder: Path) -> bool:
    is_official = (folder / LABELS_FOLDER).exists() and (folder / CLASSES_FILE).exists()
    return is_official or (folder / JSON_FILE).exists()


KIND = DatasetKind(
    "multithumos",
    read_multithumos,
    protocol="multithumos",
    title="MultiTHUMOS",
    files=f"{LABELS_FOLDER}/ and {CLASSES_FILE}, or {JSON_FILE}",
    is_in=_is_in,
    name_of=last_part,
    known={"classes": 65, "videos": 413, "train videos": 200, "test videos": 213},
)
