"""From a video file to the segments that a backbone takes, each frame decoded and resized once."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.video import StreamFrame, Transform, VideoReader
from timeception.video.sampling import (
    legacy_2019_frames,
    legacy_2019_segment_starts,
    segment_frames,
    segment_starts,
)

#: Frames between two timesteps unless told: a third of a second at 24 frames per second.
DEFAULT_STRIDE_FRAMES = 8


def default_stride(frames_per_segment: int) -> int:
    """Frames from one segment to the next unless told: 8, or a whole segment if that is longer."""
    return max(DEFAULT_STRIDE_FRAMES, frames_per_segment)


@dataclass(frozen=True)
class TimedSegment:
    """A segment of a stream as 8-bit levels, and the times of its first and last frame.

    Args:
        frames: (T, H, W, 3).
        start_seconds: since the stream's first frame.
        end_seconds: likewise.
    """

    frames: NDArray[np.uint8]
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Segmenter:
    """Cuts videos into segments of successive frames.

    Args:
        frames_per_segment: frames that the backbone takes at once.
        stride: frames from one segment's start to the next.
        transform: its resizing and crop are done here; the network's side normalises, so that a
            segment is a quarter of the bytes on its way.
        frames_2019: choose segments as the 2019 code did for a clip of so many frames, in place
            of ``stride``: so many single frames, or an eighth as many segments of 8.
    """

    frames_per_segment: int
    stride: int
    transform: Transform
    frames_2019: int | None = None

    def starts(self, n_frames: int) -> NDArray[np.int64]:
        """First frames of the segments of a video, (S,); those of 2019 may repeat.

        Raises:
            ValueError: if the choice of 2019 is not defined for a video that short.
        """
        if self.frames_2019 is not None:
            is_image = self.frames_per_segment == 1
            choose = legacy_2019_frames if is_image else legacy_2019_segment_starts
            return choose(n_frames, self.frames_2019)
        return segment_starts(n_frames, self.stride, self.frames_per_segment)

    def segments(self, video: VideoReader) -> Iterator[NDArray[np.uint8]]:
        """Segments of an open video in order, as 8-bit levels; only their frames are decoded.

        Shape:
            each (T, H, W, 3), T the frames per segment.

        Raises:
            VideoError: if a frame is damaged.
            ValueError: if the frames are too small for the transform.
        """
        starts = self.starts(len(video))
        wanted = segment_frames(starts, self.frames_per_segment, len(video))
        decoded = video.frames(np.unique(wanted))
        frames: dict[int, NDArray[np.uint8]] = {}
        for indices in wanted.tolist():
            frames = {index: frame for index, frame in frames.items() if index >= indices[0]}
            while indices[-1] not in frames:
                index, frame = next(decoded)
                frames[index] = self.transform.levels(frame[None])
            parts = [frames[index] for index in indices]
            yield parts[0] if len(parts) == 1 else np.concatenate(parts)

    def stream(self, frames: Iterable[StreamFrame]) -> Generator[TimedSegment]:
        """Segments of a stream, each as soon as its last frame has come.

        They are those of ``segments``, without knowing how many there will be.

        Raises:
            VideoError: if the stream is broken; the segments before have been given by then.
            ValueError: if the frames are too small for the transform, or with ``frames_2019``.
        """
        advice = "The choice of 2019 needs the length of the video."
        checks.require(
            self.frames_2019 is None,
            "frames_2019",
            "be left out of streams",
            self.frames_2019,
            advice,
        )
        length, n_frames = self.frames_per_segment, 0
        kept: deque[tuple[NDArray[np.uint8], float]] = deque(maxlen=length)
        for index, frame in enumerate(frames):
            n_frames = index + 1
            if index % self.stride < length or self.stride < length:
                kept.append((self.transform.levels(frame.rgb()[None]), frame.seconds))
            if n_frames >= length and (n_frames - length) % self.stride == 0:
                yield _joined(kept)
        if 0 < n_frames < length:
            kept.extend([kept[-1]] * (length - n_frames))
            yield _joined(kept)


def _joined(kept: Iterable[tuple[NDArray[np.uint8], float]]) -> TimedSegment:
    parts, seconds = zip(*kept, strict=True)
    frames = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return TimedSegment(frames, seconds[0], seconds[-1])
