"""Clips for training in Keras: a new random clip of every record in every epoch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from timeception.clips.sampler import epoch_order
from timeception.clips.task_data import Split
from timeception.recipes.recipe import Recipe
from timeception.training.without_tensorflow import tensorflow_hidden

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


def set_random_seed(number: int) -> None:
    """Seed all random generators; Keras would import TensorFlow to seed it too."""
    is_used = keras.backend.backend() == "tensorflow"
    with nullcontext() if is_used else tensorflow_hidden():
        keras.utils.set_random_seed(number)


class TrainingBatches(keras.utils.PyDataset):
    """Training clips: the clips of PyTorch's training, in the same order.

    ``training.workers`` threads sample the clips of a batch. Keras' own workers are not used: they
    fetch ahead past the end of an epoch, after which the clips change.

    Args:
        split: records and targets.
        recipe: batch size, seed and number of workers.

    Shape:
        item: features (N, T, H, W, C) float32, targets (N, n_classes) float32.
    """

    def __init__(self, split: Split, recipe: Recipe) -> None:
        super().__init__()
        self.split, self.seed = split, recipe.seed
        self.batch_size = recipe.training.batch_size
        self.n_threads = max(1, recipe.training.workers)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch
        self.order = epoch_order(len(self.split), self.batch_size, self.seed, epoch)

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        records = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        sample = partial(self.split.sampler.sample, clip_index=self.epoch)
        with ThreadPoolExecutor(self.n_threads) as pool:
            clips = np.stack(list(pool.map(sample, records.tolist())))
        return channels_last(clips), self.split.targets[records]


class UniformBatches(keras.utils.PyDataset):
    """The uniform clip of every record, in order.

    Shape:
        as ``TrainingBatches``.
    """

    def __init__(self, split: Split, batch_size: int) -> None:
        super().__init__()
        self.split, self.batch_size = split, batch_size

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        start = index * self.batch_size
        records = range(start, min(start + self.batch_size, len(self.split)))
        clips = np.stack([self.split.sampler.sample(record, None) for record in records])
        return channels_last(clips), self.split.targets[records.start : records.stop]


def channels_last(clips: NDArray[np.float32]) -> NDArray[np.float32]:
    """N, T, C, H, W to N, T, H, W, C."""
    return np.ascontiguousarray(np.moveaxis(clips, 2, -1))


def to_numpy(tensor: Any) -> NDArray[np.float32]:
    """A tensor of any backend as a numpy array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))
