"""The Timeception classifier, and the pooling baseline to compare it with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import keras
from keras import ops

from timeception import checks
from timeception.keras.hub import PretrainedModel
from timeception.keras.layers import Shape, Tensor, batch_norm, check_floating, norm_variables
from timeception.keras.network import Timeception
from timeception.spec import (
    KERAS_BN_EPS,
    KERAS_BN_MOMENTUM,
    LEAKY_SLOPE,
    ClassifierSpec,
    LocalizerSpec,
    PoolingSpec,
    TimeceptionSpec,
    channels_of,
    check_input,
)
from timeception.spec.channels_last import LAYOUT


class _Classifier(PretrainedModel, keras.Model):
    """Dropout, linear, batch norm, LeakyReLU, dropout, linear."""

    def __init__(
        self, spec: ClassifierSpec | PoolingSpec, pipeline: Mapping[str, Any] | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.pipeline = None if pipeline is None else dict(pipeline)

    @classmethod
    def from_spec(cls, spec: Any, pipeline: Mapping[str, Any] | None = None, **kwargs: Any) -> Self:
        """Build the network that ``spec`` describes."""
        return cls(**_arguments(spec), pipeline=pipeline, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), **_arguments(self.spec), "pipeline": self.pipeline}

    def add_classifier(self, bn_eps: float, bn_momentum: float) -> None:
        """Create the layers that ``classify`` applies."""
        spec, policy = self.spec, self.dtype_policy
        self.dropout_before_hidden = keras.layers.Dropout(spec.dropout[0], dtype=policy)
        self.hidden = keras.layers.Dense(spec.hidden, dtype=policy, name="hidden")
        self.norm = batch_norm(bn_eps, bn_momentum, policy)
        self.dropout_before_logits = keras.layers.Dropout(spec.dropout[1], dtype=policy)
        # float32 logits, for the precision of the loss
        self.logits = keras.layers.Dense(spec.n_classes, dtype=self.variable_dtype, name="logits")

    def build_classifier(self) -> None:
        """Create the parameters of the linear layers."""
        self.hidden.build((None, self.spec.pooled_channels))
        self.norm.build((None, self.spec.hidden))
        self.logits.build((None, self.spec.hidden))
        self.built = True

    def classify(self, pooled: Tensor, training: bool | None = None) -> Tensor:
        """Compute logits from globally pooled features."""
        x = self.hidden(self.dropout_before_hidden(pooled, training=training))
        x = ops.leaky_relu(self.norm(x, training=training), LEAKY_SLOPE)
        return self.logits(self.dropout_before_logits(x, training=training))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return N and the number of classes."""
        return input_shape[0], self.spec.n_classes

    def canonical_variables(self) -> dict[str, keras.Variable]:
        """Return all variables by canonical name."""
        return {
            "hidden.weight": self.hidden.kernel,
            "hidden.bias": self.hidden.bias,
            **norm_variables(self.norm),
            "output.weight": self.logits.kernel,
            "output.bias": self.logits.bias,
        }


def _arguments(spec: ClassifierSpec | PoolingSpec) -> dict[str, Any]:
    """Return the fields of the classifier and its layers, as arguments of the constructor."""
    fields = spec.to_dict()
    return fields.pop("timeception", {}) | fields


