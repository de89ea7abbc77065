"""The stack of Timeception layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import keras

from timeception.keras.hub import HasArrays
from timeception.keras.layers import Shape, Tensor, TimeceptionLayer, check_floating
from timeception.spec import KERAS_BN_EPS, KERAS_BN_MOMENTUM, TimeceptionSpec, channels_of
from timeception.spec.channels_last import LAYOUT


@keras.saving.register_keras_serializable("timeception")
class Timeception(HasArrays, keras.layers.Layer):
    """Timeception layers over the features of a video backbone.

    Args:
        in_channels: channels of the features, or the shape of an input, ``x.shape``.
        n_layers: number of layers; each halves the number of timesteps.
        n_groups: channel groups; must divide the channels.
        is_dilated: use kernels of size 3 with dilations 1, 2, 3; otherwise sizes 3, 5, 7.
        expansion: ratio of output to input channels of a layer.
        pool_lookahead: branch 5 looks one timestep ahead (Keras 2019), not back (PyTorch 2019).
        bn_eps: epsilon of every batch normalisation.
        bn_momentum: weight of the new batch in the moving statistics; see ``TimeceptionSpec``.
        kwargs: ``name``, ``dtype``, ``trainable``, as in every Keras layer.

    Shape:
        input: N, T, H, W, C with T >= 2 ** n_layers, any H and W; result: N,
        ``spec.output_timesteps(T)``, H, W, ``spec.out_channels``.

    Raises:
        ValueError: if an argument is out of range, or an input does not fit.

    Example:
        >>> import keras
        >>> x = keras.ops.zeros((1, 17, 2, 3, 64))
        >>> tuple(Timeception(x.shape, n_layers=2, n_groups=4)(x).shape)
        (1, 4, 2, 3, 100)

    Source: Hussein et al., CVPR 2019; equal to the Keras network of 2019.
    """

    def __init__(
        self,
        in_channels: int | Iterable[int | None],
        n_layers: int = 4,
        n_groups: int = 8,
        is_dilated: bool = True,
        *,
        expansion: float = 1.25,
        pool_lookahead: bool = True,
        bn_eps: float = KERAS_BN_EPS,
        bn_momentum: float = KERAS_BN_MOMENTUM,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        channels = channels_of(in_channels, LAYOUT)
        constants = expansion, pool_lookahead, bn_eps, bn_momentum
        self.spec = spec = TimeceptionSpec(channels, n_layers, n_groups, is_dilated, *constants)
        self.layers = [
            TimeceptionLayer(layer, spec.bn_eps, spec.bn_momentum, dtype=self.dtype_policy)
            for layer in spec.layers
        ]

    @classmethod
    def from_spec(cls, spec: TimeceptionSpec, **kwargs: Any) -> Self:
        """Build the network that ``spec`` describes."""
        return cls(**spec.to_dict(), **kwargs)

    def build(self, input_shape: Shape) -> None:
        """Create the parameters of all layers."""
        self.spec.check_input(input_shape, LAYOUT)
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply all layers."""
        check_floating(x)
        self.spec.check_input(x.shape, LAYOUT)
        for layer in self.layers:
            x = layer(x, training=training)
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape after the last layer; unknown sizes stay unknown."""
        self.spec.check_input(input_shape, LAYOUT)
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), **self.spec.to_dict()}

    def canonical_variables(self) -> dict[str, keras.Variable]:
        """Return all variables by canonical name (``layers.0.pointwise.weight``, ...)."""
        return {
            f"layers.{index}.{name}": variable
            for index, layer in enumerate(self.layers)
            for name, variable in layer.canonical_variables().items()
        }
