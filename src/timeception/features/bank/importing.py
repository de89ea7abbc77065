"""Import of existing features of any known file format and axis order into a bank."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.datasets.records import TimedVideo
from timeception.datasets.timed import intervals_of_frames, write_timed
from timeception.features.bank import arrays
from timeception.features.bank.sources import (
    SourceFile,
    array_sources,
    describe_file,
    new_bank_kept_if_filled,
    open_bank,
    plan,
    unique_sources,
)
from timeception.features.bank.store import DEFAULT_DTYPE, FeatureBank

logger = logging.getLogger(__name__)

EVERY_KEY = "*"

#: Wraps the iteration over sources, to show progress.
Track = Callable[[Sequence[SourceFile]], Iterable[SourceFile]]
#: Chooses the axis order, given a question and the candidates.
Ask = Callable[[str, tuple[str, ...]], str]


@dataclass(frozen=True)
class FrameLabels:
    """Labels stored beside the features, one per step, that become timed annotations.

    Args:
        key: Name of their array of shape (S,), with whole numbers or names.
        out: The CSV to write, ``video,label,start,end`` in seconds, ends exclusive.
        class_names: Names of the labels 0, 1, ...; ``None`` uses the numbers.
        background: Number or name of the label without an action; its steps are left out.

    Raises:
        ValueError: If the background's number has no name.
    """

    key: str
    out: Path
    class_names: tuple[str, ...] | None = None
    background: str | None = None

    def __post_init__(self) -> None:
        if self.class_names is not None and self._background_number is not None:
            n_names, index = len(self.class_names), self._background_number
            advice = f"There are {n_names} class names."
            checks.require(0 <= index < n_names, "background", "be a class's number", index, advice)

    @property
    def _background_number(self) -> int | None:
        text = self.background or ""
        return int(text) if text.removeprefix("-").isdecimal() else None

    @property
    def ignored(self) -> tuple[str, ...]:
        """The name of the background, if given."""
        if self.class_names is not None and self._background_number is not None:
            return (self.class_names[self._background_number],)
        return () if self.background is None else (self.background,)

    def names(self, labels: NDArray[Any], n_steps: int) -> list[str]:
        """Return the name of each step's label.

        Raises:
            ValueError: If there is not one label per step, or a number has no name.
        """
        what = f"labels {self.key!r}"
        checks.require(labels.size == n_steps, what, f"be {n_steps}, one per step", labels.shape)
        flat = labels.reshape(-1)
        if flat.dtype.kind in "SUO":
            return [str(n, "utf-8") if isinstance(n, bytes) else str(n) for n in flat.tolist()]
        must = "be whole numbers or names"
        checks.require(flat.dtype.kind in "biuf", what, must, str(flat.dtype))
        numbers = flat.astype(np.int64)
        checks.require(bool(np.all(numbers == flat)), what, must, flat[:8])
        if self.class_names is None:
            return [str(number) for number in numbers.tolist()]
        n_names = len(self.class_names)
        is_named = bool(np.all((numbers >= 0) & (numbers < n_names)))
        worst = int(numbers.max()) if numbers.max() >= n_names else int(numbers.min())
        checks.require(is_named, what, f"have one of the {n_names} class names", worst)
        return [self.class_names[number] for number in numbers.tolist()]


@dataclass
class ImportReport:
    """The result of an import.

    Args:
        axes: The axis order of the files.
        skipped: Ids that were already in the bank, from the same files.
        annotations: The CSV of timed labels, if one was written.
    """

    axes: str
    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    annotations: str | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return dict(vars(self))


def import_features(
    paths: Sequence[str | Path],
    bank_root: str | Path,
    *,
    axes: str | None = None,
    key: str | None = None,
    fps: float = 1.0,
    stride: int = 1,
    dtype: str = DEFAULT_DTYPE,
    labels: FrameLabels | None = None,
    is_overwritten: bool = False,
    ask: Ask | None = None,
    track: Track = iter,
) -> ImportReport:
    """Import features from .npy, .npz, HDF5, safetensors, PyTorch, .mat and pickle files.

    Formats are recognised by content. Unreadable files are recorded in the bank and skipped. If
    nothing can be imported, no new bank is left.

    Args:
        paths: Files and folders; ids are paths below the folder, without suffix.
        bank_root: The bank's folder; a new one is created, an existing one is added to.
        axes: Axis order, such as ``"TC"`` or ``"THWC"``; ``None`` infers it from the first file if
            its shape is unambiguous.
        key: Name of the features in each file; ``None`` reads a file's only array; ``"*"`` makes
            every array a video with the array's name as id.
        fps: Frames per second of the videos; with the default, steps are counted in seconds.
        stride: Frames from one step to the next.
        dtype: Stored type: ``float16``, ``float32`` or ``bfloat16``.
        labels: Labels stored beside the features.
        is_overwritten: Replace features in the bank that come from other files.
        ask: Chooses the axis order if it is ambiguous; ``None`` makes that an error.
        track: Shows progress.

    Raises:
        ValueError: If an argument is invalid, no file can be read without a (different) key, the
            axis order is ambiguous, or the bank does not match.
    """
    began = time.monotonic()
    checks.positive_int("stride", stride)
    checks.require(isfinite(fps) and fps > 0, "fps", "be positive", fps)
    sources = array_sources(paths)
    labels_key = labels.key if labels else None
    if key == EVERY_KEY:
        sources, key = _expanded(sources), None
    else:
        arrays.require_key([source.path for source in sources], key, labels_key)
    axes = arrays.parse_axes(axes) if axes else _find_axes(sources, key, labels_key, ask)
    settings = {"kind": "import", "fps": float(fps), "stride": stride}
    with new_bank_kept_if_filled(bank_root):
        bank = open_bank(bank_root, settings, dtype, sources, is_overwritten=is_overwritten)
        planned = plan(bank, sources, expected={"axes": axes}, is_overwritten=is_overwritten)
        is_todo = {source.video_id for source in planned.todo}
        report = ImportReport(axes)
        timed: list[TimedVideo] = []
        importer = _Importer(bank, axes, key, fps, stride, labels, is_todo)
        for source in track(sources if labels else planned.todo):
            try:
                timed += importer.add(source)
            except (ValueError, OSError) as error:
                logger.info("%s: %s", source.video_id, error)
                bank.record_failure(source.video_id, source.path, error)
                report.failed[source.video_id] = str(error)
            else:
                bank.clear_failure(source.video_id)
    for source in sources:
        if source.video_id not in report.failed:
            (report.done if source.video_id in is_todo else report.skipped).append(source.video_id)
    if labels and timed:
        write_timed(labels.out, timed)
        report.annotations = str(labels.out)
    report.seconds = time.monotonic() - began
    return report


@dataclass
class _Importer:
    """Imports one file after another into a bank; all must have the same number of channels."""

    bank: FeatureBank
    axes: str
    key: str | None
    fps: float
    stride: int
    labels: FrameLabels | None
    todo: set[str]

    def __post_init__(self) -> None:
        first = next((video_id for video_id in self.bank if video_id not in self.todo), None)
        self.example = first and (first, self.bank.file(first).shape[1])

    def add(self, source: SourceFile) -> list[TimedVideo]:
        """Import a file unless it is done already; return its timed labels, if any."""
        labels = self.labels
        loaded = arrays.load(source.path, source.key or self.key, labels.key if labels else None)
        features = arrays.to_steps(loaded.features, self.axes)
        timed = []
        if labels and loaded.labels is not None:
            names = labels.names(loaded.labels, len(features))
            intervals = intervals_of_frames(names, self.fps / self.stride, labels.ignored)
            timed = [TimedVideo(source.video_id, intervals)]
        if source.video_id in self.todo:
            self._write(source, loaded, features)
        return timed

    def _write(self, source: SourceFile, loaded: arrays.Loaded, features: NDArray[Any]) -> None:
        found = features.shape[1]
        video_id, n_channels = self.example or (source.video_id, found)
        must = f"have {n_channels} channels like {video_id!r} in the bank"
        advice = f"They were read with axes {self.axes}; check the order."
        checks.require(found == n_channels, "features", must, found, advice)
        provenance = {"source": describe_file(source.path), "format": loaded.kind}
        provenance |= {"key": loaded.key, "axes": self.axes}
        starts = np.arange(len(features), dtype=np.int64) * self.stride
        self.bank.write(source.video_id, features, starts, self.fps, provenance)
        self.example = (video_id, n_channels)


def _expanded(sources: Iterable[SourceFile]) -> tuple[SourceFile, ...]:
    """One source per array."""
    found = []
    for source in sources:
        try:
            names = arrays.names_in(source.path)
        except (ValueError, OSError):  # reported when it is imported
            found.append(source)
        else:
            found += [SourceFile(name, source.path, name) for name in names]
    return unique_sources(found)


def _find_axes(
    sources: Sequence[SourceFile], key: str | None, labels_key: str | None, ask: Ask | None
) -> str:
    """The axis order of the first readable file; ``ask`` chooses if its shape is ambiguous."""
    errors = []
    for source in sources:
        try:
            loaded = arrays.load(source.path, source.key or key, labels_key)
            shape = loaded.features.shape
            n_labels = None if loaded.labels is None else loaded.labels.size
            options = arrays.likely_axes(shape, n_labels)
        except (ValueError, OSError) as error:  # recorded when it is imported
            errors.append(error)
            continue
        if len(options) == 1:
            return options[0]
        question = f"Features of {source.path} have shape {shape}. {_readings(shape, options)}"
        if ask is None:
            choices = " or ".join(f"--axes {option}" for option in options)
            raise ValueError(f"{question} Pass {choices}.")
        return arrays.parse_axes(ask(question, options))
    raise ValueError(f"the axis order cannot be inferred; pass --axes. First file: {errors[0]}")


def _readings(shape: tuple[int, ...], options: Sequence[str]) -> str:
    texts = []
    for axes in options:
        length = dict(zip(axes, shape, strict=True))
        maps = f" on {length['H']}x{length['W']} maps" if "H" in length else ""
        texts.append(f"{axes} means {length['T']} steps of {length['C']} channels{maps}")
    return "; ".join(texts) + "."
