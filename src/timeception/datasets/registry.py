"""The kinds of data sets that a folder may hold, told by the files in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from timeception import checks
from timeception.datasets import breakfast, charades, kinetics, multithumos
from timeception.datasets.folder import from_folder
from timeception.datasets.records import TimedDataset, VideoDataset
from timeception.datasets.rows import has_columns
from timeception.datasets.table import from_csv
from timeception.datasets.timed import COLUMNS as TIMED_COLUMNS
from timeception.datasets.timed import read_timed

Dataset = TimedDataset | VideoDataset
Counts = Mapping[str, int]


def last_part(video_id: str) -> str:
    """Name of a video without its folders.

    Example:
        >>> last_part("Charades_v1_480/ABCDE")
        'ABCDE'
    """
    return video_id.rsplit("/", 1)[-1]


def told_seconds(dataset: Dataset) -> dict[str, float]:
    """Durations that stand in timed annotations."""
    if isinstance(dataset, VideoDataset):
        return {}
    told = ((video.video_id, video.duration_seconds) for video in dataset.videos)
    return {name: seconds for name, seconds in told if seconds is not None}


def count(dataset: Dataset) -> dict[str, int]:
    """Count classes, videos, videos of each split, and videos without a label."""
    videos = dataset.videos if isinstance(dataset, TimedDataset) else dataset.records
    counts = {"classes": len(dataset.classes), "videos": len(videos)}
    for split in filter(None, dataset.splits):
        inside = [video for video in videos if video.split == split]
        counts[f"{split} videos"] = len(inside)
        counts[f"{split} videos without labels"] = sum(not video.labels for video in inside)
    if not any(dataset.splits):
        counts["videos without labels"] = sum(not video.labels for video in videos)
    return counts


@dataclass(frozen=True)
class Kind:
    """A kind of data set.

    Args:
        key: short name.
        title: for people.
        is_in: whether a folder holds its annotation files.
        read: reads them.
        name_of: the annotations' name of a video, from the id of its file (the path below the
            videos' folder without suffix); ``None`` for files that the annotations leave out.
        known: counts that a complete copy has, by the names that ``count`` has for them.
        seconds_of: length of each video as the annotations tell it.
        count: counts what a data set holds.
    """

    key: str
    title: str
    is_in: Callable[[Path], bool]
    read: Callable[[Path], Dataset]
    name_of: Callable[[str], str | None] = str
    known: Counts = field(default_factory=dict)
    seconds_of: Callable[[Dataset], dict[str, float]] = told_seconds
    count: Callable[[Dataset], dict[str, int]] = count


@dataclass(frozen=True)
class Pairing:
    """Videos of the annotations beside those that are there.

    Args:
        found: id of the file (or of the features) by the annotations' name.
        missing: names without a file.
        extra: files without annotations.
        twice: files by name, where several have one name.
    """

    found: dict[str, str]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    twice: dict[str, tuple[str, ...]]


def pair(kind: Kind, names: Iterable[str], file_ids: Iterable[str]) -> Pairing:
    """Find the file of each video, wherever it lies below the videos' folder.

    Args:
        kind: knows the names of files.
        names: of the videos in the annotations.
        file_ids: paths below the videos' folder without suffix, or ids of a feature bank.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for file_id in file_ids:
        name = kind.name_of(file_id)
        if name is not None:
            by_name[name].append(file_id)
    wanted = tuple(names)
    known = set(wanted)
    return Pairing(
        {name: by_name[name][0] for name in wanted if name in by_name},
        tuple(name for name in wanted if name not in by_name),
        tuple(i for name, ids in by_name.items() if name not in known for i in ids),
        {name: tuple(ids) for name, ids in by_name.items() if len(ids) > 1},
    )


