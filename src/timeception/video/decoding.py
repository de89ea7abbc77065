"""Frames of a video by exact index.

The index of a frame is its place in the order of presentation. It does not depend on the frame
rate, on how the file was seeked, or on how many threads decode: ``read([i])`` gives the frame that
decoding the whole file from its start gives as the ``i``-th.

Damage that the decoder notices is never passed over in silence. By default a file that declares
more bytes than it has is refused, and a frame that does not decode, decodes only with its errors
concealed, or is predicted from such a one raises a ``VideoError``; all that is given is sound.
With ``allow_damaged=True`` the file is decoded once in full, its frames are those that no damage
reaches (they keep their times), and how many are left out is logged as a warning.

High dynamic range is not tone-mapped, pixels that are not square stay as stored, and interlaced
frames are not deinterlaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
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


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video stream.

    Attributes:
        width: of the upright frames, in pixels.
        height: of the upright frames, in pixels.
        n_frames: frames that can be read, counted.
        fps: frames per second, on average over the counted frames.
        duration_seconds: from the first frame's appearance to the last one's end.
        rotation_degrees: clockwise turn that made the stored frames upright: 0, 90, 180 or 270.
        codec: FFmpeg's name of the codec, such as ``"h264"``.
        pixel_format: FFmpeg's name of the stored pixel format, such as ``"yuv420p10le"``.
        stream_index: of the stream in its file.
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
    """Describe a video: its packets are read through and its first frame is decoded.

    Args:
        path: the file.
        stream: index of the video stream; ``None`` takes the best one.

    Returns:
        What ``VideoReader(path).info`` gives.

    Raises:
        VideoError: if the file is no video, cut short, encrypted, or its first frame is damaged.
    """
    with VideoReader(path, stream=stream) as video:
        return video.info


def decoder_version() -> str:
    """Versions of the libraries that decode, as a feature bank records them.

    Example:
        >>> decoder_version().startswith("PyAV ")
        True
    """
    libraries = ("libavcodec", "libswscale")
    versions = (f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in libraries)
    return f"PyAV {av.__version__} ({', '.join(versions)})"


class VideoReader:
    """Read frames of a video file by exact index.

    Only what is needed is decoded: from the last keyframe before each frame, or onward from the
    frame read last. Between several frames asked for at once, those are left out that no other is
    predicted from, where that is certain (H.264 in MP4 and Matroska). Every seek is verified by the
    frames' times; in a file whose times do not allow that, frames are counted from the start.

    Args:
        path: the file.
        stream: index of the video stream; ``None`` takes the best one as FFmpeg ranks them.
        allow_damaged: use the frames that no damage reaches instead of refusing a damaged file.
        n_threads: decoding threads; 0 takes one a core.

    Raises:
        VideoError: if the file is no video, cut short, encrypted, or its first frame is damaged.

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.info.n_frames

    @property
    def timestamps_seconds(self) -> npt.NDArray[np.float64]:
        """Time of each frame since the first, in seconds.

        In a file whose times are missing or mostly repeat, the declared frame rate spaces them.
        """
        return self._fetcher.index.seconds.copy()

    def close(self) -> None:
        """Close the file; a closed reader gives no more frames."""
        self._source.close()

    def read(self, frame_indices: Sequence[int] | npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Read frames by index, in any order, repeats allowed.

        Args:
            frame_indices: each in [0, n_frames).

        Shape:
            (len(frame_indices), height, width, 3)

        Returns:
            Upright 8-bit RGB frames in the order asked.

        Raises:
            ValueError: if an index lies outside the video.
            VideoError: if a frame is damaged.
        """
        indices = self._checked(frame_indices)
        shape = (len(indices), self.info.height, self.info.width, 3)
        frames = np.empty(shape, dtype=np.uint8)
        for wanted, frame in self._stream(np.unique(indices)):
            frames[indices == wanted] = frame
        return frames

    def frames(
        self, indices: Sequence[int] | npt.NDArray[np.integer] | None = None
    ) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """Stream frames in order of presentation, each once, holding one at a time.

        Args:
            indices: frames to give, each in [0, n_frames); ``None`` gives all.

        Returns:
            Pairs of a frame's index and the upright 8-bit RGB frame (height, width, 3).

        Raises:
            ValueError: if an index lies outside the video.
            VideoError: if a frame is damaged; the frames before it have been given by then.
        """
        every = np.arange(self.info.n_frames)
        return self._stream(every if indices is None else np.unique(self._checked(indices)))

    def _checked(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
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

    def _stream(
        self, ascending: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
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
