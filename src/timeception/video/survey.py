"""The index of a file: from its packets, from its decoded frames, or from the sound ones."""

from __future__ import annotations

import logging
from pathlib import Path

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
from timeception.video.source import VideoSource

logger = logging.getLogger(__name__)


def scan(source: VideoSource) -> Packets:
    """Read through the packets of a source.

    Raises:
        VideoError: if the file is cut short or cannot be read through, unless damage is skipped;
            if it is encrypted, or its stream is empty.
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
        raise VideoError(path, "breaks off while it is read", ADVICE_DAMAGED) from error
    if packets.is_encrypted:
        raise VideoError.encrypted(path)
    if not packets.pts:
        raise VideoError(path, "has a video stream without frames", ADVICE_REPLACE)
    return packets


def index_of_packets(source: VideoSource, packets: Packets) -> FrameIndex | None:
    """Index the frames without decoding them; ``None`` where that would be a guess."""
    if shows_one_frame_a_packet(source) and packets.tell_frames_apart:
        return build_index(packets.pts, packets, source.video)
    return None


def index_of_decoded_frames(source: VideoSource, packets: Packets) -> FrameIndex:
    """Index the frames that come out of the decoder.

    Frames may be missing at the start of a piece that was cut out of a broadcast, which begins
    before its first keyframe: a warning counts them.

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
        if source.use_one_thread():  # several lose frames before a damaged one
            return index_of_decoded_frames(source, packets)
        raise damage_error(source.path, f"frame {len(pts)}") from error
    n_packets = len(packets.pts)
    has_lost_some = shows_one_frame_a_packet(source) and len(pts) < n_packets
    if has_lost_some and not is_interlaced:  # two packets may make one interlaced frame
        lost = f"{n_packets - len(pts)} of {n_packets} frames"
        if not packets.begin_midway:
            raise damage_error(source.path, lost)
        logger.warning("%s: %s do not decode and are left out", source.path, lost)
    return _index(pts, packets, source)


def index_of_sound_frames(source: VideoSource, packets: Packets) -> FrameIndex:
    """Index the frames that no damage reaches; a warning counts those that it does.

    Args:
        source: skips damage, so that all of the file is seen.
        packets: of the source.

    Raises:
        VideoError: if no frame is sound, or the file's times do not tell which ones are.
    """
    path = source.path
    whole: list[int | None] = []
    damaged: set[int | None] = set()
    is_one_a_packet = shows_one_frame_a_packet(source)
    for frame in source.frames():
        if frame.is_corrupt:
            damaged.add(frame.pts)
        else:
            whole.append(frame.pts)
        is_one_a_packet = is_one_a_packet and not frame.interlaced_frame
    damaged |= source.undecodable
    if is_one_a_packet:
        damaged |= set(packets.pts) - set(whole)
    if not damaged:
        return _index(whole, packets, source)
    reachless = without_damage(packets, damaged)
    sound = [time for time in whole if time in reachless]
    is_traceable = packets.tell_frames_apart and damaged.union(whole) <= set(packets.pts)
    if not is_traceable or not is_ascending(sound):
        problem = "is damaged, and its times do not tell which frames are sound"
        raise VideoError(path, problem, ADVICE_REPLACE)
    n_packets = len(packets.pts)
    lost = f"{n_packets - len(sound)} of {n_packets} frames"
    logger.warning("%s: %s are damaged or need damaged ones, and are left out", path, lost)
    return _index(sound, packets, source)


def damage_error(path: Path, what: str) -> VideoError:
    """The error for frames that do not decode: encrypted, or else damaged."""
    if has_encrypted_track(path):
        return VideoError.encrypted(path)
    return VideoError(path, f"is damaged: cannot decode {what}", ADVICE_DAMAGED)


def _index(pts: list[int | None], packets: Packets, source: VideoSource) -> FrameIndex:
    """Index decoded frames by their times, if these ascend."""
    if not pts:
        raise VideoError(source.path, "has no frame that can be decoded", ADVICE_REPLACE)
    known = pts if is_ascending(pts) else [None] * len(pts)
    return build_index(known, packets, source.video)
