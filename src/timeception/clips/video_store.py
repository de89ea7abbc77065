"""Segments of frames from video files, for training from pixels.

Each video is decoded and resized once and kept in memory as 8-bit frames while a budget allows;
beyond the budget, only the frames of each clip are decoded. Clips take the same segments as those
from a bank of the same stride or rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.datasets.windows import Edges, step_edges_seconds
from timeception.video import Transform, VideoError, VideoInfo, VideoReader
from timeception.video.sampling import (
    sample_indices,
    segment_frames,
    segment_starts,
    timed_segment_starts,
)

Frames = NDArray[np.uint8]


@dataclass
class VideoStore:
    """Videos as segments of frames; the counterpart of a ``FeatureBank``.

    Args:
        root: folder of the video files, named in messages.
        paths: file of each video id.
        frames_per_segment: frames that the backbone takes at once.
        stride_frames: frames from one segment's start to the next; ``None`` with ``fps``.
        transform: the backbone's preprocessing, which resizes the frames.
        cache_bytes: memory for decoded frames.
        fps: segments per second, instead of ``stride_frames``.
    """

    root: Path
    paths: Mapping[str, Path]
    frames_per_segment: int
    stride_frames: int | None
    transform: Transform
    cache_bytes: int = 0
    fps: float | None = None
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    _infos: dict[str, VideoInfo] = field(default_factory=dict, repr=False)
    _starts: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)
    _cache: dict[str, tuple[NDArray[np.int64], Frames]] = field(default_factory=dict, repr=False)
    _cached_bytes: int = 0

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of the video files, sorted."""
        return tuple(sorted(self.paths))

    def __contains__(self, video_id: object) -> bool:
        """Whether the video exists and opens; one that does not open is added to ``failures``."""
        if video_id not in self.paths or video_id in self.failures:
            return False
        try:
            self.info(str(video_id))
        except VideoError as error:
            path = str(self.paths[str(video_id)])
            self.failures[str(video_id)] = {"path": path, "error": str(error)}
            return False
        return True

    def info(self, video_id: str) -> VideoInfo:
        """Size, rate and number of frames of a video; reads its file once."""
        if video_id not in self._infos:
            with VideoReader(self.paths[video_id]) as video:
                self._starts[video_id] = self._starts_of(video)
                self._infos[video_id] = video.info
        return self._infos[video_id]

    def starts(self, video_id: str) -> NDArray[np.int64]:
        """First frame of each segment, (S,)."""
        self.info(video_id)
        return self._starts[video_id]

    def _starts_of(self, video: VideoReader) -> NDArray[np.int64]:
        if self.fps is not None:
            return timed_segment_starts(video.timestamps_seconds, self.fps, self.frames_per_segment)
        stride = checks.positive_int("stride_frames", self.stride_frames)
        return segment_starts(len(video), stride, self.frames_per_segment)

    def edges_seconds(self, video_id: str) -> Edges:
        """Start of each segment and end of the last one, in seconds, (S + 1,)."""
        return step_edges_seconds(
            self.starts(video_id),
            self.info(video_id).fps,
            self.stride_frames,
            timesteps_per_second=self.fps,
        )

    def draw(
        self,
        video_id: str,
        n_timesteps: int,
        rng: np.random.Generator | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> Frames:
        """Sample segments of a video, in order, as ``FeatureBank.draw`` samples steps.

        Returns:
            Resized frames of shape (n_timesteps, frames_per_segment, H, W, 3).
        """
        starts = self.starts(video_id)[start:stop]
        chosen = starts[sample_indices(len(starts), n_timesteps, rng)]
        n_frames = self.info(video_id).n_frames
        return self.read(video_id, segment_frames(chosen, self.frames_per_segment, n_frames))

    def read(self, video_id: str, indices: NDArray[np.int64]) -> Frames:
        """Resized frames by index, of the shape of ``indices`` and (H, W, 3)."""
        if video_id not in self._cache and not self._keep(video_id):
            unique, inverse = np.unique(indices, return_inverse=True)
            return self._decode(video_id, unique)[inverse.reshape(indices.shape)]
        kept, frames = self._cache[video_id]
        return frames[np.searchsorted(kept, indices)]

    def _keep(self, video_id: str) -> bool:
        """Decode and keep all frames that a clip can take, if the budget allows."""
        info = self.info(video_id)
        indices = segment_frames(self.starts(video_id), self.frames_per_segment, info.n_frames)
        needed = np.unique(indices)
        height, width = self.transform.resized_size(info.height, info.width)
        n_bytes = len(needed) * height * width * 3
        if self._cached_bytes + n_bytes > self.cache_bytes:
            return False
        self._cache[video_id] = (needed, self._decode(video_id, needed))
        self._cached_bytes += n_bytes
        return True

    def _decode(self, video_id: str, indices: NDArray[np.int64]) -> Frames:
        """Decode and resize frames; ``indices`` ascend."""
        resized_only = self.transform.replace(
            crop=None, mean=(0.0,) * 3, std=(1.0,) * 3, scale=1.0, channel_order="rgb"
        )
        with VideoReader(self.paths[video_id]) as video:
            frames = [resized_only(frame[None])[:, 0] for _, frame in video.frames(indices)]
        return np.stack(frames).astype(np.uint8).transpose(0, 2, 3, 1)
