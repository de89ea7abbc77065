"""Cut videos and streams into the segments that a backbone takes; each frame is decoded once."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.video import StreamFrame, Transform, VideoReader
from timeception.video.sampling import (
    legacy_2019_frames,
    legacy_2019_segment_starts,
    segment_frames,
    segment_starts,
    timed_segment_starts,
    timed_starts,
)

_Raw = TypeVar("_Raw")
_Frame = TypeVar("_Frame")

#: Default frames between two timesteps: a third of a second at 24 frames per second.
DEFAULT_STRIDE_FRAMES = 8


def default_stride(frames_per_segment: int) -> int:
    """Default frames from one segment to the next: 8, or a whole segment if that is longer."""
    return max(DEFAULT_STRIDE_FRAMES, frames_per_segment)


@dataclass(frozen=True)
class TimedSegment:
    """A segment of a stream as 8-bit levels, (T, H, W, 3).

    The times of its first and last frame are in seconds since the stream's first frame.
    """

    frames: NDArray[np.uint8]
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Segmenter(ABC):
    """Cuts videos into segments of successive frames; subclasses choose where they start.

    Args:
        frames_per_segment: frames that the backbone takes at once.
        transform: only its resizing and crop are applied here, so that a segment is a quarter
            of the bytes on its way to the network, which normalises it.
    """

    frames_per_segment: int
    transform: Transform

    @abstractmethod
    def starts(self, frame_seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """First frames of the segments of a video, (S,), in order.

        Args:
            frame_seconds: time of each frame since the first one, (n_frames,).

        Raises:
            ValueError: if the choice is not defined for a video of that length.
        """

    @abstractmethod
    def stream_starts(self, frame_seconds: Iterable[float]) -> Iterator[int]:
        """First frames of the segments of a stream, whose length is unknown.

        Args:
            frame_seconds: time of each frame since the first one; iterating waits for frames.

        Raises:
            ValueError: if the choice depends on the length.
        """

    def segments(self, video: VideoReader) -> Iterator[NDArray[np.uint8]]:
        """Segments of an open video in order, as 8-bit levels; no other frames are converted.

        Shape:
            each (T, H, W, 3), T the frames per segment.

        Raises:
            VideoError: if a frame is damaged.
            ValueError: if the frames are too small for the transform.
        """
        starts = self.starts(video.timestamps_seconds)
        wanted = np.unique(segment_frames(starts, self.frames_per_segment, len(video)))
        for frames in self._cut(video.frames(wanted), starts.tolist(), self._levels):
            yield _joined(frames)

    def stream(self, frames: Iterable[StreamFrame]) -> Generator[TimedSegment]:
        """Segments of a stream, each as soon as its last frame arrives.

        They are the same as the segments of ``segments``.

        Raises:
            VideoError: if the stream is broken, after the segments before the break.
            ValueError: if the frames are too small for the transform, or if the choice of
                segments depends on the length of the video.
        """

        def convert(frame: StreamFrame) -> tuple[NDArray[np.uint8], float]:
            return self._levels(frame.rgb()), frame.seconds

        arriving = _Arriving(frames)
        starts = self.stream_starts(arriving.seconds())
        for timed in self._cut(arriving, starts, convert):
            levels, seconds = zip(*timed, strict=True)
            yield TimedSegment(_joined(levels), seconds[0], seconds[-1])

    def _levels(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return self.transform.levels(frame[None])

    def _cut(
        self,
        frames: Iterable[tuple[int, _Raw]],
        starts: Iterable[int],
        convert: Callable[[_Raw], _Frame],
    ) -> Iterator[list[_Frame]]:
        """Cut numbered frames into segments, holding one segment at a time.

        A video shorter than one segment repeats its last frame; later segments are whole.

        Args:
            frames: indices and frames, in ascending order.
            starts: first frames of the segments, in ascending order; repeats are allowed.
            convert: applied once to every frame that a segment needs.
        """
        numbered, length = iter(frames), self.frames_per_segment
        held: dict[int, _Frame] = {}
        for start in starts:
            held = {index: frame for index, frame in held.items() if index >= start}
            while start + length - 1 not in held:
                index, raw = next(numbered, (-1, None))
                if raw is None:  # the end of the video
                    if held and start == 0:
                        yield [held[min(index, len(held) - 1)] for index in range(length)]
                    return
                if index >= start:
                    held[index] = convert(raw)
            yield [held[index] for index in range(start, start + length)]


@dataclass(frozen=True)
class StrideSegmenter(Segmenter):
    """Segments at a fixed ``stride``: frames from one segment's start to the next."""

    stride: int

    def starts(self, frame_seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """First frames of all whole segments; a video shorter than one has a single segment."""
        return segment_starts(len(frame_seconds), self.stride, self.frames_per_segment)

    def stream_starts(self, frame_seconds: Iterable[float]) -> Iterator[int]:
        """Every ``stride``-th frame."""
        return itertools.count(0, self.stride)


@dataclass(frozen=True)
class FpsSegmenter(Segmenter):
    """Segments at a fixed rate in time, whatever the frame rate of the video.

    Args:
        fps: segments per second.
    """

    fps: float

    def starts(self, frame_seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """The frames nearest to 0, 1 / fps, 2 / fps, ... seconds; they may repeat."""
        return timed_segment_starts(frame_seconds, self.fps, self.frames_per_segment)

    def stream_starts(self, frame_seconds: Iterable[float]) -> Iterator[int]:
        """The same frames; each is known when the first frame at or after its time arrives."""
        return timed_starts(frame_seconds, self.fps)


@dataclass(frozen=True)
class Segmenter2019(Segmenter):
    """Segments as the 2019 code chose them, spread over the whole video; they may repeat.

    Args:
        n_frames_asked: frames of the 2019 clip: that number of single frames for an image
            network, or an eighth as many segments of 8 frames.
    """

    n_frames_asked: int

    def starts(self, frame_seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """First frames of the segments; not defined for segments of 8 in shorter videos."""
        choose = legacy_2019_frames if self.frames_per_segment == 1 else legacy_2019_segment_starts
        return choose(len(frame_seconds), self.n_frames_asked)

    def stream_starts(self, frame_seconds: Iterable[float]) -> Iterator[int]:
        """Not defined: the choice needs the length of the video."""
        advice = "The 2019 choice of segments needs the length of the video."
        requirement = "be left out of streams"
        raise ValueError(checks.problem("frames_2019", requirement, self.n_frames_asked, advice))


class _Arriving:
    """Numbered frames of a stream, which can also be asked for their times ahead of reading.

    A frame that is read for its time alone is kept for the reader of frames, but not more than the
    last two: a segment starts at the first frame at or after a time, or at the one before it.
    """

    def __init__(self, frames: Iterable[StreamFrame]) -> None:
        self._frames = enumerate(frames)
        self._ahead: deque[tuple[int, StreamFrame]] = deque(maxlen=2)
        self._times: deque[float] = deque()  # of frames that were read, but not for their times
        self._counts_times = False

    def __iter__(self) -> Iterator[tuple[int, StreamFrame]]:
        return self

    def __next__(self) -> tuple[int, StreamFrame]:
        if self._ahead:
            return self._ahead.popleft()
        index, frame = next(self._frames)
        if self._counts_times:
            self._times.append(frame.seconds)
        return index, frame

    def seconds(self) -> Iterator[float]:
        """Times of all frames, once; reads frames where they have not been read yet."""
        self._counts_times = True
        while True:
            if self._times:
                yield self._times.popleft()
                continue
            numbered = next(self._frames, None)
            if numbered is None:
                return
            self._ahead.append(numbered)
            yield numbered[1].seconds


def _joined(frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    parts = list(frames)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
