"""Jobs of the pipeline: the features of one video go into a bank or stay in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception.features.bank import FeatureBank
from timeception.features.bank.sources import SourceFile, describe_file
from timeception.features.bank.storage import PendingFile
from timeception.features.extraction.settings import segmenter_of
from timeception.features.extractor import n_cores
from timeception.features.pipeline import Job
from timeception.features.segments import Segmenter
from timeception.video import VideoError, VideoReader, decoder_version

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video in memory.

    Args:
        features: float32, (S, C, H, W).
        start_frames: first frame of each segment, (S,).
        fps: frames per second of the video.
        n_frames: frames in the video.
    """

    features: NDArray[np.float32]
    start_frames: NDArray[np.int64]
    fps: float
    n_frames: int


@dataclass
class ExtractionReport:
    """The result of an extraction, or its progress so far.

    Args:
        skipped: ids already in the bank, with the same settings and from the same files.
        n_frames: frames that went through the network.
        seconds: duration since the extraction of the first video began.
        n_bytes: size of the files to extract.
        n_bytes_done: part of ``n_bytes`` that is done, to estimate the remaining time.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    n_frames: int = 0
    seconds: float = 0.0
    n_videos: int = 0
    n_bytes: int = 0
    n_bytes_done: float = 0.0

    @property
    def frames_per_second(self) -> float:
        """Frames through the network per second."""
        return self.n_frames / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report in JSON form."""
        names = ("done", "skipped", "failed", "n_frames", "seconds")
        fields = {name: getattr(self, name) for name in names}
        return {**fields, "frames_per_second": self.frames_per_second}


class RunLog:
    """The log of a run: keeps its report and the bank's failures; safe for several threads."""

    def __init__(self, bank: FeatureBank, report: ExtractionReport) -> None:
        self.bank, self.report = bank, report
        self._lock = threading.Lock()

    def advance(self, n_frames: int, n_bytes: float) -> None:
        """Count frames that went through the network, and their share of the file's bytes."""
        with self._lock:
            self.report.n_frames += n_frames
            self.report.n_bytes_done += n_bytes

    def finish(self, video_id: str) -> None:
        """Record that the features of a video are in the bank."""
        with self._lock:
            self.bank.clear_failure(video_id)
            self.report.done.append(video_id)

    def fail(self, source: SourceFile, error: object, n_bytes_left: float) -> None:
        """Record that a video is broken."""
        logger.info("%s: %s", source.video_id, error)
        with self._lock:
            self.bank.record_failure(source.video_id, source.path, error)
            self.report.failed[source.video_id] = str(error)
            self.report.n_bytes_done += n_bytes_left


class BankJob(Job):
    """Writes the features of one video into the bank."""

    def __init__(self, source: SourceFile, log: RunLog, n_decoders: int = 1) -> None:
        self._source, self._log = source, log
        self._segmenter = segmenter_of(log.bank.settings)
        self._n_threads = max(1, n_cores() // n_decoders)
        self._size = self._n_bytes_left = float(size_bytes(source.path))
        self._n_steps = 1
        self._begin: Callable[[tuple[int, ...]], PendingFile]
        self._pending: PendingFile | None = None

    def segments(self) -> Generator[NDArray[np.uint8]]:
        """Decode the video, after its provenance has been determined."""
        path, bank = self._source.path, self._log.bank
        with _open_video(path, self._n_threads) as video:
            provenance = {name: value for name, value in bank.settings.items() if name != "dtype"}
            provenance |= {"source": describe_file(path), "n_frames": len(video)}
            provenance["decoder"] = decoder_version()
            starts, fps = self._segmenter.starts(video.timestamps_seconds), video.info.fps
            self._n_steps = len(starts)
            self._begin = lambda shape: bank.begin(
                self._source.video_id, (len(starts), *shape), starts, fps, provenance
            )
            yield from self._segmenter.segments(video)

    def put(self, step: int, features: NDArray[np.float32]) -> None:
        """Write the features of successive steps."""
        if self._pending is None:
            self._pending = self._begin(features.shape[1:])
        self._pending.put(step, features)
        n_bytes = self._size * len(features) / self._n_steps
        self._n_bytes_left -= n_bytes
        self._log.advance(len(features) * self._segmenter.frames_per_segment, n_bytes)

    def finish(self) -> None:
        """Publish the file in the bank."""
        if self._pending is not None:
            self._pending.commit()
        self._log.finish(self._source.video_id)

    def fail(self, error: Exception) -> None:
        """Record that the video is broken."""
        self._log.fail(self._source, error, self._n_bytes_left)
        self.discard()

    def discard(self) -> None:
        """Remove an unfinished file."""
        if self._pending is not None:
            self._pending.discard()


class MemoryJob(Job):
    """Keeps the features of one video in memory."""

    def __init__(self, path: Path, segmenter: Segmenter, n_threads: int) -> None:
        self._path, self._segmenter, self._n_threads = path, segmenter, n_threads
        self._maps: dict[int, NDArray[np.float32]] = {}
        self._error: Exception | None = None

    def segments(self) -> Generator[NDArray[np.uint8]]:
        """Decode the video."""
        with _open_video(self._path, self._n_threads) as video:
            self._info = video.info
            self._starts = self._segmenter.starts(video.timestamps_seconds)
            yield from self._segmenter.segments(video)

    def put(self, step: int, features: NDArray[np.float32]) -> None:
        """Keep the features of successive steps."""
        self._maps[step] = features

    def fail(self, error: Exception) -> None:
        """Keep the error, which ``result`` raises."""
        self._error = error

    def result(self) -> VideoFeatures:
        """The features.

        Raises:
            VideoError: if the video is broken.
        """
        if self._error is not None:
            raise self._error
        features = np.concatenate([self._maps[step] for step in sorted(self._maps)])
        return VideoFeatures(features, self._starts, self._info.fps, self._info.n_frames)


@contextmanager
def _open_video(path: Path, n_threads: int) -> Iterator[VideoReader]:
    """Open a video; errors raised within name the file."""
    try:
        with VideoReader(path, n_threads=n_threads) as video:
            yield video
    except ValueError as error:
        if str(path) in str(error):
            raise
        text = str(error).rstrip(".")
        raise VideoError(path, text, "Use another video or another backbone.") from error


def size_bytes(path: Path) -> int:
    """Size of a file; 0 if it cannot be determined."""
    try:
        return path.stat().st_size
    except OSError:  # reported when the file is opened
        return 0
