"""Frames of a video by exact index.

The index of a frame is its position in presentation order. It is independent of the frame rate,
of seeks, and of the number of decoding threads: ``read([i])`` returns the same frame as decoding
the whole file from its start.

Damage that the decoder detects is never ignored. By default, a file that declares more bytes than
it has is refused, and a ``VideoError`` is raised for a frame that cannot be decoded, is decoded
with error concealment, or is predicted from such a frame; all frames returned are intact. With
``allow_damaged=True``, the file is first decoded in full and only the frames that no damage
affects are used, with their times; a warning reports how many are left out.

High dynamic range is not tone-mapped, non-square pixels stay as stored, and interlaced frames are
not deinterlaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from timeception import checks
from timeception.video.fetching import FrameFetcher
from timeception.video.files import VideoError
from timeception.video.pixels import Orientation, rgb_array
from timeception.video.source import VideoSource

Indices = Sequence[int] | npt.NDArray[np.integer]
NumberedFrame = tuple[int, npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class VideoInfo:
    """The properties of a video stream.

    Attributes:
        width: of the upright frames, in pixels.
        height: of the upright frames, in pixels.
        n_frames: counted number of readable frames.
        fps: frames per second, averaged over the counted frames.
        duration_seconds: from the start of the first frame to the end of the last one.
        rotation_degrees: clockwise rotation that makes stored frames upright: 0, 90, 180 or 270.
        codec: FFmpeg's name of the codec, such as ``"h264"``.
        pixel_format: FFmpeg's name of the stored pixel format, such as ``"yuv420p10le"``.
        stream_index: index of the stream in the file.
    """

    width: int
    height: int
    n_frames: int
    fps: float
    duration_seconds: float
    rotation_degrees: int
    codec: str
    pixel_format: str
    stream_index: int


def probe(path: str | os.PathLike[str], *, stream: int | None = None) -> VideoInfo:
    """Describe a video after reading its packets and decoding its first frame.

    The arguments and errors are as for ``VideoReader``, and the result is its ``info``.
    """
    with VideoReader(path, stream=stream) as video:
        return video.info


def decoder_version() -> str:
    """Versions of the decoding libraries, as recorded in feature banks.

    Example:
        >>> decoder_version().startswith("PyAV ")
        True
    """
    libraries = ("libavcodec", "libswscale")
    versions = (f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in libraries)
    return f"PyAV {av.__version__} ({', '.join(versions)})"


class VideoReader:
    """Read frames of a video file by exact index.

    Only the necessary frames are decoded: from the last keyframe before each frame, or onward from
    the previous one. When several frames are requested at once, frames between them from which no
    other frame is predicted are skipped if that is certain (H.264 in MP4 and Matroska). Every seek
    is verified by the times of frames; in files whose times do not allow this, frames are counted
    from the start.

    Args:
        path: the file.
        stream: index of the video stream; ``None`` selects the best one by FFmpeg's ranking.
        allow_damaged: use the frames that no damage affects instead of refusing a damaged file.
        n_threads: decoding threads; 0 uses one per core.

    Raises:
        VideoError: if the file is not a video, is truncated or encrypted, or its first frame is
            damaged.

    Example:
        >>> with VideoReader("walk.mp4") as video:  # doctest: +SKIP
        ...     frames = video.read([0, 8, 16])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        stream: int | None = None,
        allow_damaged: bool = False,
        n_threads: int = 0,
    ) -> None:
        self.path = Path(path)
        self._source = VideoSource(self.path, stream, n_threads, skips_damage=allow_damaged)
        try:
            self._fetcher = FrameFetcher.of_source(self._source)
            self._first = self._fetcher.fetch(0)
        except BaseException:
            self._source.close()
            raise
        self._orientation = Orientation.of_frame(self._first)
        self._reformatter = VideoReformatter()
        self.info = self._describe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.info.n_frames

    @property
    def timestamps_seconds(self) -> npt.NDArray[np.float64]:
        """Time of each frame since the first one, in seconds.

        If times are missing or mostly repeat, they are computed from the declared frame rate.
        """
        return self._fetcher.index.seconds.copy()

    def close(self) -> None:
        """Close the file; after that, no frames can be read."""
        self._source.close()

    def read(self, frame_indices: Indices) -> npt.NDArray[np.uint8]:
        """Read frames by index, in any order and with repeats.

        Args:
            frame_indices: each in [0, n_frames).

        Returns:
            Upright 8-bit RGB frames (len(frame_indices), height, width, 3).

        Raises:
            ValueError: if an index lies outside the video.
            VideoError: if a frame is damaged.
        """
        indices = self._checked(frame_indices)
        frames = np.empty((len(indices), self.info.height, self.info.width, 3), dtype=np.uint8)
        for wanted, frame in self._stream(np.unique(indices)):
            frames[indices == wanted] = frame
        return frames

    def frames(self, indices: Indices | None = None) -> Iterator[NumberedFrame]:
        """Yield frames in presentation order, each once, with one in memory at a time.

        Args:
            indices: of the frames, each in [0, n_frames); ``None`` yields all frames.

        Returns:
            Pairs of an index and the upright 8-bit RGB frame (height, width, 3).

        Raises:
            ValueError: if an index lies outside the video.
            VideoError: if a frame is damaged, after the frames before it have been yielded.
        """
        every = np.arange(self.info.n_frames)
        return self._stream(every if indices is None else np.unique(self._checked(indices)))

    def _checked(self, indices: Indices) -> npt.NDArray[np.int64]:
        array = np.asarray(indices)
        if array.size == 0:
            return np.zeros(0, dtype=np.int64)
        is_whole = array.ndim == 1 and array.dtype.kind in "iu"
        checks.require(is_whole, "frame_indices", "be a sequence of whole numbers", indices)
        outside = array[(array < 0) | (array >= self.info.n_frames)]
        if outside.size:
            requirement = f"lie in [0, {self.info.n_frames}), the frames of {self.path}"
            checks.require(False, "frame_indices", requirement, int(outside[0]))
        return array.astype(np.int64)

    def _stream(self, ascending: npt.NDArray[np.int64]) -> Iterator[NumberedFrame]:
        first, wanted = self._first, self._fetcher.times(ascending)
        for index in ascending.tolist():
            frame = self._fetcher.fetch(index, wanted)
            if (frame.width, frame.height) != (first.width, first.height):
                sizes = f"{first.width} x {first.height} to {frame.width} x {frame.height}"
                problem = f"changes size from {sizes} at {self._fetcher.where(index)}"
                raise VideoError(self.path, problem, "Re-encode it to one size.")
            image = rgb_array(frame, self._reformatter)
            yield index, np.ascontiguousarray(self._orientation.apply(image))

    def _describe(self) -> VideoInfo:
        index, first, video = self._fetcher.index, self._first, self._source.video
        width, height = first.width, first.height
        if self._orientation.is_transposed:
            width, height = height, width
        return VideoInfo(
            width=width,
            height=height,
            n_frames=index.n_frames,
            fps=index.fps,
            duration_seconds=index.duration_seconds,
            rotation_degrees=self._orientation.rotation_degrees,
            codec=video.codec_context.codec.canonical_name,
            pixel_format=first.format.name,
            stream_index=video.index,
        )
