"""A backbone as the pipeline calls it: its device, its precision, its batches, its threads."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.features.pipeline import Pipeline, is_batch_invariant

if TYPE_CHECKING:
    from torch import Tensor

    from timeception.backbones import Backbone, FeatureNetwork

logger = logging.getLogger(__name__)

DEFAULT_PRECISION = "fp32"
PRECISIONS = (DEFAULT_PRECISION, "bf16")
#: Relative change of features by another precision from which on it is warned of.
MOST_CHANGE = 1e-2

# Maps of more than 32 MB get fresh memory at every layer (glibc), whose page faults were measured
# at a fifth of a processor's time with 8 frames.
_CPU_BATCH_FRAMES = 4
_GPU_BATCH_FRAMES = 64
_MOST_COMPUTERS = 8  # threads that call the network; beyond it, Python's lock would be felt


def n_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _side(backbone: Backbone) -> int:
    return backbone.transform.crop or backbone.transform.resize or 224


def _compiled(network: FeatureNetwork) -> FeatureNetwork:
    import torch

    compiled: Any = torch.compile(network, dynamic=False)
    return cast("FeatureNetwork", compiled)  # it has the network's attributes


def _require_compilable(backbone: Backbone, precision: str) -> None:
    checks.require(
        precision == DEFAULT_PRECISION,
        "precision",
        "be fp32 where the network is compiled: a compiler rounds to bf16 less often, so that "
        "features would change with it",
        precision,
    )
    checks.require(
        backbone.transform.crop is not None,
        "transform",
        "crop frames to one size, for which the network is compiled",
        f"crop={backbone.transform.crop}",
        "Leave out --compile.",
    )


class FeatureExtractor:
    """A backbone on its device, as the pipeline calls it.

    On a processor, several threads each compute batches of their own, instead of all sharing in
    one: they never wait for each other. Use it in a ``with`` statement, which sets the threads of
    PyTorch for that time. The network's batch norms are folded into its convolutions.

    Args:
        backbone: the network; stays as it is, but moves to the device.
        map_size: (height, width) that maps are averaged down to; ``None`` keeps them.
        batch_size: segments in a batch; ``None`` chooses.
        device: where to run; ``None`` takes a GPU if there is one.
        cores: processor cores to use; ``None``: all.
        precision: of weights and maps within the network: ``fp32``, or ``bf16``.
        is_compiled: run it by ``torch.compile``, its weights as constants. Results change by
            rounding alone.

    Raises:
        ValueError: if an argument is out of range, or the network cannot be compiled as it is.
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
        if is_compiled:
            _require_compilable(backbone, precision)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
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
            self.backbone = with_network(self.backbone, _compiled(self.backbone.network))

    def _warn_of_bf16(self, backbone: Backbone) -> None:
        """Say so if bf16 is slow here, or changes this network's features much."""
        import torch

        tell = getattr(torch.cpu, "get_capabilities", None)  # older PyTorch cannot tell
        able = tell() if tell else {}
        if self.device.type == "cpu" and able and not able.get("avx512_bf16", able.get("bf16")):
            logger.warning("this processor does not multiply bf16: fp32 is as fast, or faster")
        side, rng = _side(backbone), np.random.default_rng(0)
        coarse = rng.integers(0, 256, (1, backbone.frames_per_segment, 8, 8, 3), dtype=np.uint8)
        times = -(-side // 8)
        pictures = coarse.repeat(times, 2).repeat(times, 3)[:, :, :side, :side]
        with torch.inference_mode():
            expected = backbone(self._frames(pictures).float())
            found = self.backbone(self._frames(pictures)).float()
        change = float((found - expected).norm() / expected.norm().clamp(min=1e-12))
        if change > MOST_CHANGE:
            logger.warning(
                "bf16 changes the features of %s by %.1g (relative), which is more than %g: "
                "fp32 is safer",
                backbone.name,
                change,
                MOST_CHANGE,
            )

    def __enter__(self) -> FeatureExtractor:
        import torch

        self._n_threads_before = torch.get_num_threads()
        if self.device.type == "cpu":
            torch.set_num_threads(self._n_threads)
        if self._is_compiled:
            try:
                self._compile()  # for as many threads as will call it
            except BaseException:
                self.__exit__()
                raise
        return self

    def _compile(self) -> None:
        from torch._inductor import config
        from torch._inductor.exc import InductorError, InvalidCxxCompiler

        side = _side(self.backbone)
        shape = (self.batch_size, self.backbone.frames_per_segment, side, side, 3)
        try:
            with config.patch(freezing=True):  # weights are constants, laid out for their use
                self(np.zeros(shape, np.uint8))
        except (InductorError, InvalidCxxCompiler) as error:
            first = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"{self.backbone.name} cannot be compiled here: {first} "
                "Install a C++ compiler (g++), or leave out --compile."
            ) from error

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
        side = _side(self.backbone)
        shape = (self.backbone.frames_per_segment, side, side, 3)
        return is_batch_invariant(self, self.batch_size, shape)

    def __call__(self, segments: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Levels of segments (B, T, H, W, 3) to features (B, C, H', W')."""
        import torch

        with torch.inference_mode():
            maps = self.backbone.segment_features(self._frames(segments), self.map_size)
            features: NDArray[np.float32] = maps.float().cpu().numpy()
        return features

    def _frames(self, segments: NDArray[np.uint8]) -> Tensor:
        """Normalised frames (B, 3, T, H, W), with the numbers that the transform gives.

        Channels stay last in memory, as image networks take them.
        """
        import torch

        width = segments.shape[3]
        frames = torch.from_numpy(segments).to(self.device).float()
        multiplier, offset = (
            torch.from_numpy(np.tile(values, width)).to(self.device)
            for values in self.backbone.transform.affine()
        )
        frames.view(-1, width * 3).mul_(multiplier).add_(offset)  # whole rows: vectors, not threes
        frames = frames.to(self._dtype).permute(0, 4, 1, 2, 3)
        return frames.contiguous() if self.backbone.is_video else frames
