"""Limits of what a served model accepts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from timeception import checks
from timeception.video import VideoError, probe

MEGABYTE = 1_000_000


class RefusedError(ValueError):
    """A video that is not scored; the message is for the person who sent it."""


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Args:
        max_megabytes: largest upload, in units of 10^6 bytes.
        max_minutes: longest video.
        n_workers: videos that are scored at once.
        max_waiting: videos that may wait.
        keep_seconds: age at which uploads and results are deleted.
    """

    max_megabytes: float = 200.0
    max_minutes: float = 10.0
    n_workers: int = 1
    max_waiting: int = 20
    keep_seconds: float = 600.0

    def __post_init__(self) -> None:
        checks.require(self.max_megabytes > 0, "max_megabytes", "be positive", self.max_megabytes)
        checks.require(self.max_minutes > 0, "max_minutes", "be positive", self.max_minutes)
        checks.positive_int("n_workers", self.n_workers)
        checks.require(self.max_waiting >= 0, "max_waiting", "be at least 0", self.max_waiting)

    @property
    def max_bytes(self) -> int:
        """Largest upload, in bytes."""
        return int(self.max_megabytes * MEGABYTE)

    @property
    def too_large(self) -> str:
        """What an upload over the limit is answered with."""
        return f"The file is larger than {self.max_megabytes:g} MB. Shorten or compress the video."


def check_video(path: Path, limits: Limits) -> None:
    """Check size, readability and length of a video.

    Raises:
        RefusedError: if it is too large, no video, damaged or too long.
    """
    if path.stat().st_size > limits.max_bytes:
        raise RefusedError(limits.too_large)
    try:
        info = probe(path)
    except (VideoError, OSError, ValueError):
        text = "This file cannot be read as a video. It is damaged, or no video. Try an MP4 file."
        raise RefusedError(text) from None
    minutes = info.duration_seconds / 60
    if minutes > limits.max_minutes:
        raise RefusedError(
            f"The video lasts {minutes:.1f} minutes, and the limit is {limits.max_minutes:g}. "
            "Send a part of it."
        )
