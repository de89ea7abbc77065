"""Fetch decoded frames by index, with as little decoding as can be verified."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterator

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

from timeception.video.files import VideoError
from timeception.video.h264_nonreference import is_disposable, unit_length_bytes
from timeception.video.index import (
    FrameIndex,
    damage_error,
    index_of_decoded_frames,
    index_of_intact_frames,
    index_of_packets,
    scan,
)
from timeception.video.source import SeekError, VideoSource

logger = logging.getLogger(__name__)

WORTH_A_SEEK_FRAMES = 8  # decoding fewer frames in between costs less than a seek


class _MissingFrameError(Exception):
    """The decoder did not return a frame intact; the argument is the frame's index."""


class FrameFetcher:
    """Decodes requested frames of a source.

    Decoding starts at the last keyframe before a frame, or continues from the previous one. Frames
    are identified by their times. If a frame is missing, late or broken after a seek, the fetcher
    counts from the start of the file instead; if it is still missing there, the file is damaged.

    If the frames to be requested next are known, others from which no frame is predicted are not
    decoded.

    If the source skips damage, the index contains only the intact frames, and decoding always
    starts at the beginning of the file.
    """

    def __init__(self, source: VideoSource, index: FrameIndex) -> None:
        self.index = index
        self._source = source
        self._can_seek = not source.skips_damage
        self._current: tuple[int, av.VideoFrame] | None = None
        self._next: int | None = None  # the next frame of ``_numbered``
        self._numbered: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._pts = frozenset(() if index.pts is None else index.pts.tolist())
        self._wanted: frozenset[int] | None = None  # times; None: every frame
        self._left_out: set[int] = set()  # times of frames not passed to the decoder
        self._unit_length_bytes: int | None = None

    @classmethod
    def of_source(cls, source: VideoSource) -> FrameFetcher:
        """Index the frames of a source: by its packets if its first frame confirms them.

        Raises:
            VideoError: if the file is truncated or encrypted, or its first frame is damaged.
        """
        packets = scan(source)
        if source.skips_damage:
            return cls(source, index_of_intact_frames(source, packets))
        index = index_of_packets(source, packets)
        if index is not None:
            fetcher = cls(source, index)
            try:
                first = fetcher.fetch(0)
                if not first.interlaced_frame:  # two packets may form one interlaced frame
                    fetcher._unit_length_bytes = unit_length_bytes(source.video.codec_context)
                    return fetcher
            except VideoError as error:
                logger.debug("%s Counting the frames by decoding.", error)
        return cls(source, index_of_decoded_frames(source, packets))

    def times(self, indices: npt.NDArray[np.int64]) -> frozenset[int] | None:
        """Times of frames for ``fetch``; ``None`` if every frame must be decoded."""
        if self.index.pts is None or self._unit_length_bytes is None or len(indices) < 2:
            return None
        return frozenset(self.index.pts[indices].tolist())

    def fetch(self, index: int, wanted: frozenset[int] | None = None) -> av.VideoFrame:
        """Decode the frame with the given index.

        ``wanted`` holds the times of this frame and of the next requests: other frames may be
        skipped. With ``None``, any frame may be requested next.

        Raises:
            VideoError: if the frame, or one that it is predicted from, is damaged.
        """
        self._source.check_open()
        if self._current is not None and self._current[0] == index:
            return self._current[1]
        self._wanted = wanted
        start = self.index.start_for(index) if self._can_seek else 0
        comes_soon = (
            self._next is not None
            and self._next <= index
            and start <= self._next + WORTH_A_SEEK_FRAMES
            and not self._is_left_out(index)
        )
        lost = index
        for attempt in [*([None] if comes_soon else []), start, *([0] if start else [])]:
            try:
                frame = self._advance(index, attempt)
            except _MissingFrameError as missing:
                lost = missing.args[0]
            else:
                if start and attempt == 0:
                    logger.debug("%s: seeks miss their frames and are not used", self._source.path)
                    self._can_seek = False
                return frame
        if wanted is not None:  # decode all frames, to rule out that skipping is the cause
            self._unit_length_bytes = None
            return self.fetch(index)
        if self._source.use_one_thread():  # several threads lose frames before a damaged one
            return self.fetch(index)
        raise damage_error(self._source.path, self.where(lost))

    def where(self, index: int) -> str:
        """Describe a frame by its index and time."""
        return f"frame {index} ({self.index.seconds[index]:.3f} s) of {self.index.n_frames}"

    def _advance(self, index: int, start: int | None) -> av.VideoFrame:
        """Decode up to ``index`` from ``start``; ``None`` continues from the previous frame."""
        if start is not None:
            self._left_out.clear()
            self._numbered = self._numbered_frames(start)
        self._current = self._next = None  # after an error, decoding starts again
        for number, frame in self._numbered:
            if number == index:
                self._current, self._next = (number, frame), number + 1
                return frame
        raise _MissingFrameError(index)

    def _numbered_frames(self, start: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Numbered frames from a keyframe, until one is missing or broken.

        A frame is held back until all frames that it may be predicted from are decoded intact.
        """
        pts, trusted_after = self.index.pts, self.index.trusted_after
        number = start
        held: deque[tuple[int, av.VideoFrame]] = deque()
        try:
            for frame in itertools.chain(self._frames_from(start), [None]):
                while self._is_left_out(number):
                    number += 1
                if frame is not None:
                    is_due = pts is None or (number < len(pts) and frame.pts == pts[number])
                    if frame.is_corrupt or not is_due:
                        break
                    held.append((number, frame))
                    number += 1
                while held and trusted_after[held[0][0]] < number:
                    yield held.popleft()
        except (SeekError, av.FFmpegError) as error:
            raise _MissingFrameError(held[0][0] if held else number) from error
        raise _MissingFrameError(held[0][0] if held else number)

    def _is_left_out(self, index: int) -> bool:
        """Whether a frame was skipped since decoding started."""
        pts = self.index.pts
        return pts is not None and index < len(pts) and int(pts[index]) in self._left_out

    def _leaves_out(self, packet: av.Packet[VideoStream]) -> bool:
        """Decide whether to skip a packet that is neither wanted nor needed, and remember it."""
        if self._wanted is None or self._unit_length_bytes is None or packet.pts is None:
            return False
        is_unwanted = packet.pts in self._pts and packet.pts not in self._wanted
        if is_unwanted and is_disposable(memoryview(packet), self._unit_length_bytes):
            self._left_out.add(packet.pts)
            return True
        return False

    def _frames_from(self, start: int) -> Iterator[av.VideoFrame]:
        """Frames from a keyframe, without those presented before it."""
        pts = self.index.pts
        if pts is None:
            yield from self._source.frames()
            return
        first = int(pts[start])
        for frame in self._source.frames(self._leaves_out, first if start else None):
            is_left_out = self._source.skips_damage and frame.pts not in self._pts
            if frame.pts is None or (frame.pts >= first and not is_left_out):
                yield frame
