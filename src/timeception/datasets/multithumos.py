"""MultiTHUMOS: 65 classes of sports actions; also the JSON format that it shares with Charades.

Source: Yeung et al., "Every Moment Counts", IJCV 2018. Two formats are read: the official one (a
text file per class) and ``multithumos.json``, in use since Piergiovanni and Ryoo's code.
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
from timeception.datasets.rows import raise_bad, read_class_list, read_lines, read_text
from timeception.datasets.timed import parse_interval, seconds

JSON_FILE = "multithumos.json"
CLASSES_FILE = "class_list.txt"
LABELS_FOLDER = "annotations"
FIRST_CLASS = 1  # MultiTHUMOS numbers its classes from 1 in both formats
_SPLITS = {"video_validation_": "train", "video_test_": "test"}  # THUMOS trains on its validation


def read_multithumos(folder: str | Path) -> TimedDataset:
    """Read MultiTHUMOS from the official text files if they exist, otherwise from JSON.

    Args:
        folder: Contains ``annotations/CLASS.txt`` and ``class_list.txt`` (``1 BaseballPitch``
            lines), or ``multithumos.json`` and, for class names, ``class_list.txt``.

    Returns:
        Videos named ``video_validation_*`` are in ``train``, ``video_test_*`` in ``test``. Only the
        JSON has durations. Without ``class_list.txt`` the numbers of the classes are their names.

    Raises:
        ValueError: If the files are malformed; the error lists each bad line or entry.
    """
    folder = Path(folder)
    file, names = folder / CLASSES_FILE, None
    if file.is_file():
        names = read_class_list(file, lambda index: str(index + FIRST_CLASS))
    if (folder / LABELS_FOLDER).is_dir():
        checks.require(names is not None, "file", "exist; it has the order of classes", str(file))
        return _read_text_files(folder / LABELS_FOLDER, names or [])
    return read_actions_json(folder / JSON_FILE, names, first_class=FIRST_CLASS)


def read_actions_json(
    file: str | Path, class_names: Sequence[str] | None = None, *, first_class: int
) -> TimedDataset:
    """Read ``{id: {"subset": ..., "duration": seconds, "actions": [[class, start, end], ...]}}``.

    Args:
        file: The JSON file.
        class_names: Class names in the order of their numbers; ``None`` uses the numbers, up to
            the highest one in the file.
        first_class: Number of the first class: 1 in ``multithumos.json``, 0 in ``charades.json``.

    Raises:
        ValueError: If the file is malformed; the error lists the id of each bad video.
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
    must = "be named video_validation_* or video_test_*"
    raise ValueError(checks.problem("video", must, video_id))


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