def recognise(folder: str | Path) -> tuple[Kind, Path]:
    """Tell which kind of data set a folder holds.

    Official annotation files may also lie in a folder directly below, as archives unpack
    (``Charades/Charades_v1_train.csv`` beside ``Charades_v1_480/``).

    Returns:
        The kind, and the folder with the annotation files.

    Raises:
        ValueError: if it holds none; the error lists what is looked for.
    """
    folder = Path(folder)
    checks.require(folder.is_dir(), "folder", "be an existing folder", str(folder))
    *by_files, by_folders = KINDS
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        for kind in by_files:
            if kind.is_in(place) and (place == folder or kind.known):
                return kind, place
    if by_folders.is_in(folder):
        return by_folders, folder
    raise ValueError(
        checks.problem(
            "folder",
            "hold annotations of a known kind",
            str(folder),
            "Known: Charades (Charades_v1_train.csv, Charades_v1_test.csv), Breakfast (mapping.txt "
            "and groundTruth/), MultiTHUMOS (annotations/ and class_list.txt, or "
            "multithumos.json), Kinetics (CSV of label,youtube_id,time_start,time_end,split), CSV "
            "of video,label,start,end or of path,labels, or a folder a class.",
        )
    )


def _holds(*names: str) -> Callable[[Path], bool]:
    return lambda folder: all((folder / name).exists() for name in names)


def _csv_with(folder: Path, columns: tuple[str, ...]) -> list[Path]:
    return [file for file in sorted(folder.glob("*.csv")) if has_columns(file, columns)]


def _only(folder: Path, columns: tuple[str, ...]) -> Path:
    files = _csv_with(folder, columns)
    names = [file.name for file in files]
    checks.require(len(files) == 1, f"{folder}", f"hold one CSV of {','.join(columns)}", names)
    return files[0]


def _clip_seconds(dataset: Dataset) -> dict[str, float]:
    times = {name: name.rsplit("_", 2)[1:] for name in dataset.video_ids}
    return {name: float(end) - float(start) for name, (start, end) in times.items()}


def _count_breakfast(dataset: Dataset) -> dict[str, int]:
    persons, activities = zip(*map(breakfast.name_parts, dataset.video_ids), strict=True)
    return count(dataset) | {"activities": len(set(activities)), "persons": len(set(persons))}


def _is_multithumos(folder: Path) -> bool:
    official = _holds(multithumos.LABELS_FOLDER, multithumos.CLASSES_FILE)
    return official(folder) or (folder / multithumos.JSON_FILE).exists()


def _has_class_folders(folder: Path) -> bool:
    return any(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir())


#: In the order in which they are looked for; the last needs no annotation files.
KINDS = (
    Kind(
        "charades",
        "Charades",
        lambda folder: any((folder / name).exists() for name in charades.FILES.values()),
        charades.read_charades,
        last_part,
        {
            "classes": 157,
            "train videos": 7985,
            "train videos without labels": 174,
            "test videos": 1863,
            "test videos without labels": 49,
        },
    ),
    Kind(
        "breakfast",
        "Breakfast",
        _holds(breakfast.MAPPING_FILE, breakfast.LABELS_FOLDER),
        breakfast.read_breakfast,
        breakfast.name_on_disk,
        {
            "classes": 48,
            "activities": 10,
            "persons": 52,
            "videos": 1712,
            "train videos": 1357,
            "test videos": 355,
        },
        count=_count_breakfast,
    ),
    Kind(
        "multithumos",
        "MultiTHUMOS",
        _is_multithumos,
        multithumos.read_multithumos,
        last_part,
        {"classes": 65, "videos": 413, "train videos": 200, "test videos": 213},
    ),
    Kind(
        "kinetics",
        "Kinetics-400",
        lambda folder: bool(_csv_with(folder, kinetics.COLUMNS)),
        lambda folder: kinetics.read_kinetics(_csv_with(folder, kinetics.COLUMNS)),
        last_part,
        {"classes": 400},
        _clip_seconds,
    ),
    Kind(
        "csv",
        "CSV of videos and labels",
        lambda folder: bool(_csv_with(folder, ("path", "labels"))),
        lambda folder: from_csv(_only(folder, ("path", "labels"))),
    ),
    Kind(
        "timed",
        "CSV of timed actions",
        lambda folder: bool(_csv_with(folder, TIMED_COLUMNS)),
        lambda folder: read_timed(_only(folder, TIMED_COLUMNS)),
    ),
    Kind("folder", "a folder a class", _has_class_folders, from_folder),
)
