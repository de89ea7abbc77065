"""The stack of Timeception layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from timeception.spec import KERAS_BN_EPS, KERAS_BN_MOMENTUM, TimeceptionSpec, channels_of
from timeception.torch.fast import native
from timeception.torch.fast.fused import FusedTimeception
from timeception.torch.inputs import check_tensor
from timeception.torch.layers import TimeceptionLayer


class Timeception(nn.Module):
    """Timeception layers over the features of a video backbone.

    Args:
        in_channels: channels of the features, or the size of an input, ``x.size()``.
        n_layers: number of layers; each halves the number of timesteps.
        n_groups: channel groups; must divide the channels.
        is_dilated: use kernels of size 3 with dilations 1, 2, 3; otherwise sizes 3, 5, 7.
        expansion: ratio of output to input channels of a layer.
        pool_lookahead: branch 5 looks one timestep ahead (Keras 2019), not back (PyTorch 2019).
        bn_eps: epsilon of every batch normalisation.
        bn_momentum: weight of the new batch in the moving statistics; see ``TimeceptionSpec``.

    Shape:
        input: N, C, T, H, W with T >= 2 ** n_layers, any H and W; result: N,
        ``spec.out_channels``, ``spec.output_timesteps(T)``, H, W.

    Raises:
        ValueError: if an argument is out of range, or an input does not fit.
        TypeError: if an input is not a floating-point tensor.

    Example:
        >>> import torch
        >>> x = torch.zeros(1, 64, 17, 2, 3)
        >>> Timeception(x.size(), n_layers=2, n_groups=4)(x).shape
        torch.Size([1, 100, 4, 2, 3])

    Source: Hussein et al., CVPR 2019; equal to the Keras network of 2019.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        n_layers: int = 4,
        n_groups: int = 8,
        is_dilated: bool = True,
        *,
        expansion: float = 1.25,
        pool_lookahead: bool = True,
        bn_eps: float = KERAS_BN_EPS,
        bn_momentum: float = KERAS_BN_MOMENTUM,
    ) -> None:
        super().__init__()
        channels = channels_of(in_channels)
        constants = expansion, pool_lookahead, bn_eps, bn_momentum
        self.spec = spec = TimeceptionSpec(channels, n_layers, n_groups, is_dilated, *constants)
        self.layers = nn.ModuleList(
            TimeceptionLayer(layer, spec.bn_eps, spec.bn_momentum) for layer in spec.layers
        )

    @classmethod
    def from_spec(cls, spec: TimeceptionSpec) -> Self:
        """Build the network that ``spec`` describes."""
        return cls(**spec.to_dict())

    @property
    def implementation(self) -> str:
        """What runs the layers: ``"torch"`` or ``"native"``."""
        return self.layers[0].implementation  # type: ignore[return-value]

    def use_implementation(self, implementation: str = "auto") -> Self:
        """Choose what runs the layers, in training and evaluation. The default is ``"torch"``.

        Args:
            implementation: ``"torch"`` (PyTorch's own operations), ``"native"`` (C++ kernels:
                float32 on the CPU) or ``"auto"`` (native if it is available). The choice is
                logged; the property ``implementation`` returns it.

        Raises:
            NativeUnavailableError: if native is required and not available.
        """
        chosen = native.choose(implementation)
        for layer in self.layers:
            layer.implementation = chosen  # type: ignore[assignment]
        return self

    def fuse(self, implementation: str = "auto") -> FusedTimeception:
        """Return a copy for evaluation only, with batch norm folded: the fastest way to run it.

        Args:
            implementation: as in ``use_implementation``.
        """
        return FusedTimeception(self.layers, self.spec, implementation)

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers."""
        check_tensor(x)
        self.spec.check_input(x.shape)
        for layer in self.layers:
            x = layer(x)
        return x
