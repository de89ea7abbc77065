"""Clips for training in PyTorch: a new random clip of every record in every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from timeception.clips.sampler import epoch_order
from timeception.clips.task_data import Split
from timeception.recipes.recipe import Recipe


class ClipDataset(Dataset[tuple[Tensor, Tensor]]):
    """Clips of a split; an index is ``(clip_index, record)``.

    Shape:
        features or frames (C, T, H, W) float32, target (n_classes,) float32.
    """

    def __init__(self, split: Split) -> None:
        self.sampler = split.sampler
        self.targets = torch.from_numpy(split.targets)

    def __getitem__(self, index: tuple[int | None, int]) -> tuple[Tensor, Tensor]:
        clip_index, record = index
        clip = torch.from_numpy(self.sampler.sample(record, clip_index))
        return clip.transpose(0, 1).contiguous(), self.targets[record]


class EpochSampler(Sampler[tuple[int | None, int]]):
    """Yields ``(epoch, record)`` in the order of the epoch; Lightning calls ``set_epoch``."""

    def __init__(self, n_records: int, batch_size: int, seed: int) -> None:
        self.n_records, self.batch_size, self.seed, self.epoch = n_records, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch

    def _order(self) -> Any:
        return epoch_order(self.n_records, self.batch_size, self.seed, self.epoch)

    def __len__(self) -> int:
        return len(self._order())

    def __iter__(self) -> Iterator[tuple[int | None, int]]:
        return ((self.epoch, int(record)) for record in self._order())


class UniformSampler(Sampler[tuple[int | None, int]]):
    """Yields ``(None, record)`` in order: the uniform clip of every record."""

    def __init__(self, n_records: int) -> None:
        self.n_records = n_records

    def __len__(self) -> int:
        return self.n_records

    def __iter__(self) -> Iterator[tuple[int | None, int]]:
        return ((None, record) for record in range(self.n_records))


def make_loader(split: Split, recipe: Recipe, is_training: bool) -> DataLoader[Any]:
    """Batches of a split: random clips in the epoch's order, or uniform clips in order."""
    size, workers = recipe.training.batch_size, recipe.training.workers
    sampler: Sampler[Any] = (
        EpochSampler(len(split), size, recipe.seed) if is_training else UniformSampler(len(split))
    )
    return DataLoader(ClipDataset(split), size, sampler=sampler, num_workers=workers)
