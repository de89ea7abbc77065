"""Decoded frames by index, with as little decoding as can be verified."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import av

from timeception.video.files import (
    ADVICE_DAMAGED,
    ADVICE_REPLACE,
    VideoError,
    has_encrypted_track,
    missing_bytes,
)
from timeception.video.index import (
    FrameIndex,
    Packets,
    build_index,
    is_ascending,
    scan_packets,
    shows_one_frame_a_packet,
)
from timeception.video.source import SeekError, VideoSource

logger = logging.getLogger(__name__)

WORTH_A_SEEK_FRAMES = 8  # fewer frames in between are decoded, which costs less than a seek


class _MissingFrameError(Exception):
    """The frame with this index did not come out of the decoder, or not whole."""

    def __init__(self, index: int) -> None:
        self.index = index
        super().__init__(index)


class FrameFetcher:
    """Indexes the frames of a source and decodes those that are asked for.

    A frame is reached from the last keyframe before it, or onward from the frame fetched last.
    Decoded frames are told by their times: one that is missing, late or broken after a seek makes
    the fetcher count from the file's start instead, and there it means damage.

    Args:
        source: the stream; if it skips damage, frames are those that decode whole, and each is
            reached from the file's start.

    Attributes:
        index: the frames.
        first: the first frame, decoded.

    Raises:
        VideoError: if the file is cut short, encrypted, or its first frame is damaged.
    """

    index: FrameIndex

    def __init__(self, source: VideoSource) -> None:
        self._source = source
        self._can_seek = not source.skips_damage
        self._current: tuple[int, av.VideoFrame] | None = None
        self._numbered: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._start = 0  # where the frames that are being numbered began
        self._next: int | None = None  # the one that they give next
        self._check_length()
        self.first = self._index_frames(self._scan())

    def fetch(self, index: int) -> av.VideoFrame:
        """Decode the frame with the given index.

        Raises:
            VideoError: if it, or a frame that it needs, is damaged.
        """
        if self._current is not None and self._current[0] == index:
            return self._current[1]
        start = self.index.start_for(index) if self._can_seek else 0
        comes_soon = self._next is not None and (
            self._next <= index and start <= self._next + WORTH_A_SEEK_FRAMES
        )
        try:
            return self._advance(index, None if comes_soon else start)
        except _MissingFrameError as missing:
            if self._start == 0:
                raise self._damage(self.where(missing.index)) from missing
        try:
            frame = self._advance(index, 0)
        except _MissingFrameError as missing:
            raise self._damage(self.where(missing.index)) from missing
        logger.debug("%s: seeks miss their frames and are not used", self._source.path)
        self._can_seek = False
        return frame

    def where(self, index: int) -> str:
        """Name a frame by its index and its time."""
        return f"frame {index} ({self.index.seconds[index]:.3f} s) of {self.index.n_frames}"

    def _advance(self, index: int, start: int | None) -> av.VideoFrame:
        """Decode up to ``index``: from ``start``, or onward (``None``)."""
        if start is not None:
            self._numbered, self._start = self._numbered_frames(start), start
        self._current = self._next = None  # after an error, start anew
        for number, frame in self._numbered:
            if number == index:
                self._current, self._next = (number, frame), number + 1
                return frame
        raise _MissingFrameError(index)

    def _numbered_frames(self, start: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames with their indices from a place to start, until one is missing or broken."""
        pts = self.index.pts
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

    def _check_length(self) -> None:
        path = self._source.path
        shortfall = missing_bytes(path)
        if not shortfall:
            return
        problem = f"is cut short: {shortfall} bytes are missing at its end"
        if not self._source.skips_damage:
            raise VideoError(path, problem, ADVICE_DAMAGED)
        logger.warning("%s %s", path, problem)

    def _scan(self) -> Packets:
        path = self._source.path
        try:
            packets = scan_packets(self._source.packets())
        except av.FFmpegError as error:
            raise VideoError(path, "breaks off while it is read", ADVICE_DAMAGED) from error
        if packets.is_encrypted:
            raise VideoError.encrypted(path)
        if not packets.pts:
            raise VideoError(path, "has a video stream without frames", ADVICE_REPLACE)
        return packets

    def _index_frames(self, packets: Packets) -> av.VideoFrame:
        """Index the frames, by packets if these can be trusted; returns the first one."""
        skips_damage = self._source.skips_damage
        is_one_a_packet = shows_one_frame_a_packet(self._source)
        if is_one_a_packet and packets.tell_frames_apart and not skips_damage:
            self.index = build_index(packets.pts, packets, self._source.video)
            try:
                first = self.fetch(0)
            except VideoError as error:
                logger.debug("%s Counting the frames by decoding.", error)
            else:
                if not first.interlaced_frame:  # two packets may make one interlaced frame
                    return first
        self.index = self._count_by_decoding(packets)
        first = self.fetch(0)
        n_packets = len(packets.pts)
        if is_one_a_packet and not first.interlaced_frame and self.index.n_frames < n_packets:
            lost = f"{n_packets - self.index.n_frames} of {n_packets} frames"
            if not (skips_damage or packets.begin_midway):
                raise self._damage(lost)
            logger.warning("%s: %s do not decode and are left out", self._source.path, lost)
        return first

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
            path = self._source.path
            raise VideoError(path, "has no frame that can be decoded", ADVICE_REPLACE)
        if not is_ascending(pts):
            pts = [None] * len(pts)
        return build_index(pts, packets, self._source.video)

    def _damage(self, what: str) -> VideoError:
        path = self._source.path
        if has_encrypted_track(path):
            return VideoError.encrypted(path)
        return VideoError(path, f"is damaged: cannot decode {what}", ADVICE_DAMAGED)
