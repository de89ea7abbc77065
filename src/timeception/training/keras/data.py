"""Batches of clips for training and validation in Keras."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import keras
import numpy as np
from numpy.typing import NDArray

from timeception.clips.mixup import sample_mixture
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


class UniformBatches(keras.utils.PyDataset):
    """The uniform clip of every record, in order.

    Shape:
        item: features (N, T, H, W, C) float32, targets (N, n_classes) float32.
    """

    epoch: int | None = None  # no epoch: the uniform clips
    n_threads = 1

    def __init__(self, split: Split, batch_size: int) -> None:
        super().__init__()
        self.split, self.batch_size = split, batch_size
        self.order = np.arange(len(split))

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        records = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        sample = partial(self.split.sampler.sample, clip_index=self.epoch)
        with ThreadPoolExecutor(self.n_threads) as pool:
            clips = np.stack(list(pool.map(sample, records.tolist())))
        return channels_last(clips), self.split.targets[records]


class TrainingBatches(UniformBatches):
    """A random clip of every record, new in every epoch: those of PyTorch, in the same order.

    ``training.workers`` threads sample the clips of a batch. Keras' own workers are not used: they
    fetch ahead past the end of an epoch, after which the clips change.
    """

    def __init__(self, split: Split, recipe: Recipe) -> None:
        super().__init__(split, recipe.training.batch_size)
        self.seed, self.n_threads = recipe.seed, max(1, recipe.training.workers)
        self.mixup = recipe.training.mixup
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch
        self.order = epoch_order(len(self.split), self.batch_size, self.seed, epoch)

    def __getitem__(self, index: int) -> Batch:
        clips, targets = super().__getitem__(index)
        if not self.mixup:
            return clips, targets
        mixture = sample_mixture(self.mixup, len(clips), [self.seed, self.epoch or 0, index])
        share, others = np.float32(mixture.share), mixture.partners
        return (
            share * clips + (1 - share) * clips[others],
            share * targets + (1 - share) * targets[others],
        )


def channels_last(clips: NDArray[np.float32]) -> NDArray[np.float32]:
    """N, T, C, H, W to N, T, H, W, C."""
    return np.ascontiguousarray(np.moveaxis(clips, 2, -1))
