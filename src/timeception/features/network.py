"""A backbone as the pipeline calls it: its device, its batches, its threads."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.features.pipeline import Pipeline, is_batch_invariant

if TYPE_CHECKING:
    from timeception.backbones import Backbone

logger = logging.getLogger(__name__)

_CPU_BATCH_FRAMES = 8  # larger batches leave the caches: measured slower on processors
_GPU_BATCH_FRAMES = 64
_MOST_COMPUTERS = 8  # threads that call the network; beyond it, Python's lock would be felt


def n_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Network:
    """A backbone on its device, as the pipeline calls it.

    On a processor, several threads each compute batches of their own, instead of all sharing in
    one: they never wait for each other. Use it in a ``with`` statement, which sets the threads of
    PyTorch for that time.

    Args:
        backbone: the network.
        map_size: (height, width) that maps are averaged down to; ``None`` keeps them.
        batch_size: segments in a batch; ``None`` chooses.
        device: where to run; ``None`` takes a GPU if there is one.
        cores: processor cores to use; ``None``: all.
    """

    def __init__(
        self,
        backbone: Backbone,
        map_size: tuple[int, int] | None = None,
        batch_size: int | None = None,
        device: str | None = None,
        cores: int | None = None,
    ) -> None:
        import torch

        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        is_cpu = self.device.type == "cpu"
        frames = _CPU_BATCH_FRAMES if is_cpu else _GPU_BATCH_FRAMES
        automatic = max(1, frames // backbone.frames_per_segment)
        self.batch_size = checks.positive_int("batch_size", batch_size or automatic)
        cores = cores or n_cores()
        self.n_computers = min(_MOST_COMPUTERS, cores) if is_cpu else 1
        self._n_threads = max(1, cores // self.n_computers)
        self.backbone = backbone.to(self.device).eval()
        self.map_size = map_size

    def __enter__(self) -> Network:
        import torch

        self._n_threads_before = torch.get_num_threads()
        if self.device.type == "cpu":
            torch.set_num_threads(self._n_threads)
        return self

    def __exit__(self, *error: object) -> None:
        import torch

        torch.set_num_threads(self._n_threads_before)

    def pipeline(self, n_decoders: int, n_videos: int) -> Pipeline:
        """A pipeline through this network, for so many videos."""
        spans_videos = n_videos > 1 and (self.batch_size == 1 or self._is_batch_invariant())
        if n_videos > 1 and not spans_videos:
            logger.info("results depend on the place in a batch: batches do not span videos")
        return Pipeline(self, self.batch_size, n_decoders, self.n_computers, spans_videos)

    def _is_batch_invariant(self) -> bool:
        backbone = self.backbone
        side = backbone.transform.crop or backbone.transform.resize or 224
        shape = (3, backbone.frames_per_segment, side, side)
        return is_batch_invariant(self, self.batch_size, shape)

    def __call__(self, segments: NDArray[np.float32]) -> NDArray[np.float32]:
        """Segments (B, 3, T, H, W) to features (B, C, H', W')."""
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        with torch.inference_mode():
            maps = self.backbone(torch.from_numpy(segments).to(self.device)).mean(dim=2)
            if self.map_size is not None:
                maps = adaptive_avg_pool2d(maps, self.map_size)
            features: NDArray[np.float32] = maps.float().cpu().numpy()
        return features
