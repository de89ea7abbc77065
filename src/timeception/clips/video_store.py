"""Clips of frames, straight from video files, for training from pixels.

Videos are decoded and resized once and kept as 8-bit frames as far as a memory budget allows;
beyond it, only the frames of each draw are decoded. A draw takes the same segments as one from a
bank of the same stride, and every frame of a clip is cropped, mirrored and coloured alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timeception.clips.augmentation import NO_AUGMENTATION, Augmentation
from timeception.datasets.records import VideoRecord
from timeception.datasets.windows import Edges, step_edges_seconds
from timeception.video import Transform, VideoError, VideoInfo, VideoReader, probe
from timeception.video.sampling import sample_indices, segment_frames, segment_starts

Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass
class FrameStore:
    """Videos cut into segments, as a feature bank is, but of frames.

    Args:
        root: folder of the video files, for messages.
        paths: file by video id.
        frames_per_segment: frames that the backbone takes at once.
        stride_frames: frames from one segment's start to the next.
        transform: resizes the frames, and normalises those of a draw.
        cache_bytes: memory for decoded frames.
    """

    root: Path
    paths: Mapping[str, Path]
    frames_per_segment: int
    stride_frames: int
    transform: Transform
    cache_bytes: int = 0
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    _infos: dict[str, VideoInfo] = field(default_factory=dict, repr=False)
    _cache: dict[str, tuple[NDArray[np.int64], Frames]] = field(default_factory=dict, repr=False)
    _cached_bytes: int = 0

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of the video files, sorted."""
        return tuple(sorted(self.paths))

    def __contains__(self, video_id: object) -> bool:
        """Whether the video is there and opens; one that does not is added to ``failures``."""
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
        """What is known of a video; its file is read through once."""
        if video_id not in self._infos:
            self._infos[video_id] = probe(self.paths[video_id])
        return self._infos[video_id]

    def starts(self, video_id: str) -> NDArray[np.int64]:
        """First frame of each segment, (S,)."""
        n_frames = self.info(video_id).n_frames
        return segment_starts(n_frames, self.stride_frames, self.frames_per_segment)

    def edges_seconds(self, video_id: str) -> Edges:
        """Times at which the segments begin, and the time at which the last one ends, (S + 1,)."""
        return step_edges_seconds(
            self.starts(video_id), self.info(video_id).fps, self.stride_frames
        )

    def draw(
        self,
        video_id: str,
        n_timesteps: int,
        rng: np.random.Generator | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> Frames:
        """Draw segments of a video, in order, as ``FeatureBank.draw`` draws steps.

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
        """Decode all frames that a draw may take, if the budget has room for them."""
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


@dataclass(frozen=True)
class FrameDraws:
    """Draws of fixed length from the frames of some records; the twin of ``FeatureDraws``.

    Args:
        store: the videos.
        records: videos, or windows of videos.
        n_timesteps: segments in a draw.
        is_shuffled: permute the segments of every draw.
        seed: of all random draws.
        augmentation: of random draws; equidistant ones are cropped in the middle.
    """

    store: FrameStore
    records: tuple[VideoRecord, ...]
    n_timesteps: int
    is_shuffled: bool = False
    seed: int = 0
    augmentation: Augmentation = NO_AUGMENTATION

    def __len__(self) -> int:
        return len(self.records)

    def draw(self, index: int, number: int | None) -> Floats:
        """Return one clip, normalised.

        Args:
            index: which record.
            number: of the random draw (the epoch, in training); ``None`` is the equidistant draw.

        Returns:
            float32 of shape (n_timesteps * frames_per_segment, 3, H, W).
        """
        record = self.records[index]
        name = zlib.crc32(record.key.encode())
        rng = None if number is None else np.random.default_rng([self.seed, number, name])
        start, stop = record.steps or (0, None)
        segments = self.store.draw(record.video_id, self.n_timesteps, rng, start=start, stop=stop)
        if self.is_shuffled:
            shuffler = rng or np.random.default_rng([self.seed, name])
            segments = segments[shuffler.permutation(self.n_timesteps)]
        frames = segments.reshape(-1, *segments.shape[2:])
        transform = self.store.transform
        if rng is not None:
            frames = self.augmentation(frames, transform.crop, rng)
        return transform.replace(resize=None)(frames).transpose(1, 0, 2, 3)

    def span_seconds(self, index: int) -> float:
        """How long the stretch is that a record's draws are spread over."""
        record = self.records[index]
        edges = self.store.edges_seconds(record.video_id)
        start, stop = record.steps or (0, len(edges) - 1)
        return float(edges[stop] - edges[start])

    def shape(self) -> tuple[int, int, int, int]:
        """(frames, 3, H, W) of every draw."""
        shape = self.draw(0, None).shape
        return (shape[0], shape[1], shape[2], shape[3])

    def batches(self, number: int | None, batch_size: int) -> Iterator[tuple[slice, Floats]]:
        """All records in order, a batch at a time."""
        for start in range(0, len(self), batch_size):
            part = slice(start, min(start + batch_size, len(self)))
            yield part, np.stack([self.draw(i, number) for i in range(part.start, part.stop)])
