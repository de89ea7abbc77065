"""3D-ResNets: inflated ones (I3D-ResNet, slow, with or without non-local blocks) and full ones.

Sources: Wang et al., "Non-local Neural Networks", CVPR 2018, for the inflated layout (kernels
3x1x1 before 1x3x3); Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and
ImageNet?", CVPR 2018, for the full one (kernels 3x3x3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from timeception.backbones.base import LOGITS, FeatureNetwork

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
STAGES = ("res2", "res3", "res4", "res5")
_WIDTHS = (64, 128, 256, 512)  # inner channels of the stages; the outer ones are four times these
_EXPANSION = 4


@dataclass(frozen=True)
class ResNet3dLayout:
    """The differences between published 3D-ResNets.

    Args:
        kernels: temporal kernel of the first convolution of each block, by stage.
        stem_kernel: temporal kernel of the first convolution.
        is_full_3d: kernels are 3x3x3, and the stem's pooling and stages 3 to 5 halve time too.
        pools_time: temporal max pooling of width and stride 2 follows res2.
        stem_pool_padding: padding of the stem's spatial max pooling, 1 or 0.
        res5_stride: spatial stride of res5; 1 keeps maps of 14x14.
        res5_dilation: spatial dilation of res5.
        non_local: indices of the blocks that a non-local block follows, by stage.
    """

    kernels: tuple[tuple[int, ...], ...]
    stem_kernel: int = 5
    is_full_3d: bool = False
    pools_time: bool = True
    stem_pool_padding: int = 1
    res5_stride: int = 2
    res5_dilation: int = 1
    non_local: tuple[tuple[int, ...], ...] = ((), (), (), ())

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return tuple(map(len, self.kernels))

    @property
    def temporal_stride(self) -> int:
        """Frames between two output steps."""
        if self.is_full_3d:
            return 16
        return 2 if self.pools_time else 1


def inflated_layout(depth: int, **options: Any) -> ResNet3dLayout:
    """The I3D-ResNet of ``depth`` 50 or 101: kernels of 3 in res2 and every second later block.

    Example:
        >>> inflated_layout(50).kernels
        ((3, 3, 3), (3, 1, 3, 1), (3, 1, 3, 1, 3, 1), (1, 3, 1))
    """
    res2, res3, res4, res5 = DEPTHS[depth]
    alternating = [tuple(1 if index % 2 else 3 for index in range(n)) for n in (res3, res4)]
    last = tuple(3 if index % 2 else 1 for index in range(res5))
    return ResNet3dLayout(((3,) * res2, *alternating, last), **options)


def full_layout(depth: int, **options: Any) -> ResNet3dLayout:
    """The 3D-ResNet with kernels of 3x3x3 everywhere and a stem of 7x7x7."""
    kernels = tuple((1,) * n for n in DEPTHS[depth])
    return ResNet3dLayout(kernels, stem_kernel=7, is_full_3d=True, **options)


class Stem(nn.Module):
    """Convolution, batch norm, ReLU, max pooling."""

    def __init__(self, layout: ResNet3dLayout, width: int = _WIDTHS[0]) -> None:
        super().__init__()
        frames = layout.stem_kernel
        self.conv = nn.Conv3d(3, width, (frames, 7, 7), (1, 2, 2), (frames // 2, 3, 3), bias=False)
        self.norm = nn.BatchNorm3d(width)
        time, space = (3, 2, 1), (3, 2, layout.stem_pool_padding)  # kernel, stride, padding
        if not layout.is_full_3d:
            time = (1, 1, 0)
        kernel, stride, padding = zip(time, space, space, strict=True)
        self.pool = nn.MaxPool3d(kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) to (N, 64, T, H/4, W/4); T/2 in a full 3D network."""
        return self.pool(F.relu(self.norm(self.conv(x))))


class NonLocal(nn.Module):
    """Self-attention over all positions in time and space, with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.theta = nn.Conv3d(channels, inner, 1)
        self.phi = nn.Conv3d(channels, inner, 1)
        self.g = nn.Conv3d(channels, inner, 1)
        self.out = nn.Conv3d(inner, channels, 1)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to the same shape."""
        pooled = F.max_pool3d(x, (1, 2, 2))
        query, key, value = self.theta(x), self.phi(pooled), self.g(pooled)
        flat = [part.flatten(2).transpose(1, 2) for part in (query, key, value)]
        seen = F.scaled_dot_product_attention(*flat).transpose(1, 2)
        return x + self.norm(self.out(seen.unflatten(2, query.shape[2:])))


