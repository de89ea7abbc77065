"""A backbone: a frozen image or video network whose feature maps are taken at an endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.nn.modules.batchnorm import _BatchNorm

from timeception import checks
from timeception.files import sha256_of
from timeception.video.transforms import Transform

#: The endpoints of the class scores and, in most networks, of the map that the head pools.
LOGITS, FEATURES = "logits", "features"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make random weights depend only on ``seed``, without changing the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class FeatureNetwork(nn.Module):
    """A network whose intermediate maps have names; a ``Backbone`` wraps it.

    Image networks map (B, 3, H, W) to (B, C, H', W'), video networks (N, 3, T, H, W) to
    (N, C, T', H', W'). Class scores are a map of one position (for video, of one or more steps).

    Attributes:
        endpoints: names of the maps, first to last.
        default_endpoint: where features are taken by default.
    """

    is_video: bool = False
    in_channels: int = 3
    endpoints: tuple[str, ...]
    default_endpoint: str

    def forward(self, frames: Tensor, endpoint: str) -> Tensor:
        """Run the network up to ``endpoint`` and return its map."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")


@dataclass(frozen=True)
class WeightsRecord:
    """The origin of a backbone's weights.

    Args:
        source: ``"random (seed 0)"``, the name of a package or hub, or a file name without folder.
        family: the kind of checkpoint, recognised by its content.
        licence: of the weights, if known.
    """

    source: str
    family: str
    licence: str = "unknown"

    @classmethod
    def random(cls, seed: int) -> WeightsRecord:
        """The record of random, untrained weights."""
        return cls(f"random (seed {seed})", "random", "none")


