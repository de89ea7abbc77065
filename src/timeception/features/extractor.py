"""The feature extractor: a backbone with its device, precision, batch size and threads."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.devices import check_device, default_device
from timeception.features.pipeline import Pipeline, is_batch_invariant

if TYPE_CHECKING:
    from torch import Tensor

    from timeception.backbones import Backbone

logger = logging.getLogger(__name__)

DEFAULT_PRECISION = "fp32"
PRECISIONS = (DEFAULT_PRECISION, "bf16")
#: A larger relative change of the features by bf16 causes a warning.
MOST_CHANGE = 1e-2

# glibc allocates maps of more than 32 MB anew at every layer. With batches of 8 frames, the page
# faults took a fifth of the processor time.
_CPU_BATCH_FRAMES = 4
_GPU_BATCH_FRAMES = 64
_MOST_COMPUTERS = 8  # threads that call the network; with more, they contend for the GIL


def n_cores() -> int:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _require_compilable(backbone: Backbone, precision: str) -> None:
    must = "be fp32 where the network is compiled: compiled code rounds to bf16 less often, so "
    must += "features would depend on the compiler"
    checks.require(precision == DEFAULT_PRECISION, "precision", must, precision)
    crop = backbone.transform.crop
    must = "crop frames to one size, because the network is compiled for a single size"
    checks.require(crop is not None, "transform", must, f"crop={crop}", "Leave out --compile.")


class FeatureExtractor:
    """Computes the features of batches of segments.

    On a CPU, several threads compute one batch each instead of sharing a batch, so they never wait
    for each other. Use the extractor in a ``with`` statement, which sets PyTorch's number of
    threads meanwhile. Batch norms are fused into the convolutions before them.

    The arguments are as for ``extraction.extract.extract``. The backbone moves to the device and is
    otherwise not changed. ``cores`` is the number of processor cores to use; ``None`` uses all.

    Raises:
        ValueError: if an argument is out of range, or the network cannot be compiled.
    """

    def __init__(
        self,
        backbone: Backbone,
        map_size: tuple[int, int] | None = None,
        batch_size: int | None = None,
        device: str | None = None,
        cores: int | None = None,
        precision: str = DEFAULT_PRECISION,
        is_compiled: bool = False,
    ) -> None:
        import torch

        from timeception.backbones.fuse_batch_norm import for_inference, with_network

        checks.one_of("precision", precision, PRECISIONS)
        check_device(device)
        if is_compiled:
            _require_compilable(backbone, precision)
        self.device = torch.device(device or default_device())
        is_cpu = self.device.type == "cpu"
        frames = _CPU_BATCH_FRAMES if is_cpu else _GPU_BATCH_FRAMES
        automatic = max(1, frames // backbone.frames_per_segment)
        self.batch_size = checks.positive_int("batch_size", batch_size or automatic)
        cores = cores or n_cores()
        self.n_computers = min(_MOST_COMPUTERS, cores) if is_cpu else 1
        self._n_threads = max(1, cores // self.n_computers)
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.backbone = for_inference(backbone.to(self.device).eval(), self._dtype)
        self.map_size, self.precision = map_size, precision
        if precision == "bf16":
            self._warn_of_bf16(backbone)
        self._is_compiled = is_compiled
        if is_compiled:
            compiled: Any = torch.compile(self.backbone.network, dynamic=False)
            self.backbone = with_network(self.backbone, compiled)  # keeps the network's attributes

    def _warn_of_bf16(self, backbone: Backbone) -> None:
        """Warn if bf16 is slow on this processor, or changes the features of this network much."""
        import torch

        query = getattr(torch.cpu, "get_capabilities", None)  # missing in older PyTorch
        able = query() if query else {}
        if self.device.type == "cpu" and able and not able.get("avx512_bf16", able.get("bf16")):
            text = "this processor has no bf16 multiplication: fp32 is at least as fast as bf16"
            logger.warning(text)
        side, rng = backbone.side, np.random.default_rng(0)
        coarse = rng.integers(0, 256, (1, backbone.frames_per_segment, 8, 8, 3), dtype=np.uint8)
        times = -(-side // 8)
        pictures = coarse.repeat(times, 2).repeat(times, 3)[:, :, :side, :side]
        with torch.inference_mode():
            expected = backbone(self._frames(pictures).float())
            found = self.backbone(self._frames(pictures)).float()
        change = float((found - expected).norm() / expected.norm().clamp(min=1e-12))
        if change > MOST_CHANGE:
            text = "bf16 changes the features of %s by %.1g (relative), which is more than %g"
            logger.warning(f"{text}: use fp32", backbone.name, change, MOST_CHANGE)

    def __enter__(self) -> FeatureExtractor:
        import torch

        self._n_threads_before = torch.get_num_threads()
        if self.device.type == "cpu":
            torch.set_num_threads(self._n_threads)
        if self._is_compiled:
            try:
                self._compile()  # with the number of threads that will be used
            except BaseException:
                self.__exit__()
                raise
        return self

    def _compile(self) -> None:
        from torch._inductor import config
        from torch._inductor.exc import InductorError, InvalidCxxCompiler

        side = self.backbone.side
        shape = (self.batch_size, self.backbone.frames_per_segment, side, side, 3)
        try:
            with config.patch(freezing=True):  # weights are constants in an optimal layout
                self(np.zeros(shape, np.uint8))
        except (InductorError, InvalidCxxCompiler) as error:
            first, name = str(error).strip().partition("\n")[0], self.backbone.name
            advice = "Install a C++ compiler (g++), or leave out --compile."
            raise ValueError(f"{name} cannot be compiled here: {first} {advice}") from error

    def __exit__(self, *error: object) -> None:
        import torch

        torch.set_num_threads(self._n_threads_before)

    def pipeline(self, n_decoders: int, n_videos: int) -> Pipeline:
        """A pipeline that extracts ``n_videos`` videos, decoding ``n_decoders`` at once."""
        side, length = self.backbone.side, self.backbone.frames_per_segment
        shape = (length, side, side, 3)
        spans_videos = n_videos > 1 and is_batch_invariant(self, self.batch_size, shape)
        if n_videos > 1 and not spans_videos:
            logger.info("results depend on the position in a batch: batches do not span videos")
        return Pipeline(self, self.batch_size, n_decoders, self.n_computers, spans_videos)

    def __call__(self, segments: NDArray[np.uint8]) -> NDArray[np.float32]:
        """8-bit segments (B, T, H, W, 3) to features (B, C, H', W')."""
        import torch

        with torch.inference_mode():
            maps = self.backbone.segment_features(self._frames(segments), self.map_size)
            features: NDArray[np.float32] = maps.float().cpu().numpy()
        return features

    def _frames(self, segments: NDArray[np.uint8]) -> Tensor:
        """Frames (B, 3, T, H, W) with the normalisation of the transform.

        For image networks the memory layout stays channels-last.
        """
        import torch

        width = segments.shape[3]
        frames = torch.from_numpy(segments).to(self.device).float()
        multiplier, offset = (
            torch.from_numpy(np.tile(values, width)).to(self.device)
            for values in self.backbone.transform.affine()
        )
        # whole rows vectorise better than three channels
        frames.view(-1, width * 3).mul_(multiplier).add_(offset)
        frames = frames.to(self._dtype).permute(0, 4, 1, 2, 3)
        return frames.contiguous() if self.backbone.is_video else frames
