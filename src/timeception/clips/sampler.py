"""Clips drawn from a feature bank: the same draws in every framework.

A draw depends on the recipe's seed, the epoch (or the test's draw number) and the record's own
name alone, never on the order of loading, the number of workers or the framework.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.datasets.records import VideoRecord
from timeception.datasets.windows import step_edges_seconds
from timeception.features.bank import FeatureBank

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureDraws:
    """Draws of fixed length from the features of some records.

    Args:
        bank: the features.
        records: videos, or windows of videos.
        n_timesteps: length of a draw.
        map_size: ``(height, width)`` that the spatial maps are averaged down to; ``None`` keeps
            them.
        is_shuffled: permute the timesteps of every draw.
        seed: of all random draws.
    """

    bank: FeatureBank
    records: tuple[VideoRecord, ...]
    n_timesteps: int
    map_size: tuple[int, int] | None = None
    is_shuffled: bool = False
    seed: int = 0

    def __len__(self) -> int:
        return len(self.records)

    def draw(self, index: int, number: int | None) -> Floats:
        """Return one clip's features.

        Args:
            index: which record.
            number: of the random draw (the epoch, in training); ``None`` is the equidistant draw.

        Returns:
            float32 of shape (n_timesteps, C, H, W).
        """
        record = self.records[index]
        name = zlib.crc32(record.key.encode())
        rng = None if number is None else np.random.default_rng([self.seed, number, name])
        start, stop = record.steps or (0, None)
        features = self.bank.draw(record.video_id, self.n_timesteps, rng, start=start, stop=stop)
        features = np.asarray(features, dtype=np.float32)
        if self.map_size is not None:
            features = average_maps(features, self.map_size)
        if self.is_shuffled:
            shuffler = rng or np.random.default_rng([self.seed, name])
            features = features[shuffler.permutation(self.n_timesteps)]
        return features

    def span_seconds(self, index: int) -> float:
        """How long the stretch is that a record's draws are spread over."""
        record = self.records[index]
        entry = self.bank[record.video_id]
        edges = step_edges_seconds(entry.start_frames, entry.fps)
        start, stop = record.steps or (0, len(edges) - 1)
        return float(edges[stop] - edges[start])

    def shape(self) -> tuple[int, int, int, int]:
        """(n_timesteps, C, H, W) of every draw."""
        shape = self.draw(0, None).shape
        return (shape[0], shape[1], shape[2], shape[3])

    def batches(self, number: int | None, batch_size: int) -> Iterator[tuple[slice, Floats]]:
        """All records in order, a batch at a time, for testing."""
        for start in range(0, len(self), batch_size):
            part = slice(start, min(start + batch_size, len(self)))
            yield part, np.stack([self.draw(i, number) for i in range(part.start, part.stop)])


def epoch_order(n_records: int, batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch of training visits the records.

    Batch normalisation cannot be trained on one record alone, so a last batch of one is left out
    of the epoch; which record that is changes with the epoch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(n_records)
    return order[:-1] if n_records % batch_size == 1 and n_records > 1 else order


def average_maps(features: Floats, map_size: tuple[int, int]) -> Floats:
    """Average spatial maps down to ``map_size``, with bins that cover the map evenly.

    Shape:
        (..., H, W) -> (..., height, width). As PyTorch's ``adaptive_avg_pool2d``.

    Raises:
        ValueError: if the maps are smaller than ``map_size``.

    Example:
        >>> average_maps(np.arange(4, dtype=np.float32).reshape(1, 2, 2), (1, 1)).tolist()
        [[[1.5]]]
    """
    height, width = features.shape[-2:]
    checks.require(
        map_size[0] <= height and map_size[1] <= width,
        "map_size",
        f"be at most the features' own {height}x{width}",
        map_size,
    )
    if (height, width) == tuple(map_size):
        return features
    cells = np.kron(_bins(height, map_size[0]), _bins(width, map_size[1]))
    averaged = features.reshape(-1, height * width) @ cells.T
    return averaged.reshape(*features.shape[:-2], *map_size)


@lru_cache
def _bins(size: int, bins: int) -> Floats:
    """(bins, size) matrix whose rows average the cells of one bin."""
    matrix = np.zeros((bins, size), dtype=np.float32)
    for index in range(bins):
        start, stop = index * size // bins, -(-(index + 1) * size // bins)
        matrix[index, start:stop] = 1 / (stop - start)
    return matrix