@keras.saving.register_keras_serializable("timeception")
class TimeceptionClassifier(_Classifier):
    """Timeception, global max pooling, and two linear layers.

    Args:
        in_channels: channels of the features, or the shape of an input, ``x.shape``.
        n_classes: number of classes.
        n_layers: number of Timeception layers.
        n_groups: as in ``Timeception``.
        is_dilated: as in ``Timeception``.
        hidden: width of the hidden linear layer.
        dropout: rates before the hidden and before the output layer.
        map_size: ``None`` pools over time and space. A pair (H, W) pools over time only; the
            hidden layer then sees each position of the H x W map.
        expansion: as in ``Timeception``.
        pool_lookahead: as in ``Timeception``.
        bn_eps: epsilon of every batch normalisation.
        bn_momentum: as in ``Timeception``.
        pipeline: metadata that users of the weights need (classes, preprocessing, ...); plain
            JSON, saved and loaded with the model.
        kwargs: ``name``, ``dtype``, ``trainable``, as in every Keras model.

    Shape:
        input: N, T, H, W, C; result: N, ``n_classes``, logits (float32 under mixed precision).

    Raises:
        ValueError: if an argument is out of range, or an input does not fit.

    Example:
        >>> model = TimeceptionClassifier(64, n_classes=10, n_layers=2, n_groups=4)
        >>> tuple(model(keras.ops.zeros((3, 16, 7, 7, 64))).shape)
        (3, 10)

    Source: the 2019 classifier: maximum, dropout 0.5, linear 512, batch norm, LeakyReLU 0.2,
    dropout 0.25, linear. ``map_size`` is an addition of this project.
    """

    spec: ClassifierSpec
    spec_class = ClassifierSpec

    def __init__(
        self,
        in_channels: int | Iterable[int | None],
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
        **kwargs: Any,
    ) -> None:
        channels = channels_of(in_channels, LAYOUT)
        constants = expansion, pool_lookahead, bn_eps, bn_momentum
        timeception = TimeceptionSpec(channels, n_layers, n_groups, is_dilated, *constants)
        spec = ClassifierSpec(timeception, n_classes, hidden, dropout, map_size)
        super().__init__(spec, pipeline, **kwargs)
        self.timeception = Timeception.from_spec(timeception, dtype=self.dtype_policy)
        self.add_classifier(bn_eps, bn_momentum)

    def build(self, input_shape: Shape) -> None:
        """Create the parameters of all layers."""
        self.timeception.build(input_shape)
        self.build_classifier()

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Compute the logits of clips."""
        return self.classify(self.global_pool(self.timeception(x, training=training)), training)

    def global_pool(self, features: Tensor) -> Tensor:
        """Reduce features N, T, H, W, C to the vectors that the linear layers take."""
        if self.spec.map_size is None:
            return ops.max(features, axis=(1, 2, 3))
        self.spec.check_map_size(features.shape[2:4])
        return ops.reshape(ops.max(features, axis=1), (-1, self.spec.pooled_channels))

    def readout(self, features: Tensor) -> Tensor:
        """Deprecated name of ``global_pool``."""
        checks.warn_renamed("readout", "global_pool")
        return self.global_pool(features)

    def canonical_variables(self) -> dict[str, keras.Variable]:
        """Return all variables by canonical name (``timeception.layers.0...``, ...)."""
        layers = self.timeception.canonical_variables()
        named = {f"timeception.{name}": variable for name, variable in layers.items()}
        return named | super().canonical_variables()


@keras.saving.register_keras_serializable("timeception")
class PoolingClassifier(_Classifier):
    """The order-blind baseline: global mean and max pooling, and the same linear layers.

    Args:
        in_channels: channels of the features, or the shape of an input, ``x.shape``.
        n_classes: number of classes.
        hidden: width of the hidden linear layer.
        dropout: rates before the hidden and before the output layer.
        bn_eps: epsilon of the batch normalisation.
        bn_momentum: as in ``Timeception``.
        map_size: ``None`` pools over time and space. A pair (H, W) pools over time only.
        pipeline: as in ``TimeceptionClassifier``.
        kwargs: ``name``, ``dtype``, ``trainable``, as in every Keras model.

    Shape:
        input: N, T, H, W, C; result: N, ``n_classes``, logits (float32 under mixed precision).

    Example:
        >>> model = PoolingClassifier(64, n_classes=10)
        >>> tuple(model(keras.ops.zeros((3, 16, 7, 7, 64))).shape)
        (3, 10)
    """

    spec: PoolingSpec
    spec_class = PoolingSpec

    def __init__(
        self,
        in_channels: int | Iterable[int | None],
        n_classes: int,
        hidden: int = 512,
        dropout: tuple[float, float] = (0.5, 0.25),
        *,
        bn_eps: float = KERAS_BN_EPS,
        bn_momentum: float = KERAS_BN_MOMENTUM,
        map_size: tuple[int, int] | None = None,
        pipeline: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        channels = channels_of(in_channels, LAYOUT)
        spec = PoolingSpec(channels, n_classes, hidden, dropout, bn_eps, bn_momentum, map_size)
        super().__init__(spec, pipeline, **kwargs)
        self.add_classifier(bn_eps, bn_momentum)

    def build(self, input_shape: Shape) -> None:
        """Create the parameters of the linear layers."""
        check_input(self.spec.in_channels, input_shape, LAYOUT)
        self.build_classifier()

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Compute the logits of clips."""
        check_floating(x)
        check_input(self.spec.in_channels, x.shape, LAYOUT)
        self.spec.check_map_size(x.shape[2:4])
        x = ops.moveaxis(x, 4, 1)  # positions are kept in the order (C, H, W)
        axes = (2, 3, 4) if self.spec.map_size is None else 2
        flat = (-1, self.spec.pooled_channels // 2)
        pooled = [ops.reshape(pool(x, axes), flat) for pool in (ops.mean, ops.max)]
        return self.classify(ops.concatenate(pooled, axis=1), training)


def classifier_class(spec: ClassifierSpec | PoolingSpec | LocalizerSpec) -> Any:
    """Return the Keras class of a classifier's spec."""
    if isinstance(spec, LocalizerSpec):
        from timeception.keras.localizer import TimeceptionLocalizer

        return TimeceptionLocalizer
    return PoolingClassifier if isinstance(spec, PoolingSpec) else TimeceptionClassifier
