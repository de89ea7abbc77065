"""Frames of a video by exact index.

The index of a frame is its place in the order of presentation. It does not depend on the frame
rate, on how the file was seeked, or on how many threads decode: ``read([i])`` gives the frame that
decoding the whole file from its start gives as the ``i``-th.

Damage is never passed over in silence. By default a file that declares more bytes than it has is
refused, and a frame that cannot be decoded, or only with errors concealed, raises a ``VideoError``
that names it. With ``allow_damaged=True`` the file is decoded once in full, its frames are those
that come out whole, and what is left out is logged as a warning.

Colour follows the stream's own matrix and range; a stream that names no matrix is taken as BT.601,
as FFmpeg, OpenCV and torchcodec take it. High dynamic range is not tone-mapped, pixels that are not
square stay as stored, interlaced frames are not deinterlaced.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt

from timeception import checks
from timeception.video.files import ADVICE_REPLACE, VideoError, missing_bytes
from timeception.video.index import (
    FrameIndex,
    Packets,
    build_index,
    is_ascending,
    scan_packets,
    shows_one_frame_a_packet,
)
from timeception.video.pixels import Orientation, rgb_array
from timeception.video.source import SeekError, VideoSource

logger = logging.getLogger(__name__)

ADVICE_DAMAGED = "Fetch the file again, or allow damaged files to use the frames that decode."
WORTH_A_SEEK_FRAMES = 8  # fewer frames in between are decoded, which costs less than a seek


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


class _MissingFrameError(Exception):
    """The frame with this index did not come out of the decoder, or not whole."""

    def __init__(self, index: int) -> None:
        self.index = index
        super().__init__(index)


class VideoReader:
    """Read frames of a video file by exact index.

    Only what is needed is decoded: from the last keyframe before each frame, or onward from the
    frame read last. Every seek is verified by the frames' times; in a file whose times do not allow
    that, frames are counted from the start.

    Args:
        path: the file.
        stream: index of the video stream; ``None`` takes the best one as FFmpeg ranks them.
        allow_damaged: use the frames that decode whole instead of refusing a damaged file.
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
        self._allow_damaged = allow_damaged
        self._can_seek = not allow_damaged
        self._index: FrameIndex
        self._current: tuple[int, av.VideoFrame] | None = None
        self._numbered: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._start = 0  # where the frames that are being numbered began
        self._next: int | None = None  # the one that they give next
        self._source = VideoSource(self.path, stream, n_threads, skips_damage=allow_damaged)
        try:
            self._index, first = self._make_index()
        except BaseException:
            self.close()
            raise
        self._orientation = Orientation.of_frame(first)
        self._stored_size = first.width, first.height
        self.info = self._describe(first)

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

        In a file whose times are missing or repeat, frames are spaced by the declared rate.
        """
        return self._index.seconds.copy()

    def close(self) -> None:
        """Close the file; the reader reads no more after that."""
        self._source.close()
        self._current, self._numbered = None, iter(())

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
        for index in ascending.tolist():
            frame = self._fetch(index)
            if (frame.width, frame.height) != self._stored_size:
                was = "{} x {}".format(*self._stored_size)
                now = f"{frame.width} x {frame.height}"
                problem = f"changes size from {was} to {now} at {self._where(index)}"
                raise VideoError(self.path, problem, "Re-encode it to one size.")
            yield index, np.ascontiguousarray(self._orientation.apply(rgb_array(frame)))

    def _fetch(self, index: int) -> av.VideoFrame:
        """Decode the frame with the given index."""
        if self._current is not None and self._current[0] == index:
            return self._current[1]
        start = self._index.start_for(index) if self._can_seek else 0
        comes_soon = self._next is not None and (
            self._next <= index and start <= self._next + WORTH_A_SEEK_FRAMES
        )
        try:
            return self._advance(index, None if comes_soon else start)
        except _MissingFrameError as missing:
            if self._start == 0:
                raise self._damage(self._where(missing.index)) from missing
        try:
            frame = self._advance(index, 0)
        except _MissingFrameError as missing:
            raise self._damage(self._where(missing.index)) from missing
        logger.debug("%s: seeking does not give the frames that it should; not used", self.path)
        self._can_seek = False
        return frame

    def _advance(self, index: int, start: int | None) -> av.VideoFrame:
        """Decode up to ``index``: from ``start``, or onward (``None``)."""
        if start is not None:
            self._numbered = self._numbered_frames(start)
            self._start = start
        self._current = self._next = None  # after an error, start anew
        for number, frame in self._numbered:
            if number == index:
                self._current, self._next = (number, frame), number + 1
                return frame
        raise _MissingFrameError(self._index.n_frames)

    def _numbered_frames(self, start: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames with their indices from a place to start, as long as none is missing or broken."""
        pts = self._index.pts
        number = start
        try:
            if start == 0 or pts is None:
                frames = self._source.frames()
            else:
                frames = self._source.frames_from(int(pts[start]))
            for frame in frames:
                if pts is not None and frame.pts is not None and frame.pts < pts[start]:
                    continue  # needs what lies before the place to start
                is_due = pts is None or (number < len(pts) and frame.pts == pts[number])
                if frame.is_corrupt or not is_due:
                    break
                yield number, frame
                number += 1
        except (SeekError, av.FFmpegError) as error:
            raise _MissingFrameError(number) from error
        raise _MissingFrameError(number)

    def _make_index(self) -> tuple[FrameIndex, av.VideoFrame]:
        """Index the frames and decode the first one."""
        shortfall = missing_bytes(self.path)
        if shortfall:
            problem = f"is cut short: {shortfall} bytes are missing at its end"
            if not self._allow_damaged:
                raise VideoError(self.path, problem, ADVICE_DAMAGED)
            logger.warning("%s %s", self.path, problem)
        packets = self._scan()
        if not self._allow_damaged and shows_one_frame_a_packet(self._source):
            self._index = build_index(packets.pts, packets, self._source.video)
            try:
                first = self._fetch(0)
            except VideoError as error:
                logger.debug("%s; counting its frames by decoding", error)
            else:
                if not first.interlaced_frame:
                    return self._index, first
        self._index = self._count_by_decoding(packets)
        return self._index, self._fetch(0)

    def _scan(self) -> Packets:
        try:
            packets = scan_packets(self._source.packets())
        except av.FFmpegError as error:
            raise VideoError(self.path, "breaks off while it is read", ADVICE_DAMAGED) from error
        if packets.is_encrypted:
            problem = "is encrypted (DRM): its frames cannot be decoded"
            raise VideoError(self.path, problem, "Give a file without copy protection.")
        if not packets.pts:
            raise VideoError(self.path, "has a video stream without frames", ADVICE_REPLACE)
        return packets

    def _count_by_decoding(self, packets: Packets) -> FrameIndex:
        """Index the frames that come out of the decoder."""
        pts: list[int | None] = []
        try:
            for frame in self._source.frames():
                if frame.is_corrupt:
                    raise self._damage(f"frame {len(pts)}")
                pts.append(frame.pts)
        except av.FFmpegError as error:
            raise self._damage(f"frame {len(pts)}") from error
        if not pts:
            raise VideoError(self.path, "has no frame that can be decoded", ADVICE_REPLACE)
        if len(pts) < len(packets.pts):
            logger.warning(
                "%s: %d packets gave %d frames; the others show nothing or are damaged",
                self.path,
                len(packets.pts),
                len(pts),
            )
        if not is_ascending(pts):
            pts = [None] * len(pts)
        return build_index(pts, packets, self._source.video)

    def _damage(self, where: str) -> VideoError:
        problem = f"is damaged: {where} does not decode"
        return VideoError(self.path, problem, ADVICE_DAMAGED)

    def _where(self, index: int) -> str:
        """Name a frame by its index and, where known, its time."""
        return f"frame {index} ({self._index.seconds[index]:.3f} s) of {self._index.n_frames}"

    def _describe(self, first: av.VideoFrame) -> VideoInfo:
        width, height = first.width, first.height
        if self._orientation.is_transposed:
            width, height = height, width
        return VideoInfo(
            width=width,
            height=height,
            n_frames=self._index.n_frames,
            fps=self._index.fps,
            duration_seconds=self._index.duration_seconds,
            rotation_degrees=self._orientation.rotation_degrees,
            codec=self._source.video.codec_context.codec.canonical_name,
            pixel_format=first.format.name,
            stream_index=self._source.video.index,
        )
