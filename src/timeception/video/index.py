"""The index of a video: presentation order, times, and frames at which decoding can start.

If every packet shows one frame, the index is made from the packets (demuxing without decoding);
otherwise it is made from decoded frames.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

from timeception.video.files import (
    ADVICE_DAMAGED,
    ADVICE_REPLACE,
    VideoError,
    has_encrypted_track,
    missing_bytes,
)
from timeception.video.source import VideoSource

logger = logging.getLogger(__name__)

#: Codecs in which every packet shows exactly one frame, except for field-coded video. Frames of
#: other codecs are counted by decoding: VP8 has hidden frames, MPEG-4 in AVI packs several frames.
ONE_FRAME_A_PACKET = frozenset(
    {"h264", "hevc", "vp9", "av1", "mjpeg", "prores", "dnxhd", "ffv1", "mpeg1video", "mpeg2video"}
)
PROGRESSIVE = (0, 1)  # AVFieldOrder: unknown, progressive
MAX_FRAMES_AHEAD = 16  # frames are predicted from frames shown at most this much later
MAX_FPS = 1000.0  # a header that claims more is wrong


@dataclass(frozen=True)
class Packets:
    """The packets of a video stream in file order, from demuxing."""

    pts: tuple[int | None, ...]
    is_keyframe: tuple[bool, ...]
    is_encrypted: bool
    last_duration: int | None  # of the packet presented last, in units of the time base

    @property
    def have_unique_times(self) -> bool:
        """Whether every packet has a presentation time that no other packet has."""
        return None not in self.pts and len(set(self.pts)) == len(self.pts)

    @property
    def begin_midway(self) -> bool:
        """Whether the file starts before its first keyframe, as a part of a broadcast does."""
        return not self.is_keyframe[0] or (
            self.pts[0] is not None
            and min(time for time in self.pts if time is not None) < self.pts[0]
        )


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a video in presentation order.

    Attributes:
        pts: strictly ascending presentation times in units of the time base. ``None`` if times
            are missing or repeat; frames are then identified by counting.
        starts: frame indices at which decoding can start, ascending; the first is 0.
        trusted_after: for each frame, the last one in presentation order of all frames decoded up
            to it. Frames may be predicted from frames shown later, so damage is ruled out only
            once that frame is decoded intact.
        seconds: time of each frame since the first one.
        duration_seconds: from the start of the first frame to the end of the last one.
    """

    n_frames: int
    pts: npt.NDArray[np.int64] | None
    starts: npt.NDArray[np.int64]
    trusted_after: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    fps: float
    duration_seconds: float

    def start_for(self, frame: int) -> int:
        """The last frame at which decoding can start in order to show ``frame``."""
        return int(self.starts[np.searchsorted(self.starts, frame, side="right") - 1])


def scan_packets(packets: Iterable[av.Packet[VideoStream]]) -> Packets:
    """Read all packets, except for empty ones and those hidden by an edit list."""
    pts: list[int | None] = []
    is_keyframe: list[bool] = []
    is_encrypted = False
    latest, last_duration = None, None
    for packet in packets:
        if packet.size == 0 or packet.is_discard:
            continue
        pts.append(packet.pts)
        is_keyframe.append(packet.is_keyframe)
        is_encrypted = is_encrypted or packet.has_sidedata("encryption_info")
        if packet.pts is not None and (latest is None or packet.pts >= latest):
            latest, last_duration = packet.pts, packet.duration
    return Packets(tuple(pts), tuple(is_keyframe), is_encrypted, last_duration)


def shows_one_frame_a_packet(source: VideoSource) -> bool:
    """Whether the frames of a stream can be counted by its packets."""
    context = source.video.codec_context
    return (
        context.codec.canonical_name in ONE_FRAME_A_PACKET
        and context.field_order in PROGRESSIVE
        and source.container.format.name != "avi"  # its presentation times are estimates
    )


def without_damage(packets: Packets, damaged: Set[int | None]) -> frozenset[int | None]:
    """Times of the frames that no damage affects.

    Damage affects every later frame in decoding order up to the next keyframe, and the frames
    decoded after the keyframe but shown before it. ``damaged`` holds times of packets.
    """
    sound: list[int | None] = []
    is_reached, shown_before = False, None
    for time, is_keyframe in zip(packets.pts, packets.is_keyframe, strict=True):
        if is_keyframe:
            shown_before = time if is_reached else None
            is_reached = False
        is_reached = is_reached or time in damaged
        is_leading = time is not None and shown_before is not None and time < shown_before
        if time is not None and not is_reached and not is_leading:
            sound.append(time)
    return frozenset(sound)


