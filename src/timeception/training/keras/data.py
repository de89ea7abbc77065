"""Clips for training in Keras: a fresh draw of every record in every epoch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from timeception.clips.sampler import epoch_order
from timeception.clips.task_data import Subset
from timeception.recipes.recipe import Recipe

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


class DrawBatches(keras.utils.PyDataset):
    """Training clips: the draws that PyTorch makes, in the same order.

    ``workers`` threads draw the clips of a batch together. Keras' own workers are not used: they
    fetch ahead across the end of an epoch, where the draws change.

    Args:
        subset: records and targets.
        recipe: batch size, seed and number of workers.

    Shape:
        item: features (N, T, H, W, C) float32, targets (N, n_classes) float32.
    """

    def __init__(self, subset: Subset, recipe: Recipe) -> None:
        super().__init__()
        self.subset, self.seed = subset, recipe.seed
        self.batch_size = recipe.training.batch_size
        self.n_threads = max(1, recipe.training.workers)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch
        self.order = epoch_order(len(self.subset), self.batch_size, self.seed, epoch)

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        records = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        draw = partial(self.subset.draws.draw, number=self.epoch)
        with ThreadPoolExecutor(self.n_threads) as pool:
            clips = np.stack(list(pool.map(draw, records.tolist())))
        return channels_last(clips), self.subset.targets[records]


class EquidistantBatches(keras.utils.PyDataset):
    """Every record's equidistant draw, in order.

    Shape:
        as ``DrawBatches``.
    """

    def __init__(self, subset: Subset, batch_size: int) -> None:
        super().__init__()
        self.subset, self.batch_size = subset, batch_size

    def __len__(self) -> int:
        return -(-len(self.subset) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        start = index * self.batch_size
        records = range(start, min(start + self.batch_size, len(self.subset)))
        clips = np.stack([self.subset.draws.draw(record, None) for record in records])
        return channels_last(clips), self.subset.targets[records.start : records.stop]


def channels_last(clips: NDArray[np.float32]) -> NDArray[np.float32]:
    """N, T, C, H, W to N, T, H, W, C."""
    return np.ascontiguousarray(np.moveaxis(clips, 2, -1))


def to_numpy(tensor: Any) -> NDArray[np.float32]:
    """A tensor of any backend as a numpy array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))