class Bottleneck(nn.Module):
    """Kernels k x 1 x 1, 1 x 3 x 3 (3 x 3 x 3 in a full 3D network), 1 x 1 x 1, and a shortcut."""

    def __init__(
        self,
        in_channels: int,
        width: int,
        kernel: int,
        *,
        is_full_3d: bool,
        stride: int,
        dilation: int,
        is_non_local: bool,
    ) -> None:
        super().__init__()
        channels, time = width * _EXPANSION, 3 if is_full_3d else 1
        strides = (stride if is_full_3d else 1, stride, stride)
        around = (kernel // 2, 0, 0)
        self.a = nn.Conv3d(in_channels, width, (kernel, 1, 1), padding=around, bias=False)
        self.a_norm = nn.BatchNorm3d(width)
        around, dilations = (time // 2, dilation, dilation), (1, dilation, dilation)
        self.b = nn.Conv3d(width, width, (time, 3, 3), strides, around, dilations, bias=False)
        self.b_norm = nn.BatchNorm3d(width)
        self.c = nn.Conv3d(width, channels, 1, bias=False)
        self.c_norm = nn.BatchNorm3d(channels)
        self.has_shortcut = in_channels != channels
        if self.has_shortcut:
            self.shortcut = nn.Conv3d(in_channels, channels, 1, strides, bias=False)
            self.shortcut_norm = nn.BatchNorm3d(channels)
        self.is_non_local = is_non_local
        if is_non_local:
            self.non_local = NonLocal(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, 4 * width, T', H', W')."""
        inner = F.relu(self.a_norm(self.a(x)))
        inner = F.relu(self.b_norm(self.b(inner)))
        if self.has_shortcut:
            x = self.shortcut_norm(self.shortcut(x))
        x = F.relu(x + self.c_norm(self.c(inner)))
        return self.non_local(x) if self.is_non_local else x


class ResNet3d(FeatureNetwork):
    """The network; endpoints ``stem``, ``res2`` to ``res5``, ``logits``."""

    is_video = True
    endpoints = ("stem", *STAGES, LOGITS)
    default_endpoint = "res5"

    def __init__(self, layout: ResNet3dLayout, n_classes: int = 400) -> None:
        super().__init__()
        self.layout = layout
        self.stem = Stem(layout)
        self.res2, self.res3, self.res4, self.res5 = (self._stage(index) for index in range(4))
        self.head = nn.Linear(_WIDTHS[-1] * _EXPANSION, n_classes)

    def _stage(self, index: int) -> nn.Sequential:
        layout, width, is_last = self.layout, _WIDTHS[index], index == len(STAGES) - 1
        channels = _WIDTHS[0] if index == 0 else _WIDTHS[index - 1] * _EXPANSION
        stride = layout.res5_stride if is_last else min(index, 1) + 1
        blocks = []
        for number, kernel in enumerate(layout.kernels[index]):
            block = Bottleneck(
                channels,
                width,
                kernel,
                is_full_3d=layout.is_full_3d,
                stride=stride if number == 0 else 1,
                dilation=layout.res5_dilation if is_last else 1,
                is_non_local=number in layout.non_local[index],
            )
            blocks.append(block)
            channels = width * _EXPANSION
        return nn.Sequential(*blocks)

    def forward(self, frames: Tensor, endpoint: str) -> Tensor:
        """(N, 3, T, H, W) to (N, C, T', H', W'): res5 has 2048 channels, 7x7 at 224."""
        for name in self.endpoints[:-1]:
            if name == "res3" and self.layout.pools_time and not self.layout.is_full_3d:
                frames = F.max_pool3d(frames, (2, 1, 1))
            frames = self.get_submodule(name)(frames)
            if name == endpoint:
                return frames
        return self.head(frames.mean((2, 3, 4)))[:, :, None, None, None]
