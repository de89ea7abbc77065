"""The feature bank: dense features of videos, one file per video, sampled in every epoch.

A bank is a folder::

    bank.json                    the settings that all its features share, and their fingerprint
    videos/VIDEO_ID.safetensors  features (S, C, H, W), start_frames (S,), provenance
    failures.json                unreadable videos, if any: {id: {path, error}}

Equal features with equal provenance give equal bytes, in whatever order they are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import timeception
from timeception import checks
from timeception.datasets.windows import step_edges_seconds
from timeception.features.bank import storage
from timeception.features.bank.storage import BankError, BankFile, PendingFile
from timeception.files import remove_stale, sha256_of, write_json
from timeception.video.sampling import sample_indices

DEFAULT_DTYPE = "float16"
SETTINGS_FILE = "bank.json"
FAILURES_FILE = "failures.json"
ANOTHER_BANK = "Choose another --out, or pass --overwrite to replace features that do not match."


class MissingVideoError(KeyError, ValueError):
    """The bank has no features of the requested video."""

    def __str__(self) -> str:
        return str(self.args[0])


class MismatchError(ValueError):
    """The features have other settings, or another source, than requested."""


@dataclass(frozen=True)
class BankEntry:
    """The features of one video.

    Args:
        features: Features (S, C, H, W). A read-only memory map in the stored type, so that slicing
            reads only the slice; a float32 copy if the bank stores bfloat16.
        start_frames: First frame of each step, (S,).
        fps: Frames per second of the video.
        provenance: Source and settings of the features.
    """

    features: NDArray[Any]
    start_frames: NDArray[np.int64]
    fps: float
    provenance: dict[str, Any]


class FeatureBank(Mapping[str, BankEntry]):
    """A bank of features by video id, which is a relative path without suffix (``"tea/P03_1"``).

    A bank keeps no open files and no state, so it can be shared by threads, copied to processes,
    and read during writing.

    Args:
        root: The bank's folder.
        mode: ``"r"`` reads a bank; ``"a"`` creates one or adds to it.
        settings: Common settings of all features, as plain JSON (mode ``"a"``). An existing bank
            must have the same settings; ``None`` uses the existing ones.
        dtype: Stored type (mode ``"a"``): ``float16`` (default of a new bank), ``float32`` or
            ``bfloat16``. It is part of the settings.
        is_replaced: Replace the settings of an existing bank if they differ (mode ``"a"``).

    Raises:
        BankError: If ``root`` is not a feature bank.
        MismatchError: If the bank has other settings; the error lists the differences.

    Example:
        >>> import tempfile
        >>> bank = FeatureBank(tempfile.mkdtemp(), mode="a", settings={"backbone": "mine"})
        >>> bank.write("tea/P03", np.ones((6, 4, 2, 2)), np.arange(6) * 8, fps=24.0)
        >>> bank.video_ids, bank["tea/P03"].features.shape, bank.draw("tea/P03", 3).shape
        (('tea/P03',), (6, 4, 2, 2), (3, 4, 2, 2))
    """

    def __init__(
        self,
        root: str | Path,
        mode: str = "r",
        *,
        settings: Mapping[str, Any] | None = None,
        dtype: str | None = None,
        is_replaced: bool = False,
    ) -> None:
        self.root = Path(root)
        self.mode: str = checks.one_of("mode", mode, ("r", "a"))
        if dtype is not None:
            checks.one_of("dtype", dtype, tuple(storage.DTYPES))
        if mode == "r":
            advice = "Settings can be given only with mode='a'."
            checks.require(settings is None and dtype is None, "mode", "be 'a'", mode, advice)
            self.settings = self._read_settings()
        else:
            self.settings = self._settle(settings, dtype, is_replaced)
            remove_stale(self.root)
        #: SHA-256 of the settings. Features are comparable if their fingerprints are equal.
        self.fingerprint = fingerprint(self.settings)

    def _settle(
        self, settings: Mapping[str, Any] | None, dtype: str | None, is_replaced: bool
    ) -> dict[str, Any]:
        """Reconcile the given settings with the folder's, write and return them."""
        advice = "Choose another folder."
        checks.require(not self.root.is_file(), "root", "be a folder", str(self.root), advice)
        path = self.root / SETTINGS_FILE
        is_new = not path.exists()
        has = {} if is_new else self._read_settings()
        wanted = dict(has if settings is None else _as_json(settings))
        wanted["dtype"] = dtype or wanted.get("dtype") or DEFAULT_DTYPE
        if not is_new and not is_replaced:
            require_same("settings", f"bank {self.root}", has, wanted, ANOTHER_BANK)
        if is_new or has != wanted:
            content = {"format_version": storage.FORMAT_VERSION, "settings": wanted}
            content["fingerprint"] = fingerprint(wanted)
            write_json(path, content, sort_keys=True, ensure_ascii=True)
        return wanted

    @property
    def dtype(self) -> str:
        """Stored type of the features."""
        return str(self.settings["dtype"])

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Sorted ids of the videos in the bank. Every access searches the folder."""
        folder, suffix = self.root / "videos", storage.SUFFIX
        files = (file.relative_to(folder).as_posix() for file in folder.rglob(f"*{suffix}"))
        return tuple(sorted(file.removesuffix(suffix) for file in files))

    def __iter__(self) -> Iterator[str]:
        return iter(self.video_ids)

    def __len__(self) -> int:
        return len(self.video_ids)

    def __contains__(self, video_id: object) -> bool:
        is_id = isinstance(video_id, str) and _is_plain(video_id)
        return is_id and self.path(str(video_id)).is_file()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeatureBank):
            return NotImplemented
        return (self.root, self.mode, self.settings) == (other.root, other.mode, other.settings)

    def __hash__(self) -> int:
        return hash(self.root)

    def __getitem__(self, video_id: str) -> BankEntry:
        file = self.file(video_id)
        fps, provenance = file.metadata["fps"], file.metadata["provenance"]
        return BankEntry(file.features(), file.start_frames(), fps, provenance)

    def path(self, video_id: str) -> Path:
        """Path of a video's file, which may not exist.

        Raises:
            ValueError: If the id is not a plain relative path.
        """
        checks.require(_is_plain(video_id), "video_id", "be a plain relative path", video_id)
        return self.root / "videos" / f"{video_id}{storage.SUFFIX}"

    def file(self, video_id: str) -> BankFile:
        """Read and check the header of a video's file.

        Raises:
            MissingVideoError: If the bank does not hold the video; the error suggests an id.
            BankError: If the file is truncated, not of a feature bank, of another video, or has
                other settings than the bank.
        """
        path = self.path(video_id)
        try:
            file = storage.read_header(path)
        except FileNotFoundError:
            raise MissingVideoError(self._missing(video_id)) from None
        if file.metadata.get("video_id") != video_id:
            what = f"holds the features of {file.metadata.get('video_id')!r}."
            raise BankError(path, what, "Files of a bank cannot be renamed; extract again.")
        if file.metadata["provenance"].get("settings_fingerprint") != self.fingerprint:
            what = "was made with other settings than the bank's."
            raise BankError(path, what, "Finish the interrupted --overwrite, or remove the file.")
        return file

    def n_steps(self, video_id: str) -> int:
        """Number of steps of a video: S of its features."""
        return self.file(video_id).shape[0]

    def edges_seconds(self, video_id: str) -> NDArray[np.float64]:
        """Start of each step and end of the last one, in seconds, (S + 1,)."""
        entry, rate = self[video_id], timesteps_per_second(self.settings)
        return step_edges_seconds(entry.start_frames, entry.fps, timesteps_per_second=rate)

    def draw(
        self,
        video_id: str,
        n_timesteps: int,
        rng: np.random.Generator | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> NDArray[Any]:
        """Sample steps of a video, in order. Only these are read from disk.

        Args:
            video_id: Id of the video.
            n_timesteps: Number of steps; if the video or window has fewer, some are repeated.
            rng: Samples one random step from each of ``n_timesteps`` equal strata; ``None`` takes
                the middle of each stratum.
            start: First step of the window to sample from.
            stop: End of the window, exclusive; ``None`` is the end of the video.

        Returns:
            A new array of shape (n_timesteps, C, H, W) in the stored type (bfloat16 as float32).

        Raises:
            ValueError: If the window is empty or not inside the video.
        """
        file = self.file(video_id)
        n_steps = file.shape[0]
        end = n_steps if stop is None else stop
        advice = f"Video {video_id!r} has {n_steps} steps."
        is_inside = 0 <= start < end <= n_steps
        checks.require(is_inside, "start, stop", "be a window in the video", (start, end), advice)
        return file.features(start + sample_indices(end - start, n_timesteps, rng))

    def begin(
        self,
        video_id: str,
        shape: tuple[int, ...],
        start_frames: ArrayLike,
        fps: float,
        provenance: Mapping[str, Any] | None = None,
    ) -> PendingFile:
        """Begin the file of a video, to be written in parts. It appears on ``commit``.

        Args:
            video_id: Relative path without suffix; ``/`` separates folders.
            shape: Shape of the features, (S, C, H, W).
            start_frames: First frame of each step, (S,).
            fps: Frames per second of the video.
            provenance: Origin of the features, as plain JSON. The settings' fingerprint and the
                version of this package are added.
        """
        checks.require(self.mode == "a", "bank", "be opened with mode='a' for writing", self.mode)
        checks.require(isfinite(fps) and fps > 0, f"fps of {video_id!r}", "be positive", fps)
        origin = _as_json(provenance or {}) | {
            "settings_fingerprint": self.fingerprint,
            "timeception_version": timeception.__version__,
        }
        metadata = {"video_id": video_id, "fps": float(fps), "provenance": origin}
        return PendingFile(self.path(video_id), shape, start_frames, self.dtype, metadata)

    def write(
        self,
        video_id: str,
        features: NDArray[Any],
        start_frames: ArrayLike,
        fps: float,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the features (S, C, H, W) of a video atomically. An existing file is replaced.

        Raises:
            ValueError: If shapes disagree, or a number is not finite or too large for the stored
                type.
        """
        with self.begin(video_id, features.shape, start_frames, fps, provenance) as pending:
            pending.put(0, features)
            pending.commit()

    @property
    def failures(self) -> dict[str, dict[str, str]]:
        """Unreadable videos: ``{video_id: {"path": ..., "error": ...}}``."""
        path = self.root / FAILURES_FILE
        try:
            failures: dict[str, dict[str, str]] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise BankError(path, "is not JSON.", "Remove it.") from error
        return failures

    def record_failure(self, video_id: str, path: str | Path, error: object) -> None:
        """Record that a video could not be read."""
        self._write_failures({**self.failures, video_id: {"path": str(path), "error": str(error)}})

    def clear_failure(self, video_id: str) -> None:
        """Remove the record that a video could not be read."""
        failures = self.failures
        if failures.pop(video_id, None) is not None:
            self._write_failures(failures)

    def _write_failures(self, failures: Mapping[str, Any]) -> None:
        path = self.root / FAILURES_FILE
        if failures:
            write_json(path, failures, sort_keys=True, ensure_ascii=True)
        else:
            path.unlink(missing_ok=True)

    def _read_settings(self) -> dict[str, Any]:
        path = self.root / SETTINGS_FILE
        if not path.is_file():
            advice = "Create one with `timeception extract` or `timeception bank import`."
            raise BankError(self.root, f"not a feature bank: it has no {SETTINGS_FILE}.", advice)
        try:
            content = json.loads(path.read_bytes())
            version, settings = content["format_version"], dict(content["settings"])
            checks.one_of("dtype", settings["dtype"], tuple(storage.DTYPES))
        except (ValueError, KeyError, TypeError) as error:
            raise BankError(path, "is not the description of a feature bank.") from error
        if version != storage.FORMAT_VERSION:
            what = f"has format version {version}; this release reads {storage.FORMAT_VERSION}."
            raise BankError(path, what, "Take the release that wrote it, or extract again.")
        return settings

    def _missing(self, video_id: str) -> str:
        known = self.video_ids
        text = f"bank {self.root} has no video {video_id!r} among its {len(known)} videos."
        failure = self.failures.get(video_id)
        if failure:
            return f"{text} It could not be read: {failure['error']}"
        return f"{text} {checks.did_you_mean(video_id, known)}".rstrip()

    def __repr__(self) -> str:
        return f"FeatureBank({str(self.root)!r}, mode={self.mode!r}, {self.dtype})"


