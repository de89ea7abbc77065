"""One label per frame, as the data sets of action segmentation are distributed.

Source: the folders of 50Salads, GTEA and Breakfast in the release of MS-TCN (Abu Farha and Gall,
CVPR 2019): ``mapping.txt``, ``groundTruth/VIDEO.txt`` and ``splits/{train,test}.splitK.bundle``.
"""

from __future__ import annotations

from pathlib import Path

from timeception import checks
from timeception.datasets.kind import DatasetKind, last_part
from timeception.datasets.records import TimedDataset, TimedVideo
from timeception.datasets.rows import read_class_list, read_lines
from timeception.datasets.timed import intervals_of_frames

MAPPING_FILE, LABELS_FOLDER, SPLITS_FOLDER = "mapping.txt", "groundTruth", "splits"
FPS = 15.0


def read_frame_labels(folder: str | Path, fps: float = FPS, split: int = 1) -> TimedDataset:
    """Read one label per frame, and a split.

    Args:
        folder: contains ``mapping.txt`` (``0 take`` lines), ``groundTruth/VIDEO.txt`` (the label of
            one frame per line) and, for splits, ``splits/train.split1.bundle`` and the like (a
            ``VIDEO.txt`` per line).
        fps: frames per second of the labels.
        split: number of the split; without the folder ``splits``, videos are in no split.

    Returns:
        Classes in the order of the mapping, the background included.

    Raises:
        ValueError: if a line has an unknown label, or a split names an unknown video; the error
            lists each file and line.
    """
    folder = Path(folder)
    classes = read_class_list(folder / MAPPING_FILE, str)
    must = "hold 'index name' lines"
    checks.require(bool(classes), f"{folder / MAPPING_FILE}", must, "none")
    files = sorted((folder / LABELS_FOLDER).glob("*.txt"))
    checks.require(bool(files), f"{folder / LABELS_FOLDER}", "hold label files", "none")
    names = {file.stem for file in files}
    splits = _read_splits(folder / SPLITS_FOLDER, split, names)
    videos = []
    for file in files:
        labels = read_lines(file, lambda line: str(checks.one_of("label", line, classes)))
        checks.require(bool(labels), f"{file}", "hold a label for every frame", "an empty file")
        intervals, seconds = intervals_of_frames(labels, fps), len(labels) / fps
        videos.append(
            TimedVideo(file.stem, intervals, splits.get(file.stem, ""), duration_seconds=seconds)
        )
    return TimedDataset(folder.name or "frame labels", tuple(classes), tuple(videos))


def _read_splits(folder: Path, number: int, names: set[str]) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    found: dict[str, str] = {}
    for split in ("train", "test"):
        file = folder / f"{split}.split{number}.bundle"

        def parse(line: str, split: str = split) -> None:
            name = line.strip().removesuffix(".txt")
            checks.require(name in names, "video", f"have a file in {LABELS_FOLDER}", name)
            other = found.setdefault(name, split)
            checks.require(other == split, f"split of {name}", "be one", [other, split])

        read_lines(file, parse)
    return found


def _is_in(folder: Path) -> bool:
    """Whether a folder has the files; one of Breakfast has the same, and its own kind."""
    has_labels = (folder / LABELS_FOLDER).is_dir() and (folder / MAPPING_FILE).is_file()
    return has_labels and (folder / SPLITS_FOLDER).is_dir()


KIND = DatasetKind(
    "frame_labels",
    read_frame_labels,
    title="one label per frame",
    files=f"{MAPPING_FILE}, {LABELS_FOLDER}/ and {SPLITS_FOLDER}/",
    is_in=_is_in,
    name_of=last_part,
    is_general=True,
)