class Backbone(nn.Module):
    """A network that turns frames into feature maps. It is frozen, in eval mode, by default.

    ``train()`` leaves a frozen backbone in eval mode, so it can be part of a model that trains.
    A frozen backbone runs without gradients and in parts of ``batch_size``.

    Args:
        name: as given to ``create_backbone``.
        network: the wrapped network.
        transform: the exact preprocessing of the weights.
        weights: the origin of the weights.
        endpoint: name of the map to return; ``None`` is the network's default.
        frames_per_segment: successive frames of one timestep.
        temporal_stride: frames between two output steps of a longer clip.
        batch_size: images (image networks) or clips (video networks) in one pass.

    Raises:
        ValueError: if the network has no such endpoint.
    """

    def __init__(
        self,
        name: str,
        network: FeatureNetwork,
        transform: Transform,
        weights: WeightsRecord,
        *,
        endpoint: str | None = None,
        frames_per_segment: int = 1,
        temporal_stride: int = 1,
        batch_size: int = 16,
    ) -> None:
        super().__init__()
        self.name = name
        chosen = endpoint or network.default_endpoint
        self.endpoint: str = checks.one_of("endpoint", chosen, network.endpoints)
        self.transform = transform
        self.weights = weights
        self.frames_per_segment = checks.positive_int("frames_per_segment", frames_per_segment)
        self.temporal_stride = checks.positive_int("temporal_stride", temporal_stride)
        self.batch_size = checks.positive_int("batch_size", batch_size)
        self.network = network
        self.options: dict[str, Any] = {}  # further options given to create_backbone
        self.is_frozen = True
        self.trains_batch_norm = False
        self._shapes: dict[tuple[Any, ...], tuple[int, int, int, int]] = {}
        self._weights_hash: str | None = None
        self.freeze()

    @property
    def is_video(self) -> bool:
        """Whether the network takes several frames at once."""
        return self.network.is_video

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Names of the maps that the network returns."""
        return self.network.endpoints

    @property
    def out_channels(self) -> int:
        """Number of channels of the endpoint's map."""
        return self.output_shape(self.frames_per_segment, self.side, self.side)[0]

    @property
    def side(self) -> int:
        """Side of preprocessed frames in pixels; without a crop, the short side or 224."""
        return self.transform.crop or self.transform.resize or 224

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the endpoint's map for frames of ``height`` x ``width`` pixels."""
        _, _, map_height, map_width = self.output_shape(self.frames_per_segment, height, width)
        return map_height, map_width

    def output_shape(self, n_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T', H', W') of the features of ``n_frames`` frames, without computing them."""
        key = (self.endpoint, n_frames, height, width)
        if key not in self._shapes:
            shape = self.run_without_data(n_frames, height, width).shape
            steps = shape[2] if self.is_video else n_frames
            self._shapes[key] = (shape[1], steps, shape[-2], shape[-1])
        return self._shapes[key]

    def run_without_data(self, n_frames: int, height: int, width: int) -> Tensor:
        """Run the network on meta tensors, for the output's shape and for hooks of modules."""
        tensors = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        empty = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
        size = (n_frames, height, width) if self.is_video else (height, width)
        with torch.inference_mode(False), torch.no_grad():
            frames = torch.empty(1, self.in_channels, *size, device="meta")
            return torch.func.functional_call(self.network, empty, (frames, self.endpoint))

    @property
    def in_channels(self) -> int:
        """Channels of a frame: 3, or 2 for optical flow."""
        return self.network.in_channels

    def forward(self, frames: Tensor) -> Tensor:
        """Return the endpoint's maps of frames that were preprocessed by ``transform``.

        Shape:
            frames: (N, 3, T, H, W). Returns (N, C, T', H', W'); T' = T for image networks.

        Raises:
            ValueError: if ``frames`` has another shape.
        """
        is_clip = frames.ndim == 5 and frames.shape[1] == self.in_channels
        must = f"have the shape (N, {self.in_channels}, T, H, W)"
        checks.require(is_clip, "frames", must, tuple(frames.shape))
        if self.is_video:
            return self._run(frames)
        n_clips, _, n_frames = frames.shape[:3]
        images = frames.transpose(1, 2).flatten(0, 1)
        maps = self._run(images.contiguous(memory_format=torch.channels_last))  # faster
        return maps.unflatten(0, (n_clips, n_frames)).transpose(1, 2)

    def segment_features(self, segments: Tensor, map_size: tuple[int, int] | None = None) -> Tensor:
        """Return one map per segment: the mean of its maps over time, then pooled in space.

        Args:
            segments: normalised frames.
            map_size: (height, width) for adaptive average pooling; ``None`` keeps the size.

        Shape:
            segments: (B, 3, T, H, W). Returns (B, C, H', W').
        """
        maps = self(segments).mean(dim=2)
        return maps if map_size is None else adaptive_avg_pool2d(maps, map_size)

    def _run(self, batch: Tensor) -> Tensor:
        if not self.is_frozen:
            return self.network(batch, self.endpoint)
        with torch.no_grad():
            parts = [self.network(part, self.endpoint) for part in batch.split(self.batch_size)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def freeze(self) -> Self:
        """Keep weights and batch-norm statistics fixed, even after ``train()``."""
        self.is_frozen = True
        self.requires_grad_(False)
        return self.eval()

    def unfreeze(self, *, batch_norm: bool = False) -> Self:
        """Make the weights trainable, and with ``batch_norm`` those of batch norms too.

        By default, their statistics, scales and offsets stay fixed, which small batches require.
        """
        self.is_frozen, self.trains_batch_norm, self._weights_hash = False, batch_norm, None
        self.requires_grad_(True)
        for module in self._frozen_norms():
            module.requires_grad_(False)
        return self

    def _frozen_norms(self) -> list[nn.Module]:
        if self.trains_batch_norm:
            return []
        return [module for module in self.network.modules() if isinstance(module, _BatchNorm)]

    def train(self, mode: bool = True) -> Self:
        """Set training mode unless the backbone is frozen; batch norms follow ``unfreeze``."""
        super().train(mode and not self.is_frozen)
        for module in self._frozen_norms():
            module.eval()
        return self

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the network's tensors and their names.

        Batch counters are left out: they do not affect the result, and old files lack them.
        """
        if self._weights_hash is not None:
            return self._weights_hash
        digest = sha256_of(
            part
            for name, tensor in sorted(self.network.state_dict().items())
            if not name.endswith("num_batches_tracked")
            for part in (
                f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(),
                tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy(),
            )
        )
        if self.is_frozen:
            self._weights_hash = digest
        return digest

    def describe(self) -> dict[str, Any]:
        """Everything that determines the features, in JSON form.

        ``create_backbone`` restores the backbone from ``name``, ``endpoint``, the checkpoint file
        and ``options``, if present.
        """
        described: dict[str, Any] = {
            "name": self.name,
            "endpoint": self.endpoint,
            "out_channels": self.out_channels,
            "frames_per_segment": self.frames_per_segment,
            "temporal_stride": self.temporal_stride,
            "weights": {**asdict(self.weights), "sha256": self.weights_hash},
            "transform": self.transform.to_dict(),
        }
        if self.options:
            described["options"] = self.options
        return described

    def extra_repr(self) -> str:
        """Name, endpoint and state."""
        state = "frozen" if self.is_frozen else "trains"
        return f"{self.name!r}, endpoint={self.endpoint!r}, {state}"
