"""The network for evaluation alone: batch norm folded into the arrays before it.

Folded are: branch 1 wholly into its pointwise kernels; branches 2 to 4 into their temporal ones;
of branch 5, whose maximum does not commute with a negative scale, the scale's magnitude into the
pointwise kernels, while its sign and the shift are applied after the maximum.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from timeception.spec import LEAKY_SLOPE, N_BRANCHES, ClassifierSpec, LayerSpec, TimeceptionSpec
from timeception.torch import functional
from timeception.torch.fast import native
from timeception.torch.fast.native import operators
from timeception.torch.fast.steps import NativeSteps, NetworkSteps, Steps, TorchSteps
from timeception.torch.global_pooling import readout
from timeception.torch.layers import TimeceptionLayer

PART_TIMESTEPS = 192  # a longer video is taken in parts, whose intermediates stay in cache


class FusedLayer(nn.Module):
    """One Timeception layer without its batch norm.

    Args:
        layer: what to take the arrays from.
        implementation: ``"torch"`` or ``"native"``.

    Shape:
        as ``TimeceptionLayer``.
    """

    kernels: Tensor
    bias: Tensor
    pool_sign: Tensor
    pool_shift: Tensor

    def __init__(self, layer: TimeceptionLayer, implementation: str) -> None:
        super().__init__()
        self.spec: LayerSpec = layer.spec
        self.implementation = implementation
        # the kernels take bfloat16 inputs, but sum in float32 with float32 arrays
        is_native = implementation == "native"
        dtype = torch.float32 if is_native else layer.pointwise.weight.dtype
        for name, array in _folded(layer).items():
            self.register_buffer(name, array.to(dtype).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        if self.implementation == "native":
            return operators.evaluate(x, self._arrays())
        return self.mix(self.pointwise(x)).unflatten(3, x.shape[3:])

    def steps(self) -> Steps:
        """The layer for a video that comes part by part."""
        if self.implementation == "native":
            return NativeSteps(self.spec, self._arrays())
        return TorchSteps(self.spec, self.pointwise, self.mix)

    def pointwise(self, x: Tensor) -> Tensor:
        """The pointwise convolutions, by PyTorch: N, C, T, H, W to N, G, B, C_b, T, H * W."""
        return functional.grouped_pointwise(x, self.kernels, self.bias, self.spec)

    def mix(self, y: Tensor) -> Tensor:
        """What follows them, by PyTorch: N, G, B, C_b, T, S to N, C_out, T // 2, S."""
        spec = self.spec
        first, *middle, last = y.unbind(2)
        branches = [functional.pool(first).relu()]
        for part, (weight, bias), taps in zip(middle, self._temporal(), spec.taps, strict=True):
            branches.append(
                functional.pool(functional.temporal_conv(part, weight, bias, taps)).relu()
            )
        by_channel = (1, spec.n_groups, spec.branch_channels, 1, 1)
        last = functional.temporal_maximum(last, spec.pool_lookahead)
        last = functional.pool(last * self.pool_sign.view(by_channel))
        branches.append((last + self.pool_shift.view(by_channel)).relu())
        return functional.join_shuffled(branches)

    def _arrays(self) -> operators.Folded:
        weights, biases = map(list, zip(*self._temporal(), strict=True))
        arrays = self.kernels, self.bias, weights, biases, self.pool_sign, self.pool_shift
        taps = [offset for taps in self.spec.taps for offset in taps]
        return operators.Folded(*arrays, taps, self.spec.pool_offset)

    def _temporal(self) -> list[tuple[Tensor, Tensor]]:
        names = ((f"temporal_weight_{i}", f"temporal_bias_{i}") for i in range(3))
        return [(getattr(self, weight), getattr(self, bias)) for weight, bias in names]


class FusedTimeception(nn.Module):
    """``Timeception`` for evaluation; made by ``Timeception.fuse``.

    Args:
        layers: of the network.
        spec: of the network.
        implementation: ``"torch"``, ``"native"`` or ``"auto"``.
    """

    def __init__(self, layers: Any, spec: TimeceptionSpec, implementation: str) -> None:
        super().__init__()
        self.spec = spec
        self.implementation = native.choose(implementation)
        self.layers = nn.ModuleList(FusedLayer(layer, self.implementation) for layer in layers)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers."""
        self.spec.check_input(x.shape)
        if x.shape[2] > PART_TIMESTEPS and not torch.compiler.is_compiling():
            return self._in_parts(x)
        for layer in self.layers:
            x = layer(x)
        return x

    def steps(self) -> NetworkSteps:
        """The layers for a video that comes part by part."""
        layers = cast("Iterable[FusedLayer]", self.layers)
        return NetworkSteps([layer.steps() for layer in layers])

    def _in_parts(self, x: Tensor) -> Tensor:
        n_clips, _, timesteps, height, width = x.shape
        n_outputs, known = self.spec.output_timesteps(timesteps), 0
        out = x.new_empty(n_clips, self.spec.out_channels, n_outputs, height, width)
        steps, parts = self.steps(), x.split(PART_TIMESTEPS, dim=2)
        for index, part in enumerate(parts, start=1):
            found = steps.advance(part, is_last=index == len(parts))
            out.narrow(2, known, found.shape[2]).copy_(found)
            known += found.shape[2]
        return out


class FusedClassifier(nn.Module):
    """``TimeceptionClassifier`` for evaluation; made by its ``fuse``.

    Args:
        timeception: the fused layers.
        spec: of the classifier.
        hidden: the hidden linear layer, with the batch norm after it folded in.
        output: the last linear layer.
        pipeline: of the classifier.
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
        """Logits of clips."""
        return self.classify(self.readout(self.timeception(x)))

    def readout(self, features: Tensor) -> Tensor:
        """Reduce features to the vector that the linear layers take."""
        return readout(features, self.spec.map_size)

    def classify(self, readout: Tensor) -> Tensor:
        """Logits of the vectors that the linear layers take."""
        hidden = nn.functional.leaky_relu(self.hidden(readout), LEAKY_SLOPE)
        return self.output(hidden)


@torch.no_grad()
def fold_linear(linear: nn.Linear, norm: Any) -> nn.Linear:
    """A linear layer that does what ``linear`` and then ``norm`` do in evaluation."""
    scale, shift = norm.affine()
    folded = nn.utils.skip_init(nn.Linear, linear.in_features, linear.out_features)
    folded.to(linear.weight)
    folded.weight.copy_(linear.weight * scale[:, None])
    folded.bias.copy_(linear.bias * scale + shift)
    return folded


@torch.no_grad()
def _folded(layer: TimeceptionLayer) -> dict[str, Tensor]:
    """The arrays of a layer in evaluation, channels ordered as the operator takes them."""
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
        own_scale, own_shift = scale[:, index + 1].flatten(), shift[:, index + 1].flatten()
        arrays[f"temporal_weight_{index}"] = conv_weight.double() * own_scale[:, None]
        arrays[f"temporal_bias_{index}"] = conv_bias.double() * own_scale + own_shift
    return arrays
