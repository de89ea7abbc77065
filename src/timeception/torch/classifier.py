"""The Timeception classifier, and the pooling baseline to compare it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timeception.spec import (
    KERAS_BN_EPS,
    KERAS_BN_MOMENTUM,
    LEAKY_SLOPE,
    ClassifierSpec,
    PoolingSpec,
    TimeceptionSpec,
    channels_of,
    check_input,
)
from timeception.torch.fast.fused import FusedClassifier, fold_linear
from timeception.torch.global_pooling import GlobalPooling
from timeception.torch.hub import PretrainedModule
from timeception.torch.inputs import check_tensor
from timeception.torch.layers import BatchNorm
from timeception.torch.network import Timeception


class _Classifier(PretrainedModule):
    """Dropout, linear, batch norm, LeakyReLU, dropout, linear."""

    def __init__(
        self,
        spec: ClassifierSpec | PoolingSpec,
        norm: BatchNorm,
        pipeline: Mapping[str, Any] | None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.pipeline = None if pipeline is None else dict(pipeline)
        self.hidden = _linear(spec.pooled_channels, spec.hidden)
        self.norm = norm
        self.output = _linear(spec.hidden, spec.n_classes)

    def classify(self, pooled: Tensor) -> Tensor:
        """Compute logits from globally pooled features."""
        before_hidden, before_output = self.spec.dropout
        x = self.hidden(F.dropout(pooled, before_hidden, self.training))
        x = F.leaky_relu(self.norm(x), LEAKY_SLOPE)
        return self.output(F.dropout(x, before_output, self.training))


class TimeceptionClassifier(GlobalPooling, _Classifier):
    """Timeception, global max pooling, and two linear layers.

    Args:
        in_channels: channels of the features, or the size of an input, ``x.size()``.
        n_classes: number of classes.
        n_layers: number of Timeception layers.
        n_groups: channel groups; must divide the channels.
        is_dilated: use kernels of size 3 with dilations 1, 2, 3; otherwise sizes 3, 5, 7.
        hidden: width of the hidden linear layer.
        dropout: rates before the hidden and before the output layer.
        map_size: ``None`` pools over time and space. A pair (H, W) pools over time only; the
            hidden layer then sees each position of the H x W map, ordered (C, H, W).
        expansion: ratio of output to input channels of a layer.
        pool_lookahead: branch 5 looks one timestep ahead (Keras 2019); otherwise back (PyTorch
            2019).
        bn_eps: epsilon of every batch normalisation.
        bn_momentum: weight of the new batch in the moving statistics (Keras calls one minus it
            the momentum); recipes default to 0.1, see ``TimeceptionSpec``.
        pipeline: metadata that users of the weights need (classes, preprocessing, ...); plain
            JSON, saved and loaded with the model.

    Shape:
        input: N, C, T, H, W; result: N, ``n_classes``, logits.

    Raises:
        ValueError: if an argument is out of range, or an input does not fit.

    Example:
        >>> model = TimeceptionClassifier(64, n_classes=10, n_layers=2, n_groups=4).eval()
        >>> model(torch.zeros(3, 64, 16, 7, 7)).shape
        torch.Size([3, 10])

    Source: the 2019 classifier: maximum, dropout 0.5, linear 512, batch norm, LeakyReLU 0.2,
    dropout 0.25, linear. ``map_size`` is an addition of this project.
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
        bn_momentum: float = KERAS_BN_MOMENTUM,
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
        super().__init__(spec, BatchNorm(hidden, bn_eps, bn_momentum), pipeline)
        self.timeception = Timeception.from_spec(timeception)

    @classmethod
    def from_spec(cls, spec: ClassifierSpec, pipeline: Mapping[str, Any] | None = None) -> Self:
        """Build the network that ``spec`` describes."""
        fields = spec.to_dict()
        return cls(**fields.pop("timeception"), **fields, pipeline=pipeline)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of clips."""
        return self.classify(self.global_pool(self.timeception(x)))

    @property
    def implementation(self) -> str:
        """What runs the layers: ``"torch"`` or ``"native"``."""
        return self.timeception.implementation

    def use_implementation(self, implementation: str = "auto") -> Self:
        """Choose what runs the layers; see ``Timeception.use_implementation``."""
        self.timeception.use_implementation(implementation)
        return self

    def fuse(self, implementation: str = "auto") -> FusedClassifier:
        """Return a copy for evaluation only, with batch norms folded; see ``Timeception.fuse``."""
        return FusedClassifier(
            self.timeception.fuse(implementation),
            self.spec,
            fold_linear(self.hidden, self.norm),
            deepcopy(self.output),
            self.pipeline,
        )


class PoolingClassifier(_Classifier):
    """The order-blind baseline: global mean and max pooling, and the same linear layers.

    Args:
        in_channels: channels of the features, or the size of an input, ``x.size()``.
        n_classes: number of classes.
        hidden: width of the hidden linear layer.
        dropout: rates before the hidden and before the output layer.
        bn_eps: epsilon of the batch normalisation.
        bn_momentum: weight of the new batch in the moving statistics (Keras calls one minus it
            the momentum); recipes default to 0.1, see ``TimeceptionSpec``.
        map_size: ``None`` pools over time and space. A pair (H, W) pools over time only.
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
        bn_momentum: float = KERAS_BN_MOMENTUM,
        map_size: tuple[int, int] | None = None,
        pipeline: Mapping[str, Any] | None = None,
    ) -> None:
        channels = channels_of(in_channels)
        spec = PoolingSpec(channels, n_classes, hidden, dropout, bn_eps, bn_momentum, map_size)
        super().__init__(spec, BatchNorm(hidden, bn_eps, bn_momentum), pipeline)

    @classmethod
    def from_spec(cls, spec: PoolingSpec, pipeline: Mapping[str, Any] | None = None) -> Self:
        """Build the network that ``spec`` describes."""
        return cls(**spec.to_dict(), pipeline=pipeline)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of clips."""
        check_tensor(x)
        check_input(self.spec.in_channels, x.shape)
        self.spec.check_map_size(x.shape[3:])
        axes = (2, 3, 4) if self.spec.map_size is None else 2
        pooled = [x.mean(axes).flatten(1), x.amax(axes).flatten(1)]
        return self.classify(torch.cat(pooled, dim=1))


def _linear(in_features: int, out_features: int) -> nn.Linear:
    """Return a linear layer initialised as in Keras 2019: Glorot kernel, zero bias."""
    linear = nn.Linear(in_features, out_features)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
