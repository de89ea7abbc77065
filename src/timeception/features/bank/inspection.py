"""Statistics and checks of a bank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timeception.features.bank.sources import (
    SourceFile,
    array_sources,
    describe_file,
    video_sources,
)
from timeception.features.bank.storage import BankError, BankFile
from timeception.features.bank.store import FeatureBank, timesteps_per_second
from timeception.features.extraction.settings import has_2019_segments

_STEPS_AT_ONCE = 256

#: Wraps the iteration over ids, to show progress.
Track = Callable[[Sequence[str]], Iterable[str]]


def statistics(bank: FeatureBank) -> dict[str, Any]:
    """Return counts, shapes, size and origin of a bank's features as JSON. Reads only headers."""
    files, damaged = [], {}
    for video_id in bank:
        try:
            files.append(bank.file(video_id))
        except BankError as error:
            damaged[video_id] = str(error)
    steps = [file.shape[0] for file in files]
    maps = Counter("x".join(map(str, file.shape[1:])) for file in files)
    rate = timesteps_per_second(bank.settings)
    seconds = sum(_seconds(file, rate) for file in files)
    return {
        "root": str(bank.root),
        "n_videos": len(files) + len(damaged),
        "n_steps": sum(steps),
        "n_steps_least": min(steps, default=0),
        "n_steps_most": max(steps, default=0),
        "hours": seconds / 3600,
        "maps": dict(maps.most_common()),
        "dtype": bank.dtype,
        "n_bytes": sum(file.path.stat().st_size for file in files),
        "settings": bank.settings,
        "fingerprint": bank.fingerprint,
        "failures": bank.failures,
        "damaged": damaged,
    }


def inspect(
    bank: FeatureBank, sources: Sequence[str | Path] = (), track: Track = iter
) -> dict[str, str]:
    """Read a whole bank and return the first error of each bad video, by id.

    Checks that every file can be read, has the bank's settings and the same number of channels as
    the others, finite numbers and ascending start frames.

    Args:
        bank: The bank.
        sources: The files from which the features were made. If given, their content is compared,
            and each must be in the bank or among its failures.
        track: Shows progress.
    """
    findings: dict[str, str] = {}
    find = array_sources if bank.settings.get("kind") == "import" else video_sources
    by_id = {source.video_id: source for source in find(sources)} if sources else {}
    n_channels = _usual_channels(bank)
    is_timed = timesteps_per_second(bank.settings) is not None
    may_repeat = is_timed or has_2019_segments(bank.settings)
    for video_id in track(bank.video_ids):
        try:
            file = bank.file(video_id)
            found = _finding(file, n_channels, may_repeat)
        except (ValueError, OSError) as error:
            found = str(error)
        else:
            if not found and sources:
                found = _source_finding(file.metadata["provenance"], by_id.get(video_id))
        if found:
            findings[video_id] = found
    for video_id in sorted(by_id.keys() - set(bank) - bank.failures.keys()):
        findings[video_id] = f"{by_id[video_id].path} is not in the bank."
    return findings


def _finding(file: BankFile, n_channels: int, may_repeat: bool) -> str:
    if file.shape[1] != n_channels:
        return f"has {file.shape[1]} channels; others have {n_channels}."
    starts = file.start_frames()
    steps = np.diff(starts)
    if starts[0] < 0 or np.any(steps < 0 if may_repeat else steps <= 0):
        return "has start frames that do not ascend."
    for step in range(0, file.shape[0], _STEPS_AT_ONCE):
        part = file.features(slice(step, step + _STEPS_AT_ONCE))
        is_finite = np.isfinite(part).all(axis=(1, 2, 3))
        if not is_finite.all():
            return f"has numbers that are not finite at step {step + int(is_finite.argmin())}."
    return ""


def _source_finding(provenance: Mapping[str, Any], source: SourceFile | None) -> str:
    made_from = provenance.get("source", {})
    if source is None:
        return f"was made from {made_from.get('name')!r}, which is not among the files given."
    if describe_file(source.path)["sha256"] != made_from.get("sha256"):
        return f"was made from another version of {source.path}."
    return ""


def _usual_channels(bank: FeatureBank) -> int:
    counts: Counter[int] = Counter()
    for video_id in bank:
        try:
            counts[bank.file(video_id).shape[1]] += 1
        except BankError:  # reported when it is checked
            continue
    return counts.most_common(1)[0][0] if counts else 0


def _seconds(file: BankFile, rate: float | None) -> float:
    """Time from the start of the first step to the start of the last one.

    Args:
        file: The features.
        rate: Steps per second, if they were sampled by time.
    """
    if rate is not None:
        return (file.shape[0] - 1) / rate
    starts = file.start_frames()
    return float(starts[-1] - starts[0]) / float(file.metadata["fps"])
