"""Checks of a feature bank: its files, the values and the order of its features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception.doctor.advice import Advice, Track, examples
from timeception.features.bank import FeatureBank
from timeception.features.bank.inspection import inspect
from timeception.features.bank.store import timesteps_per_second

_PARTS = 4  # of a video, whose means distinguish videos
_STEPS_READ = 256  # evenly spread, or successive ones for the order
_SAME = 0.1  # distance of near-identical videos, relative to that of other videos
_SHUFFLED = 0.9  # successive steps that differ as much as any others
_SMOOTH = 0.7
_RANGE = 5.0  # factor by which values of one bank may differ
FPS_RATIO = 1.25  # between frame rates that count as equal


@dataclass(frozen=True)
class VideoSummary:
    """What is remembered of the features of one video.

    Args:
        parts: Mean of each quarter of the video, (4 * C,), which distinguishes videos.
        rms: Root mean square of the values.
        change: Largest minus smallest value over time, averaged over channels; 0 if constant.
        roughness: Difference of successive steps relative to that of any two steps; about 1 if
            the order of steps is random, ``None`` if it has too few steps.
        sha256: Hash of the source file, if recorded.
    """

    parts: NDArray[np.float32]
    rms: float
    change: float
    roughness: float | None
    fps: float
    n_steps: int
    sha256: str | None


def summarise(bank: FeatureBank, track: Track = iter) -> dict[str, VideoSummary]:
    """Read the features of all intact videos; damaged ones are left to ``bank check``."""
    found = {}
    for video_id in track(bank.video_ids):
        try:
            entry = bank[video_id]
            found[video_id] = _summary(entry.features, entry.fps, entry.provenance)
        except ValueError:
            continue
    return found


def _summary(features: NDArray[Any], fps: float, provenance: Mapping[str, Any]) -> VideoSummary:
    n_steps = len(features)
    spread = np.linspace(0, n_steps - 1, min(n_steps, _STEPS_READ)).round().astype(int)
    steps = np.asarray(features[spread], dtype=np.float32).mean(axis=(2, 3))
    parts = [part.mean(axis=0) for part in np.array_split(steps, min(_PARTS, len(steps)))]
    parts += [parts[-1]] * (_PARTS - len(parts))
    run = np.asarray(features[:_STEPS_READ], dtype=np.float32).mean(axis=(2, 3))
    return VideoSummary(
        np.concatenate(parts),
        float(np.sqrt(np.mean(np.square(steps, dtype=np.float64)))),
        float(np.ptp(steps, axis=0).mean()),
        _roughness(run),
        fps,
        n_steps,
        (provenance.get("source") or {}).get("sha256"),
    )


def _roughness(steps: NDArray[np.float32]) -> float | None:
    """Squared difference of successive steps over twice the variance: 1 for a random order."""
    variance = float(steps.var(axis=0, dtype=np.float64).sum())
    if len(steps) < 2 * _PARTS or variance == 0:
        return None
    successive = np.square(np.diff(steps, axis=0), dtype=np.float64).sum(axis=1).mean()
    return float(successive) / (2 * variance)


def check_bank_files(
    bank: FeatureBank, summaries: Mapping[str, VideoSummary], track: Track = iter
) -> Iterator[Advice]:
    """Check a bank on its own: files, values, order, sampling, preprocessing."""
    place = f"bank {bank.root}"
    bad = inspect(bank, track=track)
    for video_id, what in bad.items():
        code = "not-finite" if "not finite" in what else "bank-file"
        cure = f"Remove {bank.path(video_id)} and extract the video again."
        yield Advice(code, f"{place}, video {video_id}", what, cure)
    if bank.failures:
        what = f"videos could not be read ({examples(sorted(bank.failures))})"
        yield Advice("unreadable", place, what, "Replace the files, and run extract again.")
    intact = {name: summary for name, summary in summaries.items() if name not in bad}
    yield from _about_values(place, intact)
    yield from _about_order(place, intact)
    yield from _about_rates(place, bank, intact)
    yield from _about_preprocessing(place, bank.settings)


def _about_values(place: str, summaries: Mapping[str, VideoSummary]) -> Iterator[Advice]:
    constant = [name for name, s in summaries.items() if s.n_steps > 1 and s.change == 0]
    if constant:
        what = f"features do not change over time ({examples(constant)})"
        cure = "Look at the videos: frozen or black ones are better left out; else extract again."
        yield Advice("constant", place, what, cure)
    usual = float(np.median([s.rms for s in summaries.values()])) if summaries else 0.0
    odd = [
        name
        for name, s in summaries.items()
        if s.change > 0 and usual > 0 and not 1 / _RANGE <= s.rms / usual <= _RANGE
    ]
    if odd:
        what = (
            f"values are more than {_RANGE:g} times larger or smaller than those of other videos "
            f"({examples(odd)})"
        )
        cure = "They were made with another scale of pixels or network: extract them again."
        yield Advice("value-range", place, what, cure)


def _about_order(place: str, summaries: Mapping[str, VideoSummary]) -> Iterator[Advice]:
    rough = {n: s.roughness for n, s in summaries.items() if s.roughness is not None}
    if not rough:
        return
    shuffled = [name for name, value in rough.items() if value > _SHUFFLED]
    is_all = len(shuffled) > len(rough) / 2
    if is_all or (shuffled and float(np.median(list(rough.values()))) < _SMOOTH):
        what = f"steps follow each other in no order of time ({examples(shuffled)})"
        cure = "Import them again in order of time, with the right --axes; or sample more densely."
        yield Advice("shuffled", place, what, cure)


def _about_rates(
    place: str, bank: FeatureBank, summaries: Mapping[str, VideoSummary]
) -> Iterator[Advice]:
    if timesteps_per_second(bank.settings) is None:  # timesteps are a number of frames apart
        yield from check_rates(place, [summary.fps for summary in summaries.values()])


def check_rates(place: str, rates: Sequence[float]) -> Iterator[Advice]:
    """Report frame rates that differ so much that equal numbers of frames last differently long."""
    if rates and max(rates) > 2 * FPS_RATIO * min(rates):
        what = f"videos have {min(rates):g} to {max(rates):g} frames per second"
        yield Advice("mixed-rates", place, what, "Extract with --fps, which samples by time.")


def _about_preprocessing(place: str, settings: Mapping[str, Any]) -> Iterator[Advice]:
    """Compare pixel values and channel order with what the backbone's weights were trained on."""
    from timeception.backbones import create_backbone

    made = settings.get("backbone")
    if not isinstance(made, Mapping) or not isinstance(made.get("transform"), Mapping):
        return
    weights = made.get("weights") or {}
    source = str(weights.get("source"))
    is_random = weights.get("family") == "random"
    file = "random" if is_random else source if Path(source).is_file() else None
    try:
        usual = create_backbone(made["name"], file, **dict(made.get("options", {})))
    except (ValueError, OSError, ImportError):
        return  # its weights are not on this machine
    if not is_random and usual.weights_hash != weights.get("sha256"):
        return
    has, wanted = made["transform"], usual.transform.to_dict()
    names = ("mean", "std", "scale", "channel_order")
    lines = [f"{n} {has.get(n)} instead of {wanted[n]}" for n in names if has.get(n) != wanted[n]]
    if lines:
        what = f"frames were not normalised as {made['name']} expects: {', '.join(lines)}"
        cure = "Extract again without another transform."
        yield Advice("preprocessing", place, what, cure)


