"""Timeception with its classifier, and the pooling baseline it is measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timeception.spec import (
    KERAS_BN_EPS,
    LEAKY_SLOPE,
    ClassifierSpec,
    PoolingSpec,
    TimeceptionSpec,
    check_input,
)
from timeception.torch.fast.fused import FusedClassifier, fold_linear
from timeception.torch.global_pooling import readout
from timeception.torch.hub import Pretrained
from timeception.torch.layers import Norm
from timeception.torch.network import Timeception, channels_of


class _Classifier(Pretrained):
    """Dropout, linear, batch norm, LeakyReLU, dropout, linear."""

    def __init__(
        self,
        spec: ClassifierSpec | PoolingSpec,
        norm: Norm,
        pipeline: Mapping[str, Any] | None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.pipeline = None if pipeline is None else dict(pipeline)
        self.hidden = _linear(spec.readout_channels, spec.hidden)
        self.norm = norm
        self.output = _linear(spec.hidden, spec.n_classes)

    def classify(self, readout: Tensor) -> Tensor:
        """Logits of the vectors that the linear layers take."""
        before_hidden, before_output = self.spec.dropout
        x = self.hidden(F.dropout(readout, before_hidden, self.training))
        x = F.leaky_relu(self.norm(x), LEAKY_SLOPE)
        return self.output(F.dropout(x, before_output, self.training))


class TimeceptionClassifier(_Classifier):
    """Timeception, a maximum over time and space, and two linear layers.

    Args:
        in_channels: channels of the features, or the size of an input, ``x.size()``.
        n_classes: number of scores.
        n_layers: number of Timeception layers.
        n_groups: channel groups; must divide the channels.
        is_dilated: kernels of 3 with dilations 1, 2, 3; otherwise kernels 3, 5, 7.
        hidden: width of the hidden linear layer.
        dropout: rates before the first and before the last linear layer.
        map_size: ``None`` takes the maximum over time and space. A pair (H, W) takes it over
            time alone and keeps the positions of an H x W map apart, ordered (C, H, W).
        expansion: output channels over input channels of a layer.
        pool_lookahead: branch 5 looks one step ahead (Keras 2019), otherwise back (PyTorch 2019).
        bn_eps: epsilon of every batch normalisation.
        bn_momentum: weight of the new batch in the moving statistics.
        pipeline: what else a user of the weights must know (classes, preprocessing, ...); plain
            JSON, saved and loaded with the model.

    Shape:
        input: N, C, T, H, W; result: N, ``n_classes``, logits.

    Raises:
        ValueError: if a number is out of range, or an input does not fit.

    Example:
        >>> model = TimeceptionClassifier(64, n_classes=10, n_layers=2, n_groups=4).eval()
        >>> model(torch.zeros(3, 64, 16, 7, 7)).shape
        torch.Size([3, 10])

    Source: the 2019 classifier: maximum, dropout 0.5, linear 512, batch norm, LeakyReLU 0.2,
    dropout 0.25, linear. ``map_size`` is this project's own.
    """

    spec: ClassifierSpec
    spec_class = ClassifierSpec

    def __init__(
        self,
        in_channels: int | Sequence[int],
        n_classes: int,
        n_layers: int = 4,
        n_groups: int = 8,
        is_dilated: bool = True,
        hidden: int = 512,
        dropout: tuple[float, float] = (0.5, 0.25),
        map_size: tuple[int, int] | None = None,
        *,
        expansion: float = 1.25,
        pool_lookahead: bool = True,
        bn_eps: float = KERAS_BN_EPS,
        bn_momentum: float = 0.01,
        pipeline: Mapping[str, Any] | None = None,
    ) -> None:
        timeception = TimeceptionSpec(
            channels_of(in_channels),
            n_layers,
            n_groups,
            is_dilated,
            expansion,
            pool_lookahead,
            bn_eps,
            bn_momentum,
        )
        spec = ClassifierSpec(timeception, n_classes, hidden, dropout, map_size)
        super().__init__(spec, Norm(hidden, bn_eps, bn_momentum), pipeline)
        self.timeception = Timeception.from_spec(timeception)

    @classmethod
    def from_spec(cls, spec: ClassifierSpec, pipeline: Mapping[str, Any] | None = None) -> Self:
        """Build the network that ``spec`` describes."""
        fields = spec.to_dict()
        return cls(**fields.pop("timeception"), **fields, pipeline=pipeline)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of clips."""
        return self.classify(self.readout(self.timeception(x)))

    def readout(self, features: Tensor) -> Tensor:
        """Reduce features N, C, T, H, W to the vector that the linear layers take."""
        return readout(features, self.spec.map_size)

    @property
    def implementation(self) -> str:
        """What runs the layers: ``"torch"`` or ``"native"``."""
        return self.timeception.implementation

    def use_implementation(self, implementation: str = "auto") -> Self:
        """Choose what runs the layers; see ``Timeception.use_implementation``."""
        self.timeception.use_implementation(implementation)
        return self

    def fuse(self, implementation: str = "auto") -> FusedClassifier:
        """A copy for evaluation alone, its batch norms folded; see ``Timeception.fuse``."""
        return FusedClassifier(
            self.timeception.fuse(implementation),
            self.spec,
            fold_linear(self.hidden, self.norm),
            deepcopy(self.output),
            self.pipeline,
        )


class PoolingClassifier(_Classifier):
    """The order-blind baseline: mean and maximum over time and space, and the same linear layers.

    Args:
        in_channels: channels of the features, or the size of an input, ``x.size()``.
        n_classes: number of scores.
        hidden: width of the hidden linear layer.
        dropout: rates before the first and before the last linear layer.
        bn_eps: epsilon of the batch normalisation.
        bn_momentum: weight of the new batch in the moving statistics.
        pipeline: as in ``TimeceptionClassifier``.

    Shape:
        input: N, C, T, H, W; result: N, ``n_classes``, logits.

    Example:
        >>> PoolingClassifier(64, n_classes=10).eval()(torch.zeros(3, 64, 16, 7, 7)).shape
        torch.Size([3, 10])
    """

    spec: PoolingSpec
    spec_class = PoolingSpec

    def __init__(
        self,
        in_channels: int | Sequence[int],
        n_classes: int,
        hidden: int = 512,
        dropout: tuple[float, float] = (0.5, 0.25),
        *,
        bn_eps: float = KERAS_BN_EPS,
        bn_momentum: float = 0.01,
        pipeline: Mapping[str, Any] | None = None,
    ) -> None:
        spec = PoolingSpec(
            channels_of(in_channels), n_classes, hidden, dropout, bn_eps, bn_momentum
        )
        super().__init__(spec, Norm(hidden, bn_eps, bn_momentum), pipeline)

    @classmethod
    def from_spec(cls, spec: PoolingSpec, pipeline: Mapping[str, Any] | None = None) -> Self:
        """Build the network that ``spec`` describes."""
        return cls(**spec.to_dict(), pipeline=pipeline)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of clips."""
        check_input(self.spec.in_channels, x.shape)
        return self.classify(torch.cat([x.mean((2, 3, 4)), x.amax((2, 3, 4))], dim=1))


def _linear(in_features: int, out_features: int) -> nn.Linear:
    """A linear layer that starts as in Keras 2019: Glorot kernel, no bias."""
    linear = nn.Linear(in_features, out_features)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
