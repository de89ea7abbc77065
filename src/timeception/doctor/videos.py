"""Checks of a folder of videos and its annotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timeception.datasets.check import check_folder
from timeception.datasets.records import VideoRecord
from timeception.datasets.registry import read_videos, recognise
from timeception.datasets.video_files import find_videos
from timeception.doctor.advice import Advice, Track, examples
from timeception.doctor.banks import FPS_RATIO, check_rates, equal_groups
from timeception.files import sha256_of_file
from timeception.inference.saved_model import SavedModel
from timeception.video import VideoError, VideoInfo, probe

_TIMESTEP_RATIO = 2.0

#: Cure by the beginning of a finding of ``timeception data check``.
_CURES = {
    "missing": "Add the files, or remove them from the annotations.",
    "extra": "Annotate them, or move them away.",
    "duplicate ids": "Keep one file for each video.",
    "videos that cannot": "Download or export them again, or leave them out.",
    "durations": "Check that annotations and files are of the same version of the videos.",
    "actions after": "Check that annotations and files are of the same version of the videos.",
    "classes": "Add videos of them, or set data.exclude_classes.",
}


@dataclass(frozen=True)
class Trained:
    """A model, and the median frame rate of its training videos if their bank is at hand."""

    model: SavedModel
    frame_rate: float | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of each readable video: its properties, and the hash of its content."""

    info: dict[str, VideoInfo]
    sha256: dict[str, str]


def read_facts(files: Mapping[str, Path], track: Track = iter) -> Facts:
    """Open and hash each video; those that cannot be read are left out."""
    info, hashes = {}, {}
    for name, path in track(list(files.items())):
        hashes[name] = sha256_of_file(path)
        try:
            info[name] = probe(path)
        except VideoError:
            continue
    return Facts(info, hashes)


def check_videos(folder: Path, models: Sequence[Trained], track: Track = iter) -> Iterator[Advice]:
    """Check a folder of videos, with annotations or without, and against given models."""
    place = f"videos {folder}"
    try:
        files = find_videos(folder)
    except ValueError as error:
        yield Advice("duplicate-id", place, str(error), "Keep one file for each video.")
        return
    facts = read_facts(files, track)
    records = _records(folder, files)
    if records is None:
        broken = sorted(files.keys() - facts.info.keys())
        if broken:
            what = f"videos cannot be read ({examples(broken)})"
            yield Advice("unreadable", place, what, _CURES["videos that cannot"])
    else:
        report = check_folder(folder, seconds_of=lambda path: probe(path).duration_seconds)
        for finding in report.findings:
            if finding.is_problem:
                starts = (cure for key, cure in _CURES.items() if finding.what.startswith(key))
                cure = next(starts, f"See timeception data check {folder}.")
                what = f"{finding.what} ({examples(finding.items)})"
                yield Advice("data", place, what, cure)
    yield from _about_copies(place, facts.sha256, records or {})
    yield from check_rates(place, [found.fps for found in facts.info.values()])
    for trained in models:
        yield from _against_model(place, facts.info, trained)


def _records(folder: Path, files: Mapping[str, Path]) -> dict[str, VideoRecord] | None:
    """Record of each file; ``None`` if the folder holds no annotations of a known kind."""
    try:
        kind, source = recognise(folder)
        dataset = read_videos(kind.name, source, files)
    except ValueError:
        return None
    return {record.video_id: record for record in dataset.records}


def _about_copies(
    place: str, hashes: Mapping[str, str], records: Mapping[str, VideoRecord]
) -> Iterator[Advice]:
    copies = equal_groups(hashes)
    for code, trait, words, cure in (
        ("duplicate-leak", "split", "splits", "Keep one of each: the test would be too easy."),
        ("contradiction", "labels", "labels", "Keep the one with the right label."),
    ):
        differ = [
            " = ".join(names)
            for names in copies
            if len({getattr(records[n], trait) for n in names if n in records}) > 1
        ]
        if differ:
            what = f"files of equal content have different {words} ({examples(differ)})"
            yield Advice(code, place, what, cure)
    if copies:
        what = f"files have equal content ({examples([' = '.join(names) for names in copies])})"
        yield Advice("duplicate", place, what, "Keep one of each.")


def _against_model(place: str, info: Mapping[str, VideoInfo], trained: Trained) -> Iterator[Advice]:
    """Compare frame rate and length with those of training."""
    if not info:
        return
    model, usual = trained.model, trained.frame_rate
    rate = float(np.median([found.fps for found in info.values()]))
    is_by_frames = "stride" in model.features
    if usual and is_by_frames and not 1 / FPS_RATIO <= rate / usual <= FPS_RATIO:
        what = (
            f"videos have {rate:g} frames per second, those that {model.folder} was trained on "
            f"{usual:g}, and its timesteps are {model.features['stride']} frames apart"
        )
        cure = "Convert the videos to that frame rate, or train on a bank made with --fps."
        yield Advice("frame-rate", place, what, cure)
    seconds = float(np.median([found.duration_seconds for found in info.values()]))
    step, before = seconds / model.n_timesteps, model.timestep_seconds
    if before and model.window_steps is None:
        ratio = step / before
        if not 1 / _TIMESTEP_RATIO <= ratio <= _TIMESTEP_RATIO:
            what = (
                f"videos last {seconds:.1f} s (median), so that a timestep of a clip is "
                f"{step:.2f} s; in training, it was {before:.2f} s"
            )
            cure = "Cut the videos to the length of those in training, or train on such videos."
            yield Advice("length", place, what, cure)
