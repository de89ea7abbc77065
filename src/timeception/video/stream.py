"""Frames of a live stream from a file, a pipe, a URL or a device.

A stream is read once from front to back, without seeks, and its length is unknown. For a file, the
frames and their order are the same as with ``VideoReader``. Damage does not end a stream: frames
that cannot be decoded intact are left out and counted.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from timeception import checks
from timeception.video.files import VideoError, check_readable, explain_unreadable, missing_bytes
from timeception.video.index import declared_fps
from timeception.video.pixels import Orientation, rgb_array
from timeception.video.source import decode_only, video_streams

STDIN = "-"
DEFAULT_TIMEOUT_SECONDS = 30.0
_RETRY_SECONDS = 0.005  # until a device without a new frame is polled again
_SHORT_SECONDS, _SHORT_SHARE = 1.0, 0.05  # tolerated excess of the declared duration
_ADVICE_OPEN = "Check the URL, the device and its --input-format, and the options."
_ADVICE_PIPE = (
    "Pipe a format that can be read front to back, such as MPEG-TS or Matroska "
    "(ffmpeg ... -f mpegts -)."
)


@dataclass(frozen=True)
class StreamSource:
    """The source of a stream.

    Args:
        location: a file; ``"-"`` for standard input; a URL such as ``rtsp://host/name``; or an
            input of ``input_format``, such as a device.
        input_format: FFmpeg's name of the file format or kind of device (``v4l2``,
            ``avfoundation``, ``dshow``, ``mpegts``); ``None`` lets FFmpeg detect it.
        options: FFmpeg options, such as ``{"rtsp_transport": "tcp"}``. FFmpeg ignores unknown
            ones.
        timeout_seconds: how long to wait for a frame; 0 waits forever.

    Raises:
        ValueError: if FFmpeg does not know the format, or the time is negative.
    """

    location: str
    input_format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        is_time = 0 <= self.timeout_seconds < float("inf")
        checks.require(is_time, "timeout_seconds", "be 0 or more", self.timeout_seconds)
        if self.input_format is not None:
            try:
                av.ContainerFormat(self.input_format, "r")
            except ValueError:
                advice = "See `ffmpeg -formats` and `ffmpeg -devices`."
                requirement = "be a format that this FFmpeg can read"
                checks.require(False, "input_format", requirement, self.input_format, advice)

    @property
    def name(self) -> str:
        """The location without a password, for messages."""
        if self.location == STDIN:
            return "standard input"
        # This may remove more than the password from a malformed URL.
        return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", self.location)

    @property
    def is_address(self) -> bool:
        """Whether the location is a URL."""
        return "://" in self.location

    @property
    def path(self) -> Path | None:
        """The path if the location is a file; ``None`` for named pipes, devices and others."""
        if self.input_format or self.is_address or self.location == STDIN:
            return None
        path = Path(self.location)
        is_special = path.exists() and not path.is_file() and not path.is_dir()
        return None if is_special else path


@dataclass(frozen=True)
class StreamFrame:
    """One frame, ``seconds`` after the first one; its pixels are converted on request."""

    seconds: float
    _frame: av.VideoFrame
    _orientation: Orientation
    _reformatter: VideoReformatter  # shared by all frames

    def rgb(self) -> npt.NDArray[np.uint8]:
        """The upright 8-bit RGB frame (height, width, 3)."""
        image = rgb_array(self._frame, self._reformatter)
        return np.ascontiguousarray(self._orientation.apply(image))


class FrameStream:
    """Iterates over the frames of a stream once; it is opened when iteration starts.

    Attributes:
        n_frames: frames so far.
        n_damaged: packets and frames so far that could not be decoded intact.
        seen_at: ``time.monotonic()`` of the last frame.
    """

    def __init__(self, source: StreamSource) -> None:
        self.source = source
        self.n_frames = self.n_damaged = 0
        self.seen_at = time.monotonic()

    def __iter__(self) -> Iterator[StreamFrame]:
        """Open the stream and yield its frames until it ends.

        Raises:
            VideoError: if it cannot be opened, breaks off, has no frames, or changes its size.
        """
        self.seen_at = time.monotonic()
        with self._open() as container:
            video = self._choose_stream(container)
            clock, first, orientation = _Clock(container, video), None, Orientation()
            reformatter = VideoReformatter()
            time_base = float(video.time_base or 0)
            declared, end = (video.duration or 0) * time_base, 0.0
            for frame in self._decode(container, video):
                self.seen_at = time.monotonic()
                if first is None:
                    first, orientation = frame, Orientation.of_frame(frame)
                elif (frame.width, frame.height) != (first.width, first.height):
                    sizes = f"{first.width} x {first.height} to {frame.width} x {frame.height}"
                    self._fail(f"changes size from {sizes}", "Start a new stream for each size.")
                self.n_frames += 1
                seconds = clock.advance(frame.pts)
                end = seconds + (frame.duration or 0) * time_base
                yield StreamFrame(seconds, frame, orientation, reformatter)
        self._check_end(end, declared)

    def _open(self) -> InputContainer:
        source = self.source
        location = "pipe:0" if source.location == STDIN else source.location
        if source.path is not None:
            check_readable(source.path)
            location = f"file:{location}"
        # The consumer reports the timeout; this one, a second later, only unblocks the decoder.
        waits = source.timeout_seconds + 1 if source.timeout_seconds else None
        form, options = source.input_format, dict(source.options)
        try:
            return av.open(location, None, form, options, metadata_errors="replace", timeout=waits)
        except (av.FFmpegError, OSError) as error:
            if source.path is not None:
                raise explain_unreadable(source.path) from error
            advice = _ADVICE_PIPE if source.location == STDIN else _ADVICE_OPEN
            self._fail(f"cannot be opened ({_reason(error)})", advice)

    def _choose_stream(self, container: InputContainer) -> VideoStream:
        videos = video_streams(container)
        if not videos:
            if self.source.path is not None:
                raise explain_unreadable(self.source.path)
            self._fail("holds no video stream", _ADVICE_PIPE)
        video = videos[0]
        if video.codec_context is None:
            problem = "has video whose codec FFmpeg cannot decode"
            self._fail(problem, "Re-encode it, for example to H.264.")
        decode_only(container, video)
        return video

    def _decode(self, container: InputContainer, video: VideoStream) -> Iterator[av.VideoFrame]:
        """Intact frames; packets before the first keyframe do not count as damaged."""
        has_begun = False
        for packet in self._packets(container, video):
            try:
                frames = video.decode(packet)
            except av.FFmpegError:
                frames = []
                self.n_damaged += 1
            for frame in frames:
                if frame.is_corrupt:
                    self.n_damaged += 1
                    continue
                if not has_begun:
                    has_begun, self.n_damaged = True, 0
                yield frame

    def _packets(
        self, container: InputContainer, video: VideoStream
    ) -> Iterator[av.Packet[VideoStream] | None]:
        """Packets, then ``None`` to flush the decoder, also before an error is raised."""
        broken: av.FFmpegError | None = None
        while True:
            try:
                for packet in container.demux(video):
                    self.n_damaged += packet.is_corrupt  # MPEG-TS marks gaps
                    if packet.size:
                        yield packet
                break
            except av.FFmpegError as error:
                # A device may not have a frame yet.
                if not isinstance(error, av.BlockingIOError) or self._is_late():
                    broken = error
                    break
                time.sleep(_RETRY_SECONDS)
        yield None
        if broken is not None:
            advice = "Download the file again, or restart the stream."
            self._fail(f"breaks off ({_reason(broken)})", advice)

    def _is_late(self) -> bool:
        limit = self.source.timeout_seconds
        return bool(limit) and time.monotonic() - self.seen_at > limit

    def _check_end(self, seconds: float, declared_seconds: float) -> None:
        """Raise an error if there were no frames, or the stream ended before its declared end."""
        path = self.source.path
        if not self.n_frames:
            self._fail("has no frame that can be decoded", "Check the content of the stream.")
        shortfall = missing_bytes(path) if path is not None else 0
        if shortfall:
            problem = f"is cut short: {shortfall} bytes are missing at its end"
            self._fail(problem, "Download it again.")
        if declared_seconds - seconds > max(_SHORT_SECONDS, _SHORT_SHARE * declared_seconds):
            ends = f"ends at {seconds:.1f} s, though it declares {declared_seconds:.1f} s"
            self._fail(ends, "Download it again.")

    def _fail(self, problem: str, advice: str) -> NoReturn:
        raise VideoError(self.source.name, problem, advice)


class _Clock:
    """Computes seconds since the first frame; times that go backwards are corrected."""

    def __init__(self, container: InputContainer, video: VideoStream) -> None:
        self.seconds = 0.0  # of the last frame
        self._frame_seconds = 1 / declared_fps(video)
        has_times = container.format.name != "avi"  # its presentation times are estimates
        self._time_base = video.time_base if has_times else None
        self._is_first = True
        self._offset = 0.0

    def advance(self, pts: int | None) -> float:
        """The time of the next frame; ``pts``, if known, is in units of the time base."""
        seconds = due = 0.0 if self._is_first else self.seconds + self._frame_seconds
        if pts is not None and self._time_base is not None:
            seconds = float(pts * self._time_base) + self._offset
        if self._is_first or seconds <= self.seconds:
            self._offset += due - seconds
            seconds = due
        self.seconds, self._is_first = seconds, False
        return seconds


def _reason(error: Exception) -> str:
    """The reason given by the system or FFmpeg, without the URL."""
    return getattr(error, "strerror", None) or os.strerror(getattr(error, "errno", 0) or 0)
