"""Breakfast: 10 activities of 48 unit actions, from a label for every frame.

Source: Kuehne, Arslan, Serre, "The Language of Actions", CVPR 2014; the files ``mapping*.txt`` and
``groundTruth/*.txt`` as distributed with the action-segmentation benchmarks.
"""

from __future__ import annotations

import re
from pathlib import Path

from timeception import checks
from timeception.datasets.kind import Dataset, DatasetKind, count
from timeception.datasets.records import TimedDataset, TimedVideo, VideoDataset, VideoRecord
from timeception.datasets.rows import raise_bad, read_class_list, read_lines
from timeception.datasets.timed import intervals_of_frames

FPS = 15.0
MAPPING_FILES = "mapping*.txt"  # copies also call it mapping_bf.txt
LABELS_FOLDER = "groundTruth"
ACTIVITIES = (
    *("cereals", "coffee", "friedegg", "juice", "milk"),
    *("pancake", "salat", "sandwich", "scrambledegg", "tea"),
)
FIRST_PERSON, FIRST_TEST_PERSON, LAST_PERSON = 3, 47, 54

_NAME = re.compile(r"P(?P<person>\d\d)_[a-z]+\d\d_P(?P=person)_(?P<activity>[a-z]+)")
_ON_DISK = re.compile(r"(?:.*/)?(P\d\d)/([a-z]+\d*)/(\1_[a-z]+?)(_ch[01])?")


def read_breakfast(folder: str | Path) -> TimedDataset:
    """Read the unit actions: 48-way multi-label, including the background (``SIL``).

    Persons P03 to P46 are the training split, P47 to P54 the test split.

    Args:
        folder: Contains ``mapping.txt``, or one other ``mapping*.txt``, with ``index name`` lines,
            and ``groundTruth/NAME.txt`` with the label of one frame per line, at 15 frames per
            second.

    Returns:
        Classes in the order of the mapping; ids such as ``P03_cam01_P03_cereals``.

    Raises:
        ValueError: If a line has an unknown label, or a file name an unknown person or activity;
            the error lists each file and line.
    """
    folder = Path(folder)
    mapping = _mapping_file(folder)
    classes = read_class_list(mapping, str)
    checks.require(bool(classes), f"{mapping}", "hold 'index name' lines", "none")
    videos = tuple(_read_labels(file, classes) for file in _label_files(folder))
    return TimedDataset("breakfast", tuple(classes), videos)


def read_breakfast_activities(folder: str | Path) -> VideoDataset:
    """Read the activities: 10-way single-label. Only the names of the label files are used.

    Raises:
        ValueError: If a file name has an unknown person or activity.
    """
    names = [file.stem for file in _label_files(Path(folder))]
    records = tuple(VideoRecord(n, (name_parts(n)[1],), split_of(n)) for n in names)
    return VideoDataset("breakfast activities", ACTIVITIES, records, is_multilabel=False)


def _mapping_file(folder: Path) -> Path:
    """Return ``mapping.txt``, or the only other file of the form ``mapping*.txt``."""
    usual, found = folder / "mapping.txt", sorted(folder.glob(MAPPING_FILES))
    if usual in found or not found:
        return usual  # if it is missing, the error names it
    names = [file.name for file in found]
    advice = "Rename the right one to mapping.txt."
    checks.require(len(found) == 1, f"{folder}", f"hold one {MAPPING_FILES}", names, advice)
    return found[0]


def name_parts(name: str) -> tuple[int, str]:
    """Return the person and the activity in a video's name.

    Raises:
        ValueError: If the name has another form, or the person or activity is unknown.

    Example:
        >>> name_parts("P03_cam01_P03_cereals")
        (3, 'cereals')
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(checks.problem("video", "be named like P03_cam01_P03_cereals", name))
    person = int(match["person"])
    is_known = FIRST_PERSON <= person <= LAST_PERSON
    checks.require(is_known, f"person of {name}", "be one of P03 to P54", match["person"])
    checks.one_of(f"activity of {name}", match["activity"], ACTIVITIES)
    return person, match["activity"]


def split_of(name: str) -> str:
    """Return the split of a video: ``train`` for persons up to P46, ``test`` from P47.

    Example:
        >>> split_of("P46_webcam01_P46_tea"), split_of("P47_webcam01_P47_tea")
        ('train', 'test')
    """
    return "train" if name_parts(name)[0] < FIRST_TEST_PERSON else "test"


def name_on_disk(video_id: str) -> str | None:
    """Return a video's name for its path in the official folders, or the last part of other paths.

    The stereo camera has two files per video, ``_ch0`` and ``_ch1``. The labels are for ``_ch1``;
    ``_ch0`` gives ``None``.

    Example:
        >>> name_on_disk("P03/cam01/P03_cereals"), name_on_disk("P12/stereo/P12_tea_ch1")
        ('P03_cam01_P03_cereals', 'P12_stereo01_P12_tea')
        >>> name_on_disk("videos/P03_cam01_P03_cereals")
        'P03_cam01_P03_cereals'
    """
    match = _ON_DISK.fullmatch(video_id)
    if match is None:
        return video_id.rsplit("/", 1)[-1]
    person, camera, name, channel = match.groups()
    if channel == "_ch0":
        return None
    return f"{person}_{'stereo01' if camera == 'stereo' else camera}_{name}"


def _read_labels(file: Path, classes: list[str]) -> TimedVideo:
    labels = read_lines(file, lambda line: str(checks.one_of("label", line, classes)))
    checks.require(bool(labels), f"{file}", "hold a label for every frame", "an empty file")
    intervals, seconds = intervals_of_frames(labels, FPS), len(labels) / FPS
    return TimedVideo(file.stem, intervals, split_of(file.stem), duration_seconds=seconds)


def _label_files(folder: Path) -> list[Path]:
    files = sorted((folder / LABELS_FOLDER).glob("*.txt"))
    checks.require(bool(files), f"{folder / LABELS_FOLDER}", "hold label files", "none")
    bad = []
    for file in files:
        try:
            name_parts(file.stem)
        except ValueError as error:
            bad.append(str(error))
    raise_bad(LABELS_FOLDER, bad)
    return files


def _count(dataset: Dataset) -> dict[str, int]:
    persons, activities = zip(*map(name_parts, dataset.video_ids), strict=True)
    return count(dataset) | {"activities": len(set(activities)), "persons": len(set(persons))}


def _is_in(folder: Path) -> bool:
    """Whether a folder has the files; those of other data sets have other names."""
    labels = (folder / LABELS_FOLDER).glob("*.txt")
    return any(folder.glob(MAPPING_FILES)) and any(_NAME.fullmatch(file.stem) for file in labels)


ACTIONS_KIND = DatasetKind(
    "breakfast_actions",
    read_breakfast,
    protocol="breakfast_actions",
    title="Breakfast",
    files=f"{MAPPING_FILES} and {LABELS_FOLDER}/",
    is_in=_is_in,
    name_of=name_on_disk,
    known={"classes": 48, "activities": 10, "persons": 52}
    | {"videos": 1712, "train videos": 1357, "test videos": 355},
    count=_count,
    family="breakfast",
)
ACTIVITIES_KIND = DatasetKind(
    "breakfast_activities",
    read_breakfast_activities,
    protocol="breakfast_activities",
    name_of=name_on_disk,
    family="breakfast",
)
