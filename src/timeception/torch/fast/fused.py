"""The network for evaluation only, with batch norm folded into the arrays before it.

Branch 1 is folded into its pointwise kernels, and branches 2 to 4 into their temporal kernels. The
maximum of branch 5 does not commute with a negative scale: the magnitude of the scale is folded
into the pointwise kernels, and its sign and the shift are applied after the maximum.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from timeception.spec import LEAKY_SLOPE, N_BRANCHES, ClassifierSpec, LayerSpec, TimeceptionSpec
from timeception.torch import functional
from timeception.torch.fast import gradients, native
from timeception.torch.fast.native import operators
from timeception.torch.fast.steps import NativeSteps, NetworkSteps, TorchSteps
from timeception.torch.global_pooling import GlobalPooling
from timeception.torch.inputs import check_tensor
from timeception.torch.layers import BatchNorm, TimeceptionLayer

PART_TIMESTEPS = 192  # longer videos are processed in parts, whose intermediates stay in cache


class FusedLayer(nn.Module):
    """One Timeception layer without its batch norm; shapes are as in ``TimeceptionLayer``."""

    kernels: Tensor
    bias: Tensor
    pool_sign: Tensor
    pool_shift: Tensor

    def __init__(self, layer: TimeceptionLayer, implementation: str) -> None:
        super().__init__()
        self.spec: LayerSpec = layer.spec
        self.implementation = implementation
        # the C++ kernels accept bfloat16 inputs, but require float32 arrays
        is_native = implementation == "native"
        dtype = torch.float32 if is_native else layer.pointwise.weight.dtype
        for name, array in _folded(layer).items():
            self.register_buffer(name, array.to(dtype).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        if self.implementation == "native":
            return operators.evaluate(x, self._arrays())
        return self.epilogue(self.pointwise(x)).unflatten(3, x.shape[3:])

    def steps(self) -> NativeSteps | TorchSteps:
        """Return the layer's state for a video that arrives in parts."""
        if self.implementation == "native":
            return NativeSteps(self.spec, self._arrays())
        return TorchSteps(self.spec, self.pointwise, self.epilogue)

    def pointwise(self, x: Tensor) -> Tensor:
        """Compute the pointwise convolutions: N, C, T, H, W to N, G, B, C_b, T, H * W."""
        return functional.grouped_pointwise(x, self.kernels, self.bias, self.spec)

    def epilogue(self, y: Tensor) -> Tensor:
        """Compute what follows ``pointwise``: N, G, B, C_b, T, S to N, C_out, T // 2, S."""
        spec = self.spec
        first, *middle, last = y.unbind(2)
        branches = [_pool(first).relu()]
        for branch, (weight, bias), taps in zip(middle, self._temporal(), spec.taps, strict=True):
            branches.append(_pool(gradients.temporal_conv(branch, weight, bias, taps)).relu())
        per_channel = (1, spec.n_groups, spec.branch_channels, 1, 1)
        last = functional.temporal_maximum(last, spec.pool_lookahead)
        last = _pool(last * self.pool_sign.view(per_channel))
        branches.append((last + self.pool_shift.view(per_channel)).relu())
        # concatenate within each group, then shuffle across groups: channels (B, C_b, G)
        return torch.stack([each.transpose(1, 2) for each in branches], dim=1).flatten(1, 3)

    def _arrays(self) -> operators.FoldedArrays:
        weights, biases = map(list, zip(*self._temporal(), strict=True))
        arrays = self.kernels, self.bias, weights, biases, self.pool_sign, self.pool_shift
        taps = [offset for taps in self.spec.taps for offset in taps]
        return operators.FoldedArrays(*arrays, taps, self.spec.pool_offset)

    def _temporal(self) -> list[tuple[Tensor, Tensor]]:
        names = ((f"temporal_weight_{i}", f"temporal_bias_{i}") for i in range(3))
        return [(getattr(self, weight), getattr(self, bias)) for weight, bias in names]


