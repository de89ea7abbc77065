"""Decoded frames by index, with as little decoding as can be verified."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Set

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
    without_damage,
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
        source: the stream; if it skips damage, frames are those that no damage reaches, found by
            decoding it in full.

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
        self._sound: Set[int | None] = frozenset()  # times, if damage is skipped
        self._check_length()
        self.first = self._index_frames(self._scan())

    def fetch(self, index: int) -> av.VideoFrame:
        """Decode the frame with the given index.

        Raises:
            VideoError: if it, or a frame that it needs, is damaged.
        """
        self._source.check_open()
        if self._current is not None and self._current[0] == index:
            return self._current[1]
        start = self.index.start_for(index) if self._can_seek else 0
        comes_soon = self._next is not None and (
            self._next <= index and start <= self._next + WORTH_A_SEEK_FRAMES
        )
        attempts = [*([None] if comes_soon else []), start, *([0] if start else [])]
        lost = index
        for attempt in attempts:
            try:
                frame = self._advance(index, attempt)
            except _MissingFrameError as missing:
                lost = missing.index
            else:
                if start and attempt == 0:
                    logger.debug("%s: seeks miss their frames, not used", self._source.path)
                    self._can_seek = False
                return frame
        if self._source.use_one_thread():  # several lose frames before a damaged one
            return self.fetch(index)
        raise self._damage(self.where(lost))

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
        """Frames with their indices from a place to start, until one is missing or broken.

        Each is held back until all that it may be predicted from have come out whole.
        """
        pts, trusted_after = self.index.pts, self.index.trusted_after
        number = start
        held: deque[tuple[int, av.VideoFrame]] = deque()
        try:
            for frame in self._frames_from(start):
                is_due = pts is None or (number < len(pts) and frame.pts == pts[number])
                if frame.is_corrupt or not is_due:
                    break
                held.append((number, frame))
                while held and trusted_after[held[0][0]] <= number:
                    yield held.popleft()
                number += 1
        except (SeekError, av.FFmpegError) as error:
            raise _MissingFrameError(number - len(held)) from error
        raise _MissingFrameError(number - len(held))

    def _frames_from(self, start: int) -> Iterator[av.VideoFrame]:
        """Frames that the index knows, from a place to start."""
        pts = self.index.pts
        if pts is None:
            yield from self._source.frames()
            return
        first = int(pts[start])
        frames = self._source.frames_from(first) if start else self._source.frames()
        for frame in frames:
            is_left_out = self._source.skips_damage and frame.pts not in self._sound
            if frame.pts is None or (frame.pts >= first and not is_left_out):
                yield frame

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
        is_one_a_packet = shows_one_frame_a_packet(self._source)
        if self._source.skips_damage:
            self.index = self._index_sound_frames(packets, is_one_a_packet)
            return self.fetch(0)
        if is_one_a_packet and packets.tell_frames_apart:
            self.index = build_index(packets.pts, packets, self._source.video)
            try:
                first = self.fetch(0)
            except VideoError as error:
                logger.debug("%s Counting the frames by decoding.", error)
            else:
                if not first.interlaced_frame:  # two packets may make one interlaced frame
                    return first
        self.index = self._index_decoded_frames(packets)
        first = self.fetch(0)
        n_packets = len(packets.pts)
        if is_one_a_packet and not first.interlaced_frame and self.index.n_frames < n_packets:
            lost = f"{n_packets - self.index.n_frames} of {n_packets} frames"
            if not packets.begin_midway:
                raise self._damage(lost)
            logger.warning("%s: %s do not decode and are left out", self._source.path, lost)
        return first

    def _index_decoded_frames(self, packets: Packets) -> FrameIndex:
        """Index the frames that come out of the decoder."""
        pts: list[int | None] = []
        try:
            for frame in self._source.frames():
                if frame.is_corrupt:
                    break
                pts.append(frame.pts)
            else:
                return self._build_index(pts, packets)
        except av.FFmpegError as error:
            logger.debug("%s: %s", self._source.path, error)
        if self._source.use_one_thread():
            return self._index_decoded_frames(packets)
        raise self._damage(f"frame {len(pts)}")

    def _index_sound_frames(self, packets: Packets, is_one_a_packet: bool) -> FrameIndex:
        """Index the frames that no damage reaches, among those that come out of the decoder."""
        whole: list[int | None] = []
        damaged: set[int | None] = set()
        for frame in self._source.frames():
            if frame.is_corrupt:
                damaged.add(frame.pts)
            else:
                whole.append(frame.pts)
            is_one_a_packet = is_one_a_packet and not frame.interlaced_frame
        damaged |= self._source.undecodable
        if is_one_a_packet:
            damaged |= set(packets.pts) - set(whole)
        if not damaged:
            self._sound = frozenset(whole)
            return self._build_index(whole, packets)
        path, n_packets = self._source.path, len(packets.pts)
        self._sound = without_damage(packets, damaged)
        sound = [time for time in whole if time in self._sound]
        is_traceable = packets.tell_frames_apart and damaged.union(whole) <= set(packets.pts)
        if not is_traceable or not is_ascending(sound):
            problem = "is damaged, and its times do not tell which frames are sound"
            raise VideoError(path, problem, ADVICE_REPLACE)
        lost = n_packets - len(sound)
        logger.warning(
            "%s: %d of %d frames are damaged or need damaged ones", path, lost, n_packets
        )
        return self._build_index(sound, packets)

    def _build_index(self, pts: list[int | None], packets: Packets) -> FrameIndex:
        """Index decoded frames by their times, if these ascend."""
        if not pts:
            path = self._source.path
            raise VideoError(path, "has no frame that can be decoded", ADVICE_REPLACE)
        known = pts if is_ascending(pts) else [None] * len(pts)
        return build_index(known, packets, self._source.video)

    def _damage(self, what: str) -> VideoError:
        path = self._source.path
        if has_encrypted_track(path):
            return VideoError.encrypted(path)
        return VideoError(path, f"is damaged: cannot decode {what}", ADVICE_DAMAGED)
