"""The registry of data sets: each is one file, which defines its kind, and one line here.

Other packages register theirs with ``register``, from the entry-point group
``timeception.datasets``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from timeception import checks, plugins
from timeception.datasets import (
    breakfast,
    charades,
    folder,
    frame_labels,
    kinetics,
    multithumos,
    names,
    table,
    timed,
)
from timeception.datasets.kind import DatasetKind
from timeception.datasets.records import TimedDataset, VideoDataset
from timeception.datasets.rows import has_columns

ENTRY_POINT_GROUP = "timeception.datasets"

_KINDS: dict[str, DatasetKind] = {}


def register(kind: DatasetKind) -> None:
    """Make a kind of data set available to recipes and to ``timeception data check``.

    Raises:
        ValueError: If another kind has its name.
    """
    checks.require(kind.name not in _KINDS, "name", "be new in the registry", kind.name)
    _KINDS[kind.name] = kind


for _kind in (
    charades.KIND,
    breakfast.ACTIONS_KIND,
    breakfast.ACTIVITIES_KIND,
    multithumos.KIND,
    kinetics.KIND,
    table.KIND,
    timed.KIND,
    frame_labels.KIND,
    folder.KIND,
    names.KIND,
):
    register(_kind)


def kinds() -> tuple[DatasetKind, ...]:
    """All kinds, including those of other packages, in the order of recognition."""
    plugins.load(ENTRY_POINT_GROUP)
    return tuple(sorted(_KINDS.values(), key=lambda kind: kind.is_general))


def find_kind(name: str) -> DatasetKind:
    """Return the kind of a name.

    Raises:
        ValueError: If no kind has it; the error lists the names.
    """
    if name not in _KINDS:
        plugins.load(ENTRY_POINT_GROUP)
    return _KINDS[checks.one_of("kind of data set", name, tuple(_KINDS))]


def read_videos(
    name: str, source: str | Path, available_ids: Iterable[str] | None = None, pattern: str = ""
) -> VideoDataset:
    """Read the video-level labels of a data set.

    Args:
        name: The kind, such as ``charades`` or ``csv``.
        source: The folder or file with the annotations.
        available_ids: Ids of available videos or features, such as ``bank.video_ids``. Records
            whose video is available, in whichever folder, get its id; the others keep the name in
            the annotations. ``None`` keeps all names.
        pattern: The regular expression of ``names``.

    Raises:
        ValueError: If the name is unknown, the files are malformed, or several available ids
            belong to one video.
    """
    kind, source, ids = find_kind(name), Path(source), tuple(available_ids or ())
    dataset = kind.read(source, ids, pattern) if kind.reads_ids else kind.read(source)
    videos = dataset.to_videos() if isinstance(dataset, TimedDataset) else dataset
    if available_ids is None:
        return videos
    pairing = pair(kind, videos.video_ids, ids)
    twice = [f"{name}: {', '.join(ids)}" for name, ids in pairing.twice.items()]
    checks.require(not twice, "available_ids", "have one id a video", twice[:5])
    return videos.renamed(pairing.found)


def read_timed_videos(
    name: str, source: str | Path, available_ids: Iterable[str] | None = None
) -> TimedDataset:
    """Read the timed actions of a data set; arguments and names as in ``read_videos``.

    Raises:
        ValueError: If annotations of this kind have no times.
    """
    kind = find_kind(name)
    timed = None if kind.reads_ids else kind.read(Path(source))
    if not isinstance(timed, TimedDataset):
        advice = "Use kind timed or frame_labels, or the files of a data set with timed actions."
        raise ValueError(checks.problem("data.kind", "have timed actions", name, advice))
    if available_ids is None:
        return timed
    return timed.renamed(pair(kind, timed.video_ids, tuple(available_ids)).found)


@dataclass(frozen=True)
class Pairing:
    """Annotated videos matched with available files or features.

    Args:
        found: Id of the file by the annotations' name.
        missing: Names without a file.
        extra: Files without annotations.
        twice: Files by name, where several have one name.
    """

    found: dict[str, str]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    twice: dict[str, tuple[str, ...]]


def pair(kind: DatasetKind, names: Iterable[str], file_ids: Iterable[str]) -> Pairing:
    """Find the file of each annotated video, wherever it lies below the videos' folder.

    File ids are paths below that folder without suffix, or ids of a feature bank.
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


def recognise(root: str | Path) -> tuple[DatasetKind, Path]:
    """Determine the kind of data set in a folder or of a CSV file, and where its annotations are.

    The annotation files of a published data set may also lie in a folder directly below, as
    archives unpack (``Charades/Charades_v1_train.csv`` beside ``Charades_v1_480/``).

    Raises:
        ValueError: If it holds none; the error lists the files that are looked for.
    """
    root = Path(root)
    if root.is_file():
        return _recognise_file(root), root
    checks.require(root.is_dir(), "folder", "be an existing folder", str(root))
    by_files = [kind for kind in kinds() if kind.is_in and kind != folder.KIND]
    below = sorted(path for path in root.iterdir() if path.is_dir())
    places = [(kind, root) for kind in by_files]
    places += [(kind, path) for path in below for kind in by_files if not kind.is_general]
    for kind, place in (*places, (folder.KIND, root)):
        if kind.is_in and kind.is_in(place):
            return kind, place
    known = "; ".join(f"{kind.title} ({kind.files})" for kind in kinds() if kind.files)
    must = "hold annotations of a known kind"
    raise ValueError(checks.problem("folder", must, str(root), f"Known: {known}."))


def _recognise_file(file: Path) -> DatasetKind:
    """Determine which kind of data set a CSV file is, by its columns."""
    tables = [kind for kind in kinds() if kind.columns]
    for kind in tables if file.suffix.lower() == ".csv" else ():
        if has_columns(file, kind.columns):
            return kind
    columns = " or ".join(",".join(kind.columns) for kind in tables)
    must = f"be a folder, or a CSV file with the columns {columns}"
    raise ValueError(checks.problem("annotations", must, str(file)))