class FusedTimeception(nn.Module):
    """``Timeception`` for evaluation; created by ``Timeception.fuse``."""

    def __init__(self, layers: Any, spec: TimeceptionSpec, implementation: str) -> None:
        super().__init__()
        self.spec = spec
        self.implementation = native.choose(implementation)
        self.layers = nn.ModuleList(FusedLayer(layer, self.implementation) for layer in layers)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers."""
        check_tensor(x)
        self.spec.check_input(x.shape)
        if x.shape[2] > PART_TIMESTEPS and not torch.compiler.is_compiling():
            return self._in_parts(x)
        for layer in self.layers:
            x = layer(x)
        return x

    def steps(self) -> NetworkSteps:
        """Return the state of all layers for a video that arrives in parts."""
        layers = cast("Iterable[FusedLayer]", self.layers)
        return NetworkSteps([layer.steps() for layer in layers])

    def _in_parts(self, x: Tensor) -> Tensor:
        steps, (*parts, last) = self.steps(), x.split(PART_TIMESTEPS, dim=2)
        outputs = [steps.advance(part, is_last=False) for part in parts]
        return torch.cat([*outputs, steps.advance(last, is_last=True)], dim=2)


class FusedClassifier(GlobalPooling, nn.Module):
    """``TimeceptionClassifier`` for evaluation; created by its ``fuse``.

    The batch norm is folded into the hidden linear layer.
    """

    def __init__(
        self,
        timeception: FusedTimeception,
        spec: ClassifierSpec,
        hidden: nn.Linear,
        output: nn.Linear,
        pipeline: dict[str, Any] | None,
    ) -> None:
        super().__init__()
        self.timeception, self.hidden, self.output = timeception, hidden, output
        self.spec, self.pipeline = spec, pipeline
        self.eval().requires_grad_(False)

    @property
    def implementation(self) -> str:
        """What runs the layers: ``"torch"`` or ``"native"``."""
        return self.timeception.implementation

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of clips."""
        return self.classify(self.global_pool(self.timeception(x)))

    def classify(self, pooled: Tensor) -> Tensor:
        """Compute logits from globally pooled features."""
        hidden = nn.functional.leaky_relu(self.hidden(pooled), LEAKY_SLOPE)
        return self.output(hidden)


@torch.no_grad()
def fold_linear(linear: nn.Linear, norm: BatchNorm) -> nn.Linear:
    """Return a linear layer that computes ``norm(linear(x))`` in evaluation."""
    scale, shift = norm.affine()
    folded = nn.utils.skip_init(nn.Linear, linear.in_features, linear.out_features)
    folded.to(linear.weight)
    folded.weight.copy_(linear.weight * scale[:, None])
    folded.bias.copy_(linear.bias * scale + shift)
    return folded


@torch.no_grad()
def _folded(layer: TimeceptionLayer) -> dict[str, Tensor]:
    """Return the arrays of a layer in evaluation, as ``FoldedArrays`` orders their channels."""
    spec = layer.spec
    shape = (spec.n_groups, N_BRANCHES, spec.branch_channels)
    scale, shift = (values.view(shape) for values in layer.norm.affine())
    kernels = layer.pointwise.weight.double().view(*shape, spec.group_channels).clone()
    bias = layer.pointwise.bias.double().view(shape).clone()
    kernels[:, 0] *= scale[:, 0, :, None]
    bias[:, 0] = bias[:, 0] * scale[:, 0] + shift[:, 0]
    kernels[:, 4] *= scale[:, 4, :, None].abs()
    bias[:, 4] *= scale[:, 4].abs()
    arrays = {
        "kernels": kernels.flatten(1, 2),
        "bias": bias.flatten(1, 2),
        "pool_sign": scale[:, 4].sign().flatten(),
        "pool_shift": shift[:, 4].flatten(),
    }
    for index, (conv_weight, conv_bias) in enumerate(layer.temporal_kernels()):
        conv_scale, conv_shift = scale[:, index + 1].flatten(), shift[:, index + 1].flatten()
        arrays[f"temporal_weight_{index}"] = conv_weight.double() * conv_scale[:, None]
        arrays[f"temporal_bias_{index}"] = conv_bias.double() * conv_scale + conv_shift
    return arrays


def _pool(x: Tensor) -> Tensor:
    return functional.temporal_pool(x, axis=3)
