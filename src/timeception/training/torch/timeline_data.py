"""Whole videos for training in PyTorch, padded to the longest of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from timeception.clips.timelines import TimelineSplit

#: Features (N, C, T, H, W), timesteps of each video (N,), targets (N, T, n_classes).
Batch = tuple[Tensor, Tensor, Tensor]


class TimelineDataset(Dataset[tuple[Tensor, Tensor]]):
    """Videos of a split; an index is ``(clip_index, record)``.

    Shape:
        features (C, T, H, W) float32, targets (T, n_classes) float32.
    """

    def __init__(self, split: TimelineSplit) -> None:
        self.sampler = split.sampler

    def __getitem__(self, index: tuple[int | None, int]) -> tuple[Tensor, Tensor]:
        clip_index, record = index
        features, targets = self.sampler.sample(record, clip_index)
        return torch.from_numpy(features).transpose(0, 1).contiguous(), torch.from_numpy(targets)

    def collate(self, items: Sequence[tuple[Tensor, Tensor]]) -> Batch:
        """Pad the videos of a batch with zeros at the end."""
        lengths = torch.tensor([len(targets) for _, targets in items])
        longest = int(lengths.max())
        features = [F.pad(x, (0, 0, 0, 0, 0, longest - x.shape[1])) for x, _ in items]
        targets = [F.pad(y, (0, 0, 0, longest - len(y))) for _, y in items]
        return torch.stack(features), lengths, torch.stack(targets)
