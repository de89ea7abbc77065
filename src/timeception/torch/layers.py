"""One Timeception layer and its parameters."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timeception.spec import DEPTHWISE_BIAS_INIT, LayerSpec
from timeception.torch import functional
from timeception.torch.batch_statistics import batch_statistics
from timeception.torch.fast.forward import forward as fast_forward


class TimeceptionLayer(nn.Module):
    """Grouped multi-scale temporal convolutions, channel shuffle, and temporal pooling.

    Every group of channels goes through five branches: a pointwise convolution; three pointwise
    convolutions, each followed by a depthwise temporal convolution of a different reach; and a
    pointwise convolution followed by a temporal maximum. Batch norm and ReLU follow, the channels
    are shuffled across groups, and the number of timesteps is halved.

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
        shape = spec.out_channels, spec.group_channels
        self.pointwise = ConvParameters(shape, spec.pointwise_bound)
        self.temporal = nn.ModuleList()
        for branch, taps in enumerate(spec.taps):
            shape, bound = (spec.temporal_channels, len(taps)), spec.temporal_bound(branch)
            self.temporal.append(ConvParameters(shape, bound, DEPTHWISE_BIAS_INIT))
        self.norm = BatchNorm(spec.out_channels, bn_eps, bn_momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer: the result of ``plain``, computed in the fastest way."""
        return fast_forward(self, x)

    def plain(self, x: Tensor) -> Tensor:
        """Apply the layer as the paper describes it."""
        spec, (n_clips, _, _, height, width) = self.spec, x.shape
        y = functional.grouped_pointwise(x, self.pointwise.weight, self.pointwise.bias, spec)
        branches = list(y.unbind(2))  # five, each N, G, C_b, T, H * W
        kernels = zip(self.temporal_kernels(), spec.taps, strict=True)
        for index, ((weight, bias), taps) in enumerate(kernels, start=1):
            branches[index] = functional.temporal_conv(branches[index], weight, bias, taps)
        branches[-1] = functional.temporal_maximum(branches[-1], spec.pool_lookahead)
        y = torch.stack(branches, dim=2).flatten(1, 3)  # N, C_out, T, H * W
        y = self.norm(y).relu()
        y = functional.shuffle(y, spec.n_groups)
        y = functional.temporal_pool(y, axis=2)  # N, C_out, T // 2, H * W
        return y.view(n_clips, spec.out_channels, y.shape[2], height, width)

    def temporal_kernels(self) -> list[tuple[Tensor, Tensor]]:
        """Return weight and bias of the temporal convolutions of branches 2 to 4."""
        return [(conv.weight, conv.bias) for conv in self.temporal]  # type: ignore[misc]

    def extra_repr(self) -> str:
        """Describe the layer's channels and groups."""
        spec = self.spec
        return f"{spec.in_channels}, {spec.out_channels}, n_groups={spec.n_groups}"


class ConvParameters(nn.Module):
    """Weight matrix and bias of grouped convolutions, which the layer applies itself.

    Args:
        shape: rows (one per output channel) and columns of the weight.
        bound: the weight is initialised from U(-bound, bound).
        bias: initial value of the bias.
    """

    def __init__(self, shape: tuple[int, int], bound: float, bias: float = 0.0) -> None:
        super().__init__()
        self.bound, self.initial_bias = bound, bias
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape[0]))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise weight and bias again."""
        nn.init.uniform_(self.weight, -self.bound, self.bound)
        nn.init.constant_(self.bias, self.initial_bias)

    def extra_repr(self) -> str:
        """Describe the shape of the weight."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


class BatchNorm(nn.Module):
    """Batch normalisation of axis 1, like PyTorch's, but without a counter of batches.

    ``is_synchronised`` is set where several processes share a batch: the statistics are then those
    of the whole batch.
    """

    is_synchronised = False
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

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift in evaluation, in double precision, for folding."""
        mean, variance = self.running_mean.double(), self.running_var.double()
        scale = self.weight.double() / torch.sqrt(variance + self.eps)
        return scale, self.bias.double() - mean * scale

    @torch.no_grad()
    def update(self, mean: Tensor, variance: Tensor) -> None:
        """Move the moving statistics towards those of a batch (its variance unbiased)."""
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch in training, by the moving statistics in evaluation."""
        if self.is_synchronised and self.training:
            return self._synchronised(x)
        moving, affine = (self.running_mean, self.running_var), (self.weight, self.bias)
        return F.batch_norm(x, *moving, *affine, self.training, self.momentum, self.eps)

    def _synchronised(self, x: Tensor) -> Tensor:
        mean, variance, n = batch_statistics(x)
        self.update(mean, variance * (n / (n - 1)))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        y = (x.float() - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        state_dict.pop(f"{prefix}num_batches_tracked", None)  # not a parameter of this network
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        """Describe the channels and constants."""
        return f"{self.weight.shape[0]}, eps={self.eps}, momentum={self.momentum}"
