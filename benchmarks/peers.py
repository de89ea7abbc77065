"""Networks to compare Timeception with, on features N, C, T, H, W.

``LoopTimeception`` has the structure of the network of 2019: one convolution per group and branch.
The others are common ways to relate timesteps, in their usual form.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timeception.spec import LayerSpec, TimeceptionSpec


class DepthwiseTime(nn.Module):
    """A depthwise convolution over time, with space folded into the batch."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv1d(
            channels, channels, kernel, padding=padding, dilation=dilation, groups=channels
        )

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        folded = x.permute(0, 3, 4, 1, 2).reshape(n * h * w, c, t)
        return self.conv(folded).view(n, h, w, c, t).permute(0, 3, 4, 1, 2)


class LookaheadMaximum(nn.Module):
    """The maximum of each timestep and the next one."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(F.pad(x, (0, 0, 0, 0, 0, 1), mode="replicate"), (2, 1, 1), stride=1)


class LoopLayer(nn.Module):
    """One layer, with a module for each group and branch."""

    def __init__(self, spec: LayerSpec, bn_eps: float, bn_momentum: float) -> None:
        super().__init__()
        self.n_groups = spec.n_groups
        width = spec.branch_channels
        self.branches = nn.ModuleList()
        for _ in range(spec.n_groups):
            for branch in range(5):
                steps: list[nn.Module] = [nn.Conv3d(spec.group_channels, width, 1)]
                if 1 <= branch <= 3:
                    taps = spec.taps[branch - 1]
                    steps.append(DepthwiseTime(width, len(taps), taps[1] - taps[0]))
                elif branch == 4:
                    steps.append(LookaheadMaximum())
                steps.append(nn.BatchNorm3d(width, bn_eps, bn_momentum))
                self.branches.append(nn.Sequential(*steps))

    def forward(self, x: Tensor) -> Tensor:
        n, _, t, h, w = x.shape
        groups = []
        for index, piece in enumerate(x.chunk(self.n_groups, dim=1)):
            branches = self.branches[5 * index : 5 * index + 5]
            groups.append(torch.cat([branch(piece) for branch in branches], dim=1))
        y = F.relu(torch.cat(groups, dim=1))
        y = y.view(n, self.n_groups, -1, t, h, w).transpose(1, 2).reshape(y.shape)
        return F.max_pool3d(y, (2, 1, 1))


class LoopTimeception(nn.Sequential):
    """The stack of loop layers; ``load_canonical`` loads the arrays of ``Timeception``."""

    def __init__(self, spec: TimeceptionSpec) -> None:
        super().__init__(*(LoopLayer(one, spec.bn_eps, spec.bn_momentum) for one in spec.layers))
        self.spec = spec

    @torch.no_grad()
    def load_canonical(self, state: dict[str, Tensor]) -> None:
        """Copy the canonical arrays of the layers into the modules."""
        for index, (layer, spec) in enumerate(zip(self, self.spec.layers, strict=True)):
            own = {k.removeprefix(f"layers.{index}."): v for k, v in state.items()}
            width = spec.branch_channels
            for position, steps in enumerate(layer.branches):
                group, branch = divmod(position, 5)
                rows = slice(position * width, (position + 1) * width)
                steps[0].weight.copy_(own["pointwise.weight"][rows].view_as(steps[0].weight))
                steps[0].bias.copy_(own["pointwise.bias"][rows])
                if 1 <= branch <= 3:
                    conv, mine = steps[1].conv, slice(group * width, (group + 1) * width)
                    weight = own[f"temporal.{branch - 1}.weight"][mine]
                    conv.weight.copy_(weight.view_as(conv.weight))
                    conv.bias.copy_(own[f"temporal.{branch - 1}.bias"][mine])
                for leaf in ("weight", "bias", "running_mean", "running_var"):
                    getattr(steps[-1], leaf).copy_(own[f"norm.{leaf}"][rows])


class DenseConv(nn.Module):
    """A dense 3 x 3 x 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)

    def n_macs(self, t: int, h: int, w: int) -> int:
        return self.conv.weight.numel() * t * h * w


class SeparableTime(nn.Module):
    """Layers with a depthwise temporal and a pointwise convolution, norm, ReLU and pooling."""

    def __init__(self, channels: int, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(n_layers):
            self.layers.append(
                nn.Sequential(
                    DepthwiseTime(channels, 3, 1),
                    nn.Conv3d(channels, channels, 1),
                    nn.BatchNorm3d(channels),
                    nn.ReLU(inplace=True),
                    nn.MaxPool3d((2, 1, 1)),
                )
            )
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def n_macs(self, t: int, h: int, w: int) -> int:
        per_position = self.channels * 3 + self.channels**2
        return sum(per_position * (t >> i) * h * w for i in range(len(self.layers)))


class BidirectionalLSTM(nn.Module):
    """A bidirectional LSTM over timesteps, on features averaged over space."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x.mean((3, 4)).transpose(1, 2))[0]

    def n_macs(self, t: int, h: int, w: int) -> int:
        weights = [p for name, p in self.lstm.named_parameters() if "weight" in name]
        return t * sum(p.numel() for p in weights)


class TransformerEncoder(nn.Module):
    """Encoder layers with 8 heads, over timesteps (averaged over space) or over all positions."""

    def __init__(self, channels: int, n_layers: int, pooled: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(channels, 8, 2 * channels, batch_first=True, dropout=0.0)
            for _ in range(n_layers)
        )
        self.channels, self.pooled = channels, pooled

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.mean((3, 4)) if self.pooled else x.flatten(2)
        tokens = tokens.transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens

    def n_macs(self, t: int, h: int, w: int) -> int:
        n_tokens = t if self.pooled else t * h * w
        linear = 8 * self.channels**2  # projections 4, feed-forward 2 * 2
        return len(self.layers) * (n_tokens * linear + 2 * n_tokens**2 * self.channels)


class NonLocalBlock(nn.Module):
    """An embedded-Gaussian non-local block over all positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = nn.Conv3d(channels, 3 * (channels // 2), 1)
        self.output = nn.Conv3d(channels // 2, channels, 1)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.inputs(x).flatten(2).transpose(1, 2).chunk(3, dim=2)
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        return x + self.output(mixed)

    def n_macs(self, t: int, h: int, w: int) -> int:
        n_tokens = t * h * w
        return 2 * n_tokens * self.channels**2 + n_tokens**2 * self.channels
