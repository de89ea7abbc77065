"""A backbone and a head as one network from frames to logits, for end-to-end training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from timeception.backbones import Backbone


class VideoClassifier(nn.Module):
    """Applies a backbone to each segment of a clip and a head to the features over time.

    Each timestep is computed from one segment, as in extraction (``Backbone.segment_features``).

    Args:
        backbone: unfreeze it to train it.
        head: maps features (N, C, T, H, W) to logits.
        map_size: (height, width) of the pooled maps; ``None`` keeps the size.
        segments_per_pass: segments that go through the backbone at once.
        is_checkpointed: use activation checkpointing: activations of a single pass are kept, and
            the others are recomputed.

    Shape:
        input: (N, 3, T * frames_per_segment, H, W); result: (N, n_classes).
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        map_size: tuple[int, int] | None = None,
        *,
        segments_per_pass: int = 32,
        is_checkpointed: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.map_size = backbone, head, map_size
        self.segments_per_pass, self.is_checkpointed = segments_per_pass, is_checkpointed

    def forward(self, frames: Tensor) -> Tensor:
        """Return the logits of clips."""
        return self.head(self.features(frames))

    def features(self, frames: Tensor) -> Tensor:
        """(N, 3, T * frames_per_segment, H, W) to (N, C, T, H', W')."""
        n_clips, length = frames.shape[0], self.backbone.frames_per_segment
        segments = frames.unflatten(2, (-1, length)).transpose(1, 2).flatten(0, 1)
        parts = [self._pass(part) for part in segments.split(self.segments_per_pass)]
        return torch.cat(parts).unflatten(0, (n_clips, -1)).transpose(1, 2)

    def _pass(self, segments: Tensor) -> Tensor:
        if self.is_checkpointed and self.training and torch.is_grad_enabled():
            return checkpoint(self._segment_features, segments, use_reentrant=False)
        return self._segment_features(segments)

    def _segment_features(self, segments: Tensor) -> Tensor:
        return self.backbone.segment_features(segments, self.map_size)
