"""One Timeception layer, and the parameters it holds."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timeception.spec import DEPTHWISE_BIAS_INIT, LayerSpec
from timeception.torch import functional
from timeception.torch.fast.epilogue import Mixing, Statistics, mix_plain
from timeception.torch.fast.epilogue import mix as mix_recomputed
from timeception.torch.fast.native import operators


class Kernels(nn.Module):
    """A weight matrix and a bias, held for the fused operations of a layer.

    Args:
        shape: rows (one a channel) and columns of the weight.
        bound: the weight starts as U(-bound, bound).
        bias: what the bias starts as.
    """

    def __init__(self, shape: tuple[int, int], bound: float, bias: float = 0.0) -> None:
        super().__init__()
        self.bound, self.initial_bias = bound, bias
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape[0]))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values anew."""
        nn.init.uniform_(self.weight, -self.bound, self.bound)
        nn.init.constant_(self.bias, self.initial_bias)

    def extra_repr(self) -> str:
        """The weight's shape."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


class Norm(nn.Module):
    """Batch normalisation of axis 1, without the count of batches that PyTorch's own keeps.

    Args:
        channels: size of axis 1.
        eps: added to the variance.
        momentum: weight of the new batch in the moving statistics.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def reset_parameters(self) -> None:
        """Set scale and variance to one, shift and mean to zero."""
        for ones, zeros in ((self.weight, self.bias), (self.running_var, self.running_mean)):
            nn.init.ones_(ones)
            nn.init.zeros_(zeros)

    @property
    def statistics(self) -> Statistics:
        """The moving statistics."""
        return Statistics(self.running_mean, self.running_var)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift in evaluation, in double precision, for folding."""
        mean, variance = self.running_mean.double(), self.running_var.double()
        scale = self.weight.double() / torch.sqrt(variance + self.eps)
        return scale, self.bias.double() - mean * scale

    @torch.no_grad()
    def update(self, batch: Statistics) -> None:
        """Move the statistics towards those of a batch (its variance unbiased)."""
        self.running_mean.lerp_(batch.mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(batch.variance.to(self.running_var.dtype), self.momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch in training, by the moving statistics in evaluation."""
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        state_dict.pop(f"{prefix}num_batches_tracked", None)  # nothing here depends on it
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        """The channels and constants."""
        return f"{self.weight.shape[0]}, eps={self.eps}, momentum={self.momentum}"


class TimeceptionLayer(nn.Module):
    """Grouped multi-scale temporal convolutions, channel shuffle, and temporal pooling.

    Every group of channels goes through five branches: pointwise; three pointwise and depthwise
    temporal convolutions of different reach; pointwise and a temporal maximum. Batch norm and
    ReLU follow, the channels are shuffled across groups, and time is halved.

    Args:
        spec: channels, groups and taps.
        bn_eps: epsilon of the batch normalisation.
        bn_momentum: weight of the new batch in the moving statistics.

    Shape:
        input: N, C, T, H, W with T >= 2; result: N, ``spec.out_channels``, T // 2, H, W.

    Source: Hussein et al., CVPR 2019, section 3.3, figure 4. Initial values are those of the
    Keras network of 2019: Glorot kernels, depthwise biases 0.1, other biases 0.
    """

    def __init__(self, spec: LayerSpec, bn_eps: float, bn_momentum: float) -> None:
        super().__init__()
        self.spec = spec
        self.implementation = "torch"
        self.pointwise = Kernels((spec.out_channels, spec.group_channels), spec.pointwise_bound)
        self.temporal = nn.ModuleList(
            Kernels(
                (spec.temporal_channels, len(taps)),
                spec.temporal_bound(branch),
                DEPTHWISE_BIAS_INIT,
            )
            for branch, taps in enumerate(spec.taps)
        )
        self.norm = Norm(spec.out_channels, bn_eps, bn_momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        n_clips, _, timesteps, height, width = x.shape
        run = self._native if self.implementation == "native" else self._torch
        y, used = run(x)
        if self.norm.training:
            self.norm.update(used)
        return y.view(n_clips, self.spec.out_channels, timesteps // 2, height, width)

    def temporal_kernels(self) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of branches 2 to 4."""
        return [(conv.weight, conv.bias) for conv in self.temporal]  # type: ignore[misc]

    def _torch(self, x: Tensor) -> tuple[Tensor, Statistics]:
        norm, kernels = self.norm, self.temporal_kernels()
        y = functional.grouped_pointwise(x, self.pointwise.weight, self.pointwise.bias, self.spec)
        mix = mix_plain if torch.compiler.is_compiling() else mix_recomputed
        mixing = Mixing(self.spec, norm.eps, norm.training)
        return mix(y, kernels, (norm.weight, norm.bias), norm.statistics, mixing)

    def _native(self, x: Tensor) -> tuple[Tensor, Statistics]:
        norm, spec = self.norm, self.spec
        weights, biases = map(list, zip(*self.temporal_kernels(), strict=True))
        y = functional.grouped_pointwise(x, self.pointwise.weight, None, spec).flatten(1, 3)
        out, mean, variance = operators.mix(
            y,
            self.pointwise.bias,
            weights,
            biases,
            norm.weight,
            norm.bias,
            *norm.statistics,
            norm.eps,
            norm.training,
            spec.n_groups,
            [offset for taps in spec.taps for offset in taps],
            spec.pool_offset,
        )
        n_values = y.numel() // y.shape[1]
        return out, Statistics(mean, variance * (n_values / (n_values - 1)))

    def extra_repr(self) -> str:
        """The layer's arithmetic."""
        spec = self.spec
        return f"{spec.in_channels}, {spec.out_channels}, n_groups={spec.n_groups}"
