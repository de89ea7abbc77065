"""Checks of a data set on disk: its annotations, its video files, and how they match."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timeception.datasets.kind import Dataset
from timeception.datasets.records import TimedDataset
from timeception.datasets.registry import Pairing, pair, recognise
from timeception.datasets.video_files import find_videos

DURATION_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True)
class Finding:
    """A kind of irregularity, with all its occurrences.

    Args:
        what: A description, such as ``missing videos``.
        items: The occurrences: ids, files or sentences.
        is_problem: Whether it makes the check fail; otherwise it is for information.
    """

    what: str
    items: tuple[str, ...]
    is_problem: bool = True


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Args:
        kind: Family of the kind of data set.
        folder: The folder with the annotations.
        counts: By name, the count found and that of a complete copy (``None`` if unknown).
        findings: The findings, problems first.
    """

    kind: str
    title: str
    folder: str
    counts: dict[str, tuple[int, int | None]]
    n_video_files: int
    findings: tuple[Finding, ...]

    @property
    def is_ok(self) -> bool:
        """Whether no finding is a problem."""
        return not any(finding.is_problem for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON."""
        return {
            "kind": self.kind,
            "folder": self.folder,
            "is_ok": self.is_ok,
            "counts": {n: {"found": f, "known": k} for n, (f, k) in self.counts.items()},
            "n_video_files": self.n_video_files,
            "findings": [
                {"what": f.what, "is_problem": f.is_problem, "items": list(f.items)}
                for f in self.findings
            ],
        }


def check_folder(
    folder: str | Path,
    videos: str | Path | None = None,
    *,
    seconds_of: Callable[[Path], float] | None = None,
    tolerance_seconds: float = DURATION_TOLERANCE_SECONDS,
    track: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> CheckReport:
    """Check a data set.

    Args:
        folder: Folder with the annotations, whose kind is recognised from the files, or a CSV
            file; official annotations may be one folder below.
        videos: Folder with the video files, searched recursively; ``None`` is the folder of the
            annotations.
        seconds_of: Returns the duration of a video file, or raises ``ValueError`` if it is broken;
            ``None`` does not open the files.
        tolerance_seconds: Largest accepted difference between the durations of a file and of its
            annotation.
        track: Wraps the iteration over the files, for example in a progress bar.

    Raises:
        ValueError: If the folder holds no data set of a known kind.
    """
    kind, annotations = recognise(folder)
    folder = Path(folder)
    place = Path(videos or (folder.parent if folder.is_file() else folder))
    try:
        dataset = kind.read(annotations)
        files = find_videos(place)
    except ValueError as error:
        unreadable = Finding("cannot be read", tuple(str(error).splitlines()))
        return CheckReport(kind.family, kind.title, str(annotations), {}, 0, (unreadable,))
    found = kind.count(dataset)
    names = dict.fromkeys((*found, *kind.known))
    counts = {name: (found.get(name, 0), kind.known.get(name)) for name in names}
    pairing = pair(kind, dataset.video_ids, files)
    findings = [
        *_about_pairing(pairing, place, bool(files)),
        _differing(counts),
        *_about_labels(dataset),
    ]
    if seconds_of is not None:
        paths = {name: files[file_id] for name, file_id in pairing.found.items()}
        lengths = kind.seconds_of(dataset)
        findings += _about_files(dataset, paths, lengths, seconds_of, tolerance_seconds, track)
    held = tuple(sorted((f for f in findings if f.items), key=lambda f: not f.is_problem))
    return CheckReport(kind.family, kind.title, str(annotations), counts, len(files), held)


def _about_pairing(pairing: Pairing, folder: Path, has_files: bool) -> list[Finding]:
    where = f"{folder}; pass --videos FOLDER if they are elsewhere"
    twice = tuple(f"{name}: {', '.join(ids)}" for name, ids in pairing.twice.items())
    return [
        Finding("missing videos", pairing.missing),
        Finding("folder without video files", () if has_files else (where,)),
        Finding("extra videos, not in the annotations", tuple(sorted(pairing.extra))),
        Finding("duplicate ids, several files for one video", twice),
    ]


def _differing(counts: dict[str, tuple[int, int | None]]) -> Finding:
    items = [f"{n}: {f}, known {k}" for n, (f, k) in counts.items() if k is not None and f != k]
    return Finding("counts that differ from the known ones", tuple(items))


def _about_labels(dataset: Dataset) -> list[Finding]:
    """Classes without positives, overall and by split, and actions with invalid times."""
    held: dict[str, set[str]] = {split: set() for split in dataset.splits}
    for item in dataset.entries:
        held[item.split].update(item.labels)
    anywhere = set().union(*held.values())
    absent = tuple(name for name in dataset.classes if name not in anywhere)
    findings = [Finding("classes without positives", absent)]
    for split in filter(None, dataset.splits):
        names = tuple(n for n in dataset.classes if n in anywhere and n not in held[split])
        findings.append(Finding(f"classes without positives in {split}", names, is_problem=False))
    if isinstance(dataset, TimedDataset):
        odd = tuple(
            f"{v.video_id}: {i.label} {i.start_seconds:g} to {i.end_seconds:g} s"
            for v in dataset.videos
            for i in v.intervals
            if i.end_seconds <= i.start_seconds
        )
        findings.append(Finding("actions that do not end after they start", odd, is_problem=False))
    return findings


def _about_files(
    dataset: Dataset,
    paths: dict[str, Path],
    annotated: dict[str, float],
    seconds_of: Callable[[Path], float],
    tolerance_seconds: float,
    track: Callable[[Sequence[Any]], Iterable[Any]],
) -> list[Finding]:
    """Broken files, durations that differ from the annotation, actions after the end."""
    starts: dict[str, float] = {}
    if isinstance(dataset, TimedDataset):
        for video in dataset.videos:
            starts[video.video_id] = max((i.start_seconds for i in video.intervals), default=0.0)
    broken, differing, late = [], [], []
    for name, path in track(list(paths.items())):
        try:
            seconds = seconds_of(path)
        except ValueError as error:
            broken.append(str(error))
            continue
        expected = annotated.get(name, seconds)
        if abs(expected - seconds) > tolerance_seconds:
            differing.append(f"{name}: file {seconds:.2f} s, annotation {expected:.2f} s")
        if starts.get(name, 0.0) > seconds + tolerance_seconds:
            late.append(f"{name}: action at {starts[name]:.2f} s, file ends at {seconds:.2f} s")
    return [
        Finding("videos that cannot be read", tuple(broken)),
        Finding("durations that disagree with the files", tuple(differing)),
        Finding("actions after the end of the file", tuple(late)),
    ]