def timesteps_per_second(settings: Mapping[str, Any]) -> float | None:
    """The rate at which a bank samples time; ``None`` if its steps are a stride of frames apart.

    Imported features have both a stride and the frame rate of the videos, ``fps``.
    """
    return None if "stride" in settings or "fps" not in settings else float(settings["fps"])


def fingerprint(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings, independent of the order of their names."""
    return sha256_of([json.dumps(settings, sort_keys=True, allow_nan=False).encode()])


def require_same(
    what: str, owner: str, has: Mapping[str, Any], wanted: Mapping[str, Any], advice: str
) -> None:
    """Check that two nested records are equal.

    Raises:
        MismatchError: If they differ; the error lists both values of each difference.
    """
    left, right = _flat(has), _flat(wanted)
    lines = [
        f"  {name}: {left.get(name, 'absent')} in the bank, {right.get(name, 'absent')} asked for"
        for name in sorted(left.keys() | right.keys())
        if left.get(name, "absent") != right.get(name, "absent")
    ]
    if lines:
        raise MismatchError("\n".join([f"{owner} was made with other {what}:", *lines, advice]))


def _is_plain(video_id: str) -> bool:
    parts = PurePosixPath(video_id).parts
    is_relative = bool(parts) and parts[0] != "/" and ".." not in parts
    return is_relative and "/".join(parts) == video_id and not {"\\", "\0"} & set(video_id)


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = json.dumps(value)
    return flat


def _as_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """Convert to JSON and back, which turns tuples into lists and rejects anything not JSON."""
    try:
        return dict(json.loads(json.dumps(value, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings and provenance must be plain JSON: {error}.") from error
