"""A video stream of an open file: its packets, and its frames from a given time on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from timeception.video.files import (
    ADVICE_NOT_VIDEO,
    VideoError,
    check_readable,
    explain_unreadable,
    has_encrypted_track,
)

SEEK_MARGINS_SECONDS = (0.0, 0.25, 1.0, 4.0)
LeavesOut = Callable[["av.Packet[VideoStream]"], bool]

_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails  # cover art is not video


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams of a container, the best one by FFmpeg's ranking first."""
    best = container.streams.best("video")
    videos = [video for video in container.streams.video if not video.disposition & _PICTURES]
    return sorted(videos, key=lambda video: video is not best)


def decode_only(container: InputContainer, video: VideoStream) -> None:
    """Discard the packets of all other streams, and decode this one with several threads."""
    for other in container.streams:
        if other.index != video.index:
            other.discard = Discard.all
    video.codec_context.thread_type = "AUTO"


class SeekError(Exception):
    """A seek did not land on a keyframe at or before the requested time."""


class VideoSource:
    """Opens a file, chooses a video stream, and demuxes and decodes it.

    Args:
        stream: index of the video stream; ``None`` selects the best one.
        n_threads: decoding threads; 0 uses one per core.
        skips_damage: skip packets that cannot be decoded, and record their times.

    Attributes:
        video: the chosen stream.
        undecodable: times of the skipped packets.

    Raises:
        VideoError: if the file cannot be opened or has no such stream.
    """

    def __init__(
        self, path: Path, stream: int | None = None, n_threads: int = 0, skips_damage: bool = False
    ) -> None:
        self.path = path
        self.skips_damage = skips_damage
        self._wanted = stream
        self._seek_margin_seconds = 0.0
        # A single thread leaves out the same frames each time.
        self._n_threads = 1 if skips_damage else n_threads
        self._is_closed = False
        self.undecodable: set[int | None] = set()
        self._open()

    def _open(self) -> None:
        check_readable(self.path)
        self._is_at_start = True
        try:
            # The prefix prevents names such as "a:b.mp4" from being parsed as URLs. Metadata may
            # have any encoding and is not used.
            self.container: InputContainer = av.open(f"file:{self.path}", metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise explain_unreadable(self.path) from error
        try:
            self.video = self._choose_stream()
        except VideoError:
            self.container.close()
            raise
        decode_only(self.container, self.video)
        self.video.codec_context.thread_count = self._n_threads

    def _choose_stream(self) -> VideoStream:
        videos = video_streams(self.container)
        if not videos:
            streams = self.container.streams
            kinds = " and ".join(sorted({stream.type for stream in streams})) or "no stream"
            problem = f"holds no video stream, only {kinds}"
            raise VideoError(self.path, problem, ADVICE_NOT_VIDEO)
        chosen: VideoStream | None = videos[0]
        if self._wanted is not None:
            chosen = next((video for video in videos if video.index == self._wanted), None)
        if chosen is None:
            indices = ", ".join(map(str, sorted(video.index for video in videos)))
            problem = f"has no video stream {self._wanted}"
            raise VideoError(self.path, problem, f"Its video streams are: {indices}.")
        if chosen.codec_context is None and has_encrypted_track(self.path):
            raise VideoError.encrypted(self.path)
        if chosen.codec_context is None:
            problem = f"has a video stream ({chosen.index}) whose codec FFmpeg cannot decode"
            raise VideoError(self.path, problem, "Re-encode it, for example to H.264.")
        return chosen

    def close(self) -> None:
        """Close the file permanently."""
        self._is_closed = True
        self.container.close()

    def use_one_thread(self) -> bool:
        """Use a single decoding thread from now on; return whether several were used before."""
        had_several = self._n_threads != 1
        self._n_threads = 1
        return had_several

    def check_open(self) -> None:
        """Raise an error after ``close``."""
        if self._is_closed:
            raise VideoError(self.path, "was closed by its reader", "Read inside the with block.")

    def packets(self) -> Iterator[av.Packet[VideoStream]]:
        """All packets of the stream from the start of the file."""
        self.check_open()
        if not self._is_at_start:  # reopening the file works for all formats
            self.container.close()
            self._open()
        yield from self._demux()

    def frames(
        self, leaves_out: LeavesOut = lambda packet: False, from_pts: int | None = None
    ) -> Iterator[av.VideoFrame]:
        """Frames in presentation order.

        Args:
            leaves_out: returns whether to skip a packet.
            from_pts: time of the first frame needed. Frames from a keyframe at or before it are
                yielded; those before it may be broken. ``None`` starts at the start of the file.

        Raises:
            SeekError: if no keyframe is found at or before the frame.
            av.FFmpegError: if a packet cannot be decoded, unless damage is skipped; the frames
                before it have been yielded.
        """
        packets = self.packets() if from_pts is None else self._seek(from_pts)
        yield from self._decode(itertools.filterfalse(leaves_out, packets))

    def _seek(self, pts: int) -> Iterator[av.Packet[VideoStream]]:
        """Packets from a keyframe at or before the frame with the time ``pts``.

        Formats without an index (MPEG-TS) seek by *decoding* time, which may lead past the
        keyframe; this and all later seeks then use a larger margin.
        """
        self.check_open()
        for margin_seconds in SEEK_MARGINS_SECONDS:
            if margin_seconds < self._seek_margin_seconds:
                continue
            self._seek_margin_seconds = margin_seconds
            margin = round(margin_seconds / (self.video.time_base or 1))
            self.container.seek(pts - margin, stream=self.video)
            packets = self._demux()
            for packet in packets:
                if packet.is_keyframe and packet.pts is not None:
                    if packet.pts > pts:
                        break
                    return itertools.chain([packet], packets)
        raise SeekError(f"no keyframe found at or before {pts}")

    def _demux(self) -> Iterator[av.Packet[VideoStream]]:
        """The remaining packets, then an empty one that flushes the decoder."""
        self._is_at_start = False
        try:
            yield from self.container.demux(self.video)
        except av.FFmpegError:
            if not self.skips_damage:
                raise
            yield cast("av.Packet[VideoStream]", av.Packet())

    def _decode(self, packets: Iterable[av.Packet[VideoStream]]) -> Iterator[av.VideoFrame]:
        for packet in packets:
            try:
                yield from self.video.decode(packet if packet.size else None)
            except av.FFmpegError:
                if not self.skips_damage:
                    yield from self._drain()
                    raise
                self.undecodable.add(packet.pts)

    def _drain(self) -> list[av.VideoFrame]:
        """Frames that were decoded before an error but not yielded yet."""
        try:
            return self.video.decode(None)
        except av.FFmpegError:
            return []
