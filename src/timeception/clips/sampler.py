"""One sampler of clips, for banks of features and for video files, in every framework.

A clip depends on the recipe's seed, the clip's index (the epoch, in training) and the name of its
record, never on the order of loading, the number of workers or the framework.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from timeception.clips.augmentation import NO_AUGMENTATION, Augmentation
from timeception.clips.temporal_augmentation import (
    NO_TEMPORAL_AUGMENTATION,
    TemporalAugmentation,
)
from timeception.datasets.records import VideoRecord
from timeception.datasets.windows import Edges
from timeception.features.maps import average_maps
from timeception.video import Transform

Floats = NDArray[np.float32]


class ClipSource(Protocol):
    """Videos as timesteps: a ``FeatureBank``, or a ``VideoStore``."""

    @property
    def root(self) -> Path:
        """Folder of the files."""

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of the videos, sorted."""

    @property
    def failures(self) -> Mapping[str, Mapping[str, str]]:
        """Videos that cannot be read: the path and the error, by video id."""

    def __contains__(self, video_id: object) -> bool:
        """Whether the video exists and can be read."""

    def edges_seconds(self, video_id: str) -> Edges:
        """Start of each timestep and end of the last one, in seconds, (S + 1,)."""

    def draw(
        self,
        video_id: str,
        n_timesteps: int,
        rng: np.random.Generator | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> NDArray[Any]:
        """Sample timesteps of a video or of a window of it, in order, (n_timesteps, ...)."""


class Preparation(Protocol):
    """Turns sampled timesteps into the network's input."""

    def __call__(self, timesteps: NDArray[Any], rng: np.random.Generator | None) -> Floats:
        """Return float32 of shape (T, C, H, W); ``rng`` is ``None`` for a uniform clip."""


@dataclass(frozen=True)
class PrepareFeatures:
    """Features in float32, their maps averaged down to ``map_size`` (height, width) if given.

    ``is_centered`` subtracts the mean over the timesteps of the clip, which removes what does not
    change, such as the room.
    """

    map_size: tuple[int, int] | None = None
    is_centered: bool = False

    def __call__(self, timesteps: NDArray[Any], rng: np.random.Generator | None) -> Floats:
        """(T, C, H, W) to (T, C, height, width)."""
        features = np.asarray(timesteps, dtype=np.float32)
        if self.map_size is not None:
            features = average_maps(features, self.map_size)
        return features - features.mean(axis=0) if self.is_centered else features


@dataclass(frozen=True)
class PrepareFrames:
    """Frames, augmented in random clips and cropped in the middle in uniform ones; normalised."""

    transform: Transform
    augmentation: Augmentation = NO_AUGMENTATION

    def __call__(self, timesteps: NDArray[Any], rng: np.random.Generator | None) -> Floats:
        """(T, frames_per_segment, H, W, 3) uint8 to (T * frames_per_segment, 3, H, W)."""
        frames = timesteps.reshape(-1, *timesteps.shape[2:])
        if rng is not None:
            frames = self.augmentation(frames, self.transform.crop, rng)
        return self.transform.replace(resize=None)(frames).transpose(1, 0, 2, 3)


@dataclass(frozen=True)
class ClipSampler:
    """Samples clips of fixed length from the timesteps of records.

    Args:
        source: the videos, as features or frames.
        records: videos, or windows of videos.
        n_timesteps: timesteps of a clip.
        prepare: turns sampled timesteps into the network's input.
        is_shuffled: permute the timesteps of every clip.
        seed: seed of all random clips.
        augmentation: changes random clips in time.
    """

    source: ClipSource
    records: tuple[VideoRecord, ...]
    n_timesteps: int
    prepare: Preparation = PrepareFeatures()
    is_shuffled: bool = False
    seed: int = 0
    augmentation: TemporalAugmentation = NO_TEMPORAL_AUGMENTATION

    def __len__(self) -> int:
        return len(self.records)

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Id of each record's video."""
        return tuple(record.video_id for record in self.records)

    def sample(self, index: int, clip_index: int | None) -> Floats:
        """Sample one clip of a record.

        Args:
            index: index of the record.
            clip_index: index of the random clip: the epoch in training, 0, 1, ... in a test;
                ``None`` takes the uniform clip, whose timesteps are equally spaced.

        Returns:
            float32 of shape (T, C, H, W): features, or normalised frames.
        """
        record = self.records[index]
        name = zlib.crc32(record.key.encode())
        rng = None if clip_index is None else np.random.default_rng([self.seed, clip_index, name])
        start, stop = record.steps or (0, None)
        timesteps = self.source.draw(record.video_id, self.n_timesteps, rng, start=start, stop=stop)
        if rng is not None and not self.augmentation.is_identity:
            timesteps = timesteps[self.augmentation.indices(self.n_timesteps, rng)]
        if self.is_shuffled:
            shuffler = rng or np.random.default_rng([self.seed, name])
            timesteps = timesteps[shuffler.permutation(self.n_timesteps)]
        return self.prepare(timesteps, rng)

    def span_seconds(self, index: int) -> float:
        """Length in seconds of the stretch of video that a record's clips are sampled from."""
        record = self.records[index]
        edges = self.source.edges_seconds(record.video_id)
        start, stop = record.steps or (0, len(edges) - 1)
        return float(edges[stop] - edges[start])

    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W) of every clip."""
        shape = self.sample(0, None).shape
        return (shape[0], shape[1], shape[2], shape[3])

    def batches(self, clip_index: int | None, batch_size: int) -> Iterator[tuple[slice, Floats]]:
        """Yield one clip of every record, in order, ``batch_size`` at a time."""
        for start in range(0, len(self), batch_size):
            part = slice(start, min(start + batch_size, len(self)))
            clips = [self.sample(index, clip_index) for index in range(part.start, part.stop)]
            yield part, np.stack(clips)


def epoch_order(n_records: int, batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Order in which an epoch of training visits the records.

    Batch normalisation cannot learn from a batch of one clip. Where the last batch would have
    one, the epoch leaves it out; each epoch leaves out another record.
    """
    order = np.random.default_rng([seed, epoch]).permutation(n_records)
    return order[:-1] if n_records % batch_size == 1 and n_records > 1 else order


def process_share(batch: NDArray[np.int64], rank: int, n_processes: int) -> NDArray[np.int64]:
    """Return the records of a batch that one of several processes takes; there may be none.

    Example:
        >>> [process_share(np.arange(5), rank, 2).tolist() for rank in (0, 1)]
        [[0, 2, 4], [1, 3]]
    """
    return batch[rank::n_processes]
