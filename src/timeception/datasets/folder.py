"""One folder per class: ``FOLDER/LABEL/video.mp4`` or ``FOLDER/SPLIT/LABEL/video.mp4``."""

from __future__ import annotations

import re
from pathlib import Path

from timeception import checks
from timeception.datasets.kind import DatasetKind
from timeception.datasets.records import VideoDataset, VideoRecord
from timeception.datasets.video_files import find_videos

#: Top folders are splits if all of them have one of these names.
SPLIT_NAMES = ("train", "training", "val", "valid", "validation", "test", "testing")
#: Names of folders that hold one person's videos, such as ``P01`` and ``subject_3``.
_SUBJECT = re.compile(
    r"(p|s|id|subj|subject|person|participant|actor|user|volunteer)[ _-]?\d+", re.IGNORECASE
)
_SAME_SPLIT = {"training": "train", "val": "validation", "valid": "validation", "testing": "test"}


def split_name(name: str) -> str:
    """Return the standard name of a split: ``val`` and ``valid`` become ``validation``.

    Example:
        >>> split_name("val"), split_name("Training"), split_name("fold_1")
        ('validation', 'train', 'fold_1')
    """
    return _SAME_SPLIT.get(name.lower(), name.lower() if name.lower() in SPLIT_NAMES else name)


def from_folder(folder: str | Path) -> VideoDataset:
    """Read single-label data from folders named by class.

    If every top folder is named like a split (``train``, ``val``, ``test``, ...), classes are the
    folders below. Subfolders of a class belong to it. Hidden files and files that are not videos
    are ignored.

    Returns:
        Classes sorted by name; a video's id is its path below ``folder`` without the suffix.

    Raises:
        ValueError: If there are fewer than two classes, a class has no videos, or a video is not
            in a class folder, or the folders look like subjects with a folder per class.
    """
    folder = Path(folder)
    _refuse_subjects(folder)
    videos = find_videos(folder)
    tops = sorted(path.name for path in _subfolders(folder))
    has_splits = bool(tops) and all(name.lower() in SPLIT_NAMES for name in tops)
    depth = 1 if has_splits else 0
    stray = [name for name in videos if name.count("/") <= depth]
    must = f"be in folders named by class ({'SPLIT/LABEL/video' if has_splits else 'LABEL/video'})"
    advice = "Or name the classes in a CSV file with the columns path,labels."
    checks.require(not stray, f"{folder}: videos", must, stray[:5], advice)
    records = []
    for name, path in videos.items():
        top, *below = name.split("/")
        label, split = (below[0], split_name(top)) if has_splits else (top, "")
        records.append(VideoRecord(name, (label,), split, path=str(path)))
    parents = _subfolders(folder) if has_splits else [folder]
    classes = sorted({path.name for parent in parents for path in _subfolders(parent)})
    advice = "Put the videos of each class into a folder named after the class."
    checks.require(len(classes) >= 2, f"{folder}: classes", "be at least two", classes, advice)
    empty = sorted(set(classes) - {record.labels[0] for record in records})
    advice = "Remove or fill them."
    checks.require(not empty, f"{folder}: class folders", "hold videos", empty, advice)
    name = folder.resolve().name
    return VideoDataset(name, tuple(classes), tuple(records), is_multilabel=False)


def _refuse_subjects(folder: Path) -> None:
    """Refuse folders named like subjects whose subfolders have the same names: the classes."""
    tops = _subfolders(folder)
    if len(tops) < 2 or not all(_SUBJECT.fullmatch(top.name) for top in tops):
        return
    below = [{path.name for path in _subfolders(top)} for top in tops]
    shared = sorted(name for name in set().union(*below) if sum(name in b for b in below) > 1)
    if shared:
        names = ", ".join(sorted(top.name for top in tops)[:3])
        raise ValueError(
            f"{folder}: the folders {names}, ... look like subjects, not classes: several contain "
            f"the subfolders {', '.join(shared[:3])}. To use the subfolders as classes, set "
            "data.kind=names data.pattern='^[^/]+/(?P<label>[^/]+)/' "
            "data.group='^(?P<subject>[^/]+)/'. If the folders are classes, set data.kind=names "
            "data.pattern='^(?P<label>[^/]+)/'. Or name the classes in a CSV file with the columns "
            "path,labels."
        )


def _subfolders(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]


KIND = DatasetKind(
    "folder",
    from_folder,
    title="a folder per class",
    files="LABEL/video",
    is_in=lambda folder: bool(_subfolders(folder)),
    is_general=True,
)
