"""Clips for training in PyTorch: a new random clip of every record in every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from timeception.clips.sampler import epoch_order, process_share
from timeception.clips.task_data import Split, TaskData
from timeception.clips.timelines import TimelineSplit
from timeception.recipes.recipe import Recipe
from timeception.training.torch.timeline_data import TimelineDataset

#: What an index of ``ClipDataset`` names: the random clip (``None``: the uniform one), the record.
Index = tuple[int | None, int]


@dataclass(frozen=True)
class Process:
    """One of the processes that train together."""

    rank: int = 0
    n_processes: int = 1


class ClipDataset(Dataset[tuple[Tensor, Tensor]]):
    """Clips of a split; an index is ``(clip_index, record)``.

    Shape:
        features or frames (C, T, H, W) float32, target (n_classes,) float32.
    """

    def __init__(self, split: Split) -> None:
        self.sampler = split.sampler
        self.targets = torch.from_numpy(split.targets)

    def __getitem__(self, index: Index) -> tuple[Tensor, Tensor]:
        clip_index, record = index
        clip = torch.from_numpy(self.sampler.sample(record, clip_index))
        return clip.transpose(0, 1).contiguous(), self.targets[record]

    def collate(self, items: list[tuple[Tensor, Tensor]]) -> Any:
        """Stack the clips of a batch; a process may have none."""
        if items:
            return default_collate(items)
        timesteps, *shape = self.sampler.shape()
        clips = torch.empty(0, shape[0], timesteps, *shape[1:])
        return [clips, torch.empty(0, self.targets.shape[1])]


class EpochBatches(Sampler[list[Index]]):
    """Yields this process's share of each batch of random clips, in the order of the epoch.

    Lightning calls ``set_epoch`` of ``sampler``, where it looks for it.

    Args:
        n_records: records of the split.
        batch_size: clips of a batch, over all processes.
        seed: seed of the order.
        process: this process.
        keeps_single: keep a last batch of one clip; see ``epoch_order``.
    """

    def __init__(
        self,
        n_records: int,
        batch_size: int,
        seed: int,
        process: Process,
        *,
        keeps_single: bool = False,
    ) -> None:
        self.n_records, self.batch_size, self.seed, self.epoch = n_records, batch_size, seed, 0
        self.process, self.keeps_single = process, keeps_single
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch

    def _order(self) -> NDArray[np.int64]:
        size = 1 if self.keeps_single else self.batch_size
        return epoch_order(self.n_records, size, self.seed, self.epoch)

    def n_clips(self, batch: int) -> int:
        """Clips of a batch, over all processes."""
        return min(self.batch_size, len(self._order()) - batch * self.batch_size)

    def __len__(self) -> int:
        return -(-len(self._order()) // self.batch_size)

    def __iter__(self) -> Iterator[list[Index]]:
        order, size = self._order(), self.batch_size
        for start in range(0, len(order), size):
            share = process_share(
                order[start : start + size], self.process.rank, self.process.n_processes
            )
            yield [(self.epoch, int(record)) for record in share]


class UniformBatches(Sampler[list[Index]]):
    """Yields batches of the uniform clips of this process's share of the records, in order."""

    def __init__(self, n_records: int, batch_size: int, process: Process) -> None:
        self.records = process_share(np.arange(n_records), process.rank, process.n_processes)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.records) // self.batch_size)

    def __iter__(self) -> Iterator[list[Index]]:
        for start in range(0, len(self.records), self.batch_size):
            yield [(None, int(each)) for each in self.records[start : start + self.batch_size]]


class Clips(lightning.LightningDataModule):
    """Loader of a recipe's training clips; each process has its share."""

    def __init__(self, data: TaskData, recipe: Recipe) -> None:
        super().__init__()
        self._data, self._recipe = data, recipe

    def _process(self) -> Process:
        trainer: Any = self.trainer
        return Process(trainer.global_rank, trainer.world_size)

    def train_dataloader(self) -> DataLoader[Any]:
        """Random clips of the training split.

        Workers fetch the first batches before Lightning sets the epoch of a resumed training.
        """
        loader = make_loader(self._data.train, self._recipe, True, self._process())
        batches, trainer = loader.batch_sampler, self.trainer
        assert isinstance(batches, EpochBatches)
        assert trainer is not None
        n_steps = -(-len(batches) // trainer.accumulate_grad_batches)
        batches.set_epoch(trainer.global_step // n_steps)
        return loader


class ValidatedClips(Clips):
    """Loaders of a recipe with a validation split."""

    #: A process may have no validation clips.
    allow_zero_length_dataloader_with_multiple_devices = True

    def val_dataloader(self) -> DataLoader[Any]:
        """Uniform clips of the validation split."""
        return make_loader(self._data.split("validation"), self._recipe, False, self._process())


def _dataset(split: Split | TimelineSplit) -> ClipDataset | TimelineDataset:
    return TimelineDataset(split) if isinstance(split, TimelineSplit) else ClipDataset(split)


def make_loader(
    split: Split | TimelineSplit, recipe: Recipe, is_training: bool, process: Process = Process()
) -> DataLoader[Any]:
    """Batches of a split: random clips in the epoch's order, or uniform clips in order."""
    size, dataset = recipe.training.batch_size, _dataset(split)
    batches: Sampler[list[Index]] = (
        EpochBatches(len(split), size, recipe.seed, process, keeps_single=recipe.is_timeline)
        if is_training
        else UniformBatches(len(split), max(1, size // process.n_processes), process)
    )
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=dataset.collate,
        num_workers=recipe.training.workers,
    )
