"""Videos on their way through the pipeline: into a bank, or into memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from timeception.features.bank import FeatureBank
from timeception.features.bank.sources import SourceFile, describe_file
from timeception.features.bank.storage import PendingFile
from timeception.features.extraction.settings import segmenter_of
from timeception.features.extractor import n_cores
from timeception.features.segments import Segmenter
from timeception.video import VideoError, VideoReader, decoder_version

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video that went into no bank: float32 (S, C, H, W), and their times."""

    features: NDArray[np.float32]
    start_frames: NDArray[np.int64]
    fps: float
    n_frames: int


@dataclass
class ExtractionReport:
    """What an extraction did, or has done so far.

    Args:
        done: ids extracted now.
        skipped: ids that the bank held already, with the same settings from the same files.
        failed: error by id.
        n_frames: frames that went through the network.
        seconds: how long it took, from the first video that was not skipped.
        n_videos: videos asked for.
        n_bytes: size of the files to extract.
        n_bytes_done: how much of that is done, by which the rest can be estimated.
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
        """Frames through the network in a second."""
        return self.n_frames / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report, as JSON holds it."""
        names = ("done", "skipped", "failed", "n_frames", "seconds")
        fields = {name: getattr(self, name) for name in names}
        return {**fields, "frames_per_second": self.frames_per_second}


class Log(Protocol):
    """Where a job tells what becomes of its video."""

    bank: FeatureBank

    def moved(self, n_frames: int, n_bytes: float) -> None:
        """Frames went through the network, which stand for so many bytes of the file."""

    def finished(self, video_id: str) -> None:
        """The features of a video are in the bank."""

    def failed(self, source: SourceFile, error: object, n_bytes_left: float) -> None:
        """A video is broken."""


class RunLog:
    """Where the jobs of a run tell what became of them. For many threads at once."""

    def __init__(self, bank: FeatureBank, report: ExtractionReport) -> None:
        self.bank, self.report = bank, report
        self._lock = threading.Lock()

    def moved(self, n_frames: int, n_bytes: float) -> None:
        """Frames went through the network."""
        with self._lock:
            self.report.n_frames += n_frames
            self.report.n_bytes_done += n_bytes

    def finished(self, video_id: str) -> None:
        """The features of a video are in the bank."""
        with self._lock:
            self.bank.clear_failure(video_id)
            self.report.done.append(video_id)

    def failed(self, source: SourceFile, error: object, n_bytes_left: float) -> None:
        """A video is broken."""
        logger.info("%s: %s", source.video_id, error)
        with self._lock:
            self.bank.record_failure(source.video_id, source.path, error)
            self.report.failed[source.video_id] = str(error)
            self.report.n_bytes_done += n_bytes_left


class BankJob:
    """One video on its way into the bank."""

    def __init__(self, source: SourceFile, log: Log, n_decoders: int = 1) -> None:
        self._source, self._log = source, log
        self._segmenter = segmenter_of(log.bank.settings)
        self._n_threads = max(1, n_cores() // n_decoders)
        self._size = self._n_bytes_left = float(size_bytes(source.path))
        self._n_steps = 1
        self._begin: Callable[[tuple[int, ...]], PendingFile]
        self._pending: PendingFile | None = None

    def segments(self) -> Generator[NDArray[np.uint8]]:
        """Decode the video; what will be written beside its features is settled before."""
        path, bank = self._source.path, self._log.bank
        with _told_with_path(path), VideoReader(path, n_threads=self._n_threads) as video:
            provenance = {
                **{name: value for name, value in bank.settings.items() if name != "dtype"},
                "source": describe_file(path),
                "n_frames": len(video),
                "decoder": decoder_version(),
            }
            starts, fps = self._segmenter.starts(len(video)), video.info.fps
            self._n_steps = len(starts)
            self._begin = lambda shape: bank.begin(
                self._source.video_id, (len(starts), *shape), starts, fps, provenance
            )
            yield from self._segmenter.segments(video)

    def put(self, step: int, features: NDArray[np.float32]) -> None:
        """Write the features of some steps."""
        if self._pending is None:
            self._pending = self._begin(features.shape[1:])
        self._pending.put(step, features)
        n_bytes = self._size * len(features) / self._n_steps
        self._n_bytes_left -= n_bytes
        self._log.moved(len(features) * self._segmenter.frames_per_segment, n_bytes)

    def finish(self) -> None:
        """Make the file appear in the bank."""
        if self._pending is not None:
            self._pending.commit()
        self._log.finished(self._source.video_id)

    def fail(self, error: Exception) -> None:
        """Record that the video is broken."""
        self._log.failed(self._source, error, self._n_bytes_left)
        self.discard()

    def discard(self) -> None:
        """Remove what was written so far, unless it is in the bank."""
        if self._pending is not None:
            self._pending.discard()


class MemoryJob:
    """One video whose features stay in memory."""

    def __init__(self, path: Path, segmenter: Segmenter, n_threads: int) -> None:
        self._path, self._segmenter, self._n_threads = path, segmenter, n_threads
        self._maps: dict[int, NDArray[np.float32]] = {}
        self._error: Exception | None = None

    def segments(self) -> Generator[NDArray[np.uint8]]:
        """Decode the video."""
        with _told_with_path(self._path), VideoReader(self._path, n_threads=self._n_threads) as v:
            self._info = v.info
            yield from self._segmenter.segments(v)

    def put(self, step: int, features: NDArray[np.float32]) -> None:
        """Keep the features of some steps."""
        self._maps[step] = features

    def finish(self) -> None:
        """Nothing is left to do."""

    def fail(self, error: Exception) -> None:
        """Keep the error for ``result``."""
        self._error = error

    def discard(self) -> None:
        """Nothing is held that would not go by itself."""

    def result(self) -> VideoFeatures:
        """The features.

        Raises:
            VideoError: if the video is broken.
        """
        if self._error is not None:
            raise self._error
        features = np.concatenate([self._maps[step] for step in sorted(self._maps)])
        starts = self._segmenter.starts(self._info.n_frames)
        return VideoFeatures(features, starts, self._info.fps, self._info.n_frames)


@contextmanager
def _told_with_path(path: Path) -> Iterator[None]:
    """Name the video in errors that do not."""
    try:
        yield
    except ValueError as error:
        if str(path) in str(error):
            raise
        text = str(error).rstrip(".")
        raise VideoError(path, text, "Give another file, or another backbone.") from error


def size_bytes(path: Path) -> int:
    """Size of a file; 0 if it cannot be told."""
    try:
        return path.stat().st_size
    except OSError:  # told when it is opened
        return 0