def is_ascending(pts: Sequence[int | None]) -> bool:
    """Whether all times are known and strictly ascending."""
    known = [time for time in pts if time is not None]
    return len(known) == len(pts) and all(a < b for a, b in pairwise(known))


def build_index(pts: Sequence[int | None], packets: Packets, stream: VideoStream) -> FrameIndex:
    """Make the index of frames with the given presentation times.

    Times may be in any order. If some repeat, they still date the frames but do not identify them.
    If half of them repeat or any is missing, the declared frame rate dates the frames.
    """
    times = [time for time in pts if time is not None]
    n_frames, n_distinct = len(pts), len(set(times))
    if len(times) < n_frames or n_distinct <= n_frames // 2 or stream.time_base is None:
        return _counted_index(n_frames, stream)
    ordered = np.sort(np.array(times, dtype=np.int64))
    marks = zip(packets.pts, packets.is_keyframe, strict=True)
    keyframes = [time for time, is_keyframe in marks if is_keyframe and time is not None]
    can_seek = n_distinct == n_frames
    starts = np.flatnonzero(np.isin(ordered, keyframes if can_seek else []))
    time_base = stream.time_base
    elapsed = ordered - ordered[0]
    if n_frames > 1:
        fps = float((n_frames - 1) / (int(elapsed[-1]) * time_base))
    else:
        fps = declared_fps(stream)
    seconds = elapsed * time_base.numerator / time_base.denominator
    last_seconds = float((packets.last_duration or 0) * time_base) or 1 / fps
    return FrameIndex(
        n_frames=n_frames,
        pts=ordered if can_seek else None,
        starts=np.union1d([0], starts).astype(np.int64),
        trusted_after=_trusted_after(ordered, packets.pts, stream),
        seconds=seconds,
        fps=fps,
        duration_seconds=float(seconds[-1]) + last_seconds,
    )


def _counted_index(n_frames: int, stream: VideoStream) -> FrameIndex:
    """An index with times computed from the declared frame rate."""
    fps = declared_fps(stream)
    return FrameIndex(
        n_frames=n_frames,
        pts=None,
        starts=np.zeros(1, dtype=np.int64),
        trusted_after=_trusted_after(np.arange(n_frames), (), stream),
        seconds=np.arange(n_frames) / fps,
        fps=fps,
        duration_seconds=n_frames / fps,
    )


def _trusted_after(
    ordered: npt.NDArray[np.int64], packet_pts: Sequence[int | None], stream: VideoStream
) -> npt.NDArray[np.int64]:
    """See ``FrameIndex.trusted_after``; an upper bound if packets have no times."""
    frames = np.arange(len(ordered))
    decoded = [time for time in packet_pts if time is not None]
    if not decoded or len(decoded) < len(packet_pts):
        ahead = MAX_FRAMES_AHEAD if stream.codec_context.has_b_frames else 0
        return np.minimum(frames + ahead, len(ordered) - 1)
    places = np.searchsorted(ordered, decoded, side="right") - 1
    latest = np.maximum.accumulate(places)
    trusted_after = frames.copy()
    is_frame = places >= 0
    np.maximum.at(trusted_after, places[is_frame], latest[is_frame])
    return trusted_after


def declared_fps(stream: VideoStream) -> float:
    """The frame rate declared by the codec's header, else by the container; 25 if none is."""
    for rate in (stream.codec_context.framerate, stream.guessed_rate, stream.average_rate):
        if rate and 0 < rate <= MAX_FPS:
            return float(rate)
    return 25.0