def equal_groups(hashes: Mapping[str, str | None]) -> list[tuple[str, ...]]:
    """Return the groups of names with equal hashes; names without a hash are in none."""
    by_hash: dict[str, list[str]] = defaultdict(list)
    for name, sha256 in hashes.items():
        if sha256 is not None:
            by_hash[sha256].append(name)
    return [tuple(names) for names in by_hash.values() if len(names) > 1]


def find_copies(
    summaries: Mapping[str, VideoSummary],
) -> tuple[list[tuple[str, ...]], list[tuple[str, str]]]:
    """Return the groups of equal video files, and the other pairs of near-identical features."""
    groups = equal_groups({name: summary.sha256 for name, summary in summaries.items()})
    known = [set(group) for group in groups]
    pairs = near_identical(summaries)
    return groups, [pair for pair in pairs if not any(set(pair) <= group for group in known)]


def near_identical(summaries: Mapping[str, VideoSummary]) -> list[tuple[str, str]]:
    """Return the pairs of videos whose features are nearly identical in each quarter.

    Two videos are near-identical if their distance is below 10 % of the bank's spread.
    """
    names: Sequence[str] = list(summaries)
    shapes = {summary.parts.shape for summary in summaries.values()}
    if len(names) < 3 or len(shapes) != 1:
        return []
    points = np.stack([summaries[name].parts for name in names]).astype(np.float64)
    points -= points.mean(axis=0)
    squares = np.square(points).sum(axis=1)
    limit = (_SAME**2) * 2 * float(np.median(squares))
    pairs = []
    for index in range(len(names) - 1):
        distance = np.square(points[index + 1 :] - points[index]).sum(axis=1)
        close = np.flatnonzero(distance < limit) + index + 1
        pairs += [(names[index], names[other]) for other in close.tolist()]
    return pairs
