"""A label for every frame, or for every step of features, read into timed actions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from timeception import checks
from timeception.datasets.records import TimedDataset, TimedVideo
from timeception.datasets.rows import read_lines
from timeception.datasets.timed import intervals_of_frames

SUFFIXES = (".txt", ".npy", ".npz")


def read_frame_labels(
    folder: str | Path,
    fps: float,
    *,
    key: str | None = None,
    ignored: Iterable[str] = (),
    names: str | Path | None = None,
) -> TimedDataset:
    """Read one file a video: text with a label a line, or an array of numbers.

    Args:
        folder: with the files, anywhere below it; the path without suffix is the video's id.
        fps: labels per second.
        key: name of the labels within ``.npz`` files; may be left out where they hold one array.
        ignored: labels to leave out, by name.
        names: file of ``index name`` lines; without it the labels of arrays are named by number.

    Returns:
        Classes in the order of ``names``, else sorted (numbers by value).

    Raises:
        ValueError: if there is no such file, an array is not of whole numbers in one dimension, or
            a number has no name.
    """
    folder = Path(folder)
    found = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    checks.require(bool(found), f"{folder}", f"hold {', '.join(SUFFIXES)} files", "none")
    known = read_numbered_names(names) if names is not None else None
    left_out, videos = set(ignored), []
    for file in found:
        labels = read_lines(file, str) if file.suffix == ".txt" else _read_array(file, key, known)
        video_id = file.relative_to(folder).with_suffix("").as_posix()
        intervals = intervals_of_frames(labels, fps, left_out)
        videos.append(TimedVideo(video_id, intervals, duration_seconds=len(labels) / fps))
    present = {label for video in videos for label in video.labels}
    order = list(known.values()) if known else sorted(present, key=_by_number)
    classes = tuple(name for name in order if name not in left_out)
    return TimedDataset(folder.resolve().name, classes, tuple(videos))


def read_numbered_names(file: str | Path) -> dict[int, str]:
    """Read ``index name`` lines.

    Raises:
        ValueError: for each line of another form, or with an index or a name that occurs twice.
    """
    names: dict[int, str] = {}

    def parse(line: str) -> None:
        number, _, name = line.partition(" ")
        is_pair = number.isdecimal() and bool(name.strip())
        checks.require(is_pair, "line", "be 'index name'", line)
        is_new = int(number) not in names and name.strip() not in names.values()
        checks.require(is_new, "line", "have an index and a name of its own", line)
        names[int(number)] = name.strip()

    read_lines(file, parse)
    return names


def _read_array(file: Path, key: str | None, names: dict[int, str] | None) -> list[str]:
    content = np.load(file, allow_pickle=False)
    if isinstance(content, np.ndarray):
        numbers = content
    else:
        held = list(content)
        advice = f"The file holds {', '.join(held)}."
        checks.require(key is not None or len(held) == 1, "key", "name the labels", key, advice)
        numbers = content[checks.one_of(f"{file}: key", key or held[0], held)]
        content.close()
    is_line = numbers.ndim == 1 and numbers.dtype.kind in "iu"
    what = f"{numbers.dtype} of shape {numbers.shape}"
    checks.require(is_line, f"{file}: labels", "be whole numbers, one a frame", what)
    if names is None:
        return [str(number) for number in numbers.tolist()]
    unknown = sorted(set(numbers.tolist()) - set(names))
    checks.require(not unknown, f"{file}: labels", "have a name", unknown[:8])
    return [names[number] for number in numbers.tolist()]


def _by_number(label: str) -> tuple[int, str]:
    return (int(label) if label.isdecimal() else 0, label)