def scan(source: VideoSource) -> Packets:
    """Read all packets of a source.

    Raises:
        VideoError: if the file is truncated, unless damage is skipped; if it cannot be read to
            its end, is encrypted, or its stream is empty.
    """
    path = source.path
    shortfall = missing_bytes(path)
    if shortfall:
        problem = f"is cut short: {shortfall} bytes are missing at its end"
        if not source.skips_damage:
            raise VideoError(path, problem, ADVICE_DAMAGED)
        logger.warning("%s %s", path, problem)
    try:
        packets = scan_packets(source.packets())
    except av.FFmpegError as error:
        raise VideoError(path, "cannot be read to its end", ADVICE_DAMAGED) from error
    if packets.is_encrypted:
        raise VideoError.encrypted(path)
    if not packets.pts:
        raise VideoError(path, "has a video stream without frames", ADVICE_REPLACE)
    return packets


def index_of_packets(source: VideoSource, packets: Packets) -> FrameIndex | None:
    """Index the frames without decoding them; ``None`` if the result would be uncertain."""
    if shows_one_frame_a_packet(source) and packets.have_unique_times:
        return build_index(packets.pts, packets, source.video)
    return None


def index_of_decoded_frames(source: VideoSource, packets: Packets) -> FrameIndex:
    """Index the frames that the decoder returns.

    In a part of a broadcast, which starts before its first keyframe, frames may be missing at the
    start; a warning reports how many.

    Raises:
        VideoError: if a frame is damaged or missing.
    """
    pts: list[int | None] = []
    is_interlaced = False
    try:
        for frame in source.frames():
            if frame.is_corrupt:
                raise damage_error(source.path, f"frame {len(pts)}")
            pts.append(frame.pts)
            is_interlaced = is_interlaced or frame.interlaced_frame
    except (av.FFmpegError, VideoError) as error:
        if source.use_one_thread():  # several threads lose frames before a damaged one
            return index_of_decoded_frames(source, packets)
        raise damage_error(source.path, f"frame {len(pts)}") from error
    n_packets = len(packets.pts)
    has_lost_some = shows_one_frame_a_packet(source) and len(pts) < n_packets
    if has_lost_some and not is_interlaced:  # two packets may form one interlaced frame
        lost = f"{n_packets - len(pts)} of {n_packets} frames"
        if not packets.begin_midway:
            raise damage_error(source.path, lost)
        logger.warning("%s: %s cannot be decoded and are left out", source.path, lost)
    return _index(pts, packets, source)


def index_of_intact_frames(source: VideoSource, packets: Packets) -> FrameIndex:
    """Index the frames that no damage affects; a warning reports how many are left out.

    The source must skip damage, so that the whole file is decoded.

    Raises:
        VideoError: if no frame is intact, or the times do not identify the intact frames.
    """
    path = source.path
    intact: list[int | None] = []
    damaged: set[int | None] = set()
    is_one_a_packet = shows_one_frame_a_packet(source)
    for frame in source.frames():
        if frame.is_corrupt:
            damaged.add(frame.pts)
        else:
            intact.append(frame.pts)
        is_one_a_packet = is_one_a_packet and not frame.interlaced_frame
    damaged |= source.undecodable
    if is_one_a_packet:
        damaged |= set(packets.pts) - set(intact)
    if not damaged:
        return _index(intact, packets, source)
    unaffected = without_damage(packets, damaged)
    sound = [time for time in intact if time in unaffected]
    is_traceable = packets.have_unique_times and damaged.union(intact) <= set(packets.pts)
    if not is_traceable or not is_ascending(sound):
        problem = "is damaged, and its times do not identify the intact frames"
        raise VideoError(path, problem, ADVICE_REPLACE)
    n_packets = len(packets.pts)
    lost = f"{n_packets - len(sound)} of {n_packets} frames"
    logger.warning("%s: %s are damaged or depend on damaged ones, and are left out", path, lost)
    return _index(sound, packets, source)


def damage_error(path: Path, what: str) -> VideoError:
    """The error for frames that cannot be decoded: the file is encrypted or damaged."""
    if has_encrypted_track(path):
        return VideoError.encrypted(path)
    return VideoError(path, f"is damaged: cannot decode {what}", ADVICE_DAMAGED)


def _index(pts: list[int | None], packets: Packets, source: VideoSource) -> FrameIndex:
    """Index decoded frames by their times if these ascend, else by counting."""
    if not pts:
        raise VideoError(source.path, "has no frame that can be decoded", ADVICE_REPLACE)
    return build_index(pts if is_ascending(pts) else [None] * len(pts), packets, source.video)
