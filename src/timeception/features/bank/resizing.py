"""A bank with smaller maps, averaged from the maps of another bank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from timeception import checks
from timeception.features.bank.sources import new_bank_kept_if_filled
from timeception.features.bank.storage import BankError
from timeception.features.bank.store import FeatureBank
from timeception.features.maps import average_maps

_STEPS_AT_ONCE = 256
_ADDED = ("settings_fingerprint", "timeception_version")  # to every provenance, by the bank

#: Wraps the iteration over ids, to show progress.
Track = Callable[[Sequence[str]], Iterable[str]]


@dataclass
class ResizeReport:
    """The ids of the videos that were averaged, that were done already, and that failed."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return dict(vars(self))


def resize_bank(
    source: FeatureBank, out: str | Path, map_size: tuple[int, int], *, track: Track = iter
) -> ResizeReport:
    """Average the maps of every video of a bank into another bank.

    The provenance of each video is kept; the settings of the new bank name the map size. An
    interrupted run continues where it stopped, and the same bank gives the same bytes. Damaged
    files are reported and skipped.

    Args:
        source: The bank, which stays as it is.
        out: Folder of the new bank; created, or continued.
        map_size: Height and width of the new maps.
        track: Shows progress.

    Raises:
        ValueError: If the bank is empty or its maps are smaller, ``out`` is the same bank or has
            other settings, or the maps were averaged before: averaging them again would differ
            from the averages that the backbone's own maps give in prediction.
    """
    size = (
        checks.positive_int("map_size", map_size[0]),
        checks.positive_int("map_size", map_size[1]),
    )
    _check(source, Path(out), size)
    settings = {**source.settings, "map_size": list(size)}
    report = ResizeReport()
    with new_bank_kept_if_filled(out):
        bank = FeatureBank(out, mode="a", settings=settings)
        for video_id in track(source.video_ids):
            try:
                is_done = _is_done(source, bank, video_id)
                if not is_done:
                    _average(source, bank, video_id, size)
            except (ValueError, OSError) as error:
                report.failed[video_id] = str(error)
            else:
                (report.skipped if is_done else report.done).append(video_id)
        for video_id, failure in source.failures.items():
            bank.record_failure(video_id, failure["path"], failure["error"])
    return report


def _check(source: FeatureBank, out: Path, size: tuple[int, int]) -> None:
    advice = "Choose another --out."
    is_other = out.resolve() != source.root.resolve()
    checks.require(is_other, "out", "be another folder than the bank's", str(out), advice)
    checks.require(bool(len(source)), f"bank {source.root}", "hold videos", "none")
    before = source.settings.get("map_size")
    is_full = before is None or not source.settings.get("backbone")
    checks.require(
        is_full or list(before or ()) == list(size),
        f"bank {source.root}",
        "hold the backbone's full maps",
        "maps averaged to " + "x".join(map(str, before or ())),
        f"Set sampling.map_size=[{size[0]},{size[1]}] in the recipe to average these maps in "
        f"training and prediction, or extract with --map-size {size[0]}x{size[1]}.",
    )


def _is_done(source: FeatureBank, bank: FeatureBank, video_id: str) -> bool:
    """Whether the new bank holds the video, made from the same features."""
    file = source.file(video_id)
    try:
        made = bank.file(video_id)
    except (KeyError, BankError):  # absent, or damaged
        return False
    ours, theirs = (
        (each.metadata["fps"], _origin(each.metadata), each.shape[:2]) for each in (made, file)
    )
    return ours == theirs


def _origin(metadata: Mapping[str, Any]) -> dict[str, Any]:
    provenance = metadata["provenance"]
    return {name: value for name, value in provenance.items() if name not in _ADDED}


def _average(source: FeatureBank, bank: FeatureBank, video_id: str, size: tuple[int, int]) -> None:
    file = source.file(video_id)
    n_steps, channels, _, _ = file.shape
    starts, fps = file.start_frames(), file.metadata["fps"]
    shape = (n_steps, channels, *size)
    with bank.begin(video_id, shape, starts, fps, _origin(file.metadata)) as pending:
        for first in range(0, n_steps, _STEPS_AT_ONCE):
            part = file.features(slice(first, first + _STEPS_AT_ONCE))
            pending.put(first, average_maps(np.asarray(part, dtype=np.float32), size))
        pending.commit()
