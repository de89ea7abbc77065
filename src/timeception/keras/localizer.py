"""The localizer: a score of each class at every timestep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from timeception import checks
from timeception.keras.hub import PretrainedModel
from timeception.keras.layers import Shape, Tensor, check_floating
from timeception.keras.masked import masked_layer, repeat_last_step, step_mask, take_steps
from timeception.keras.network import Timeception
from timeception.spec import (
    KERAS_BN_EPS,
    KERAS_BN_MOMENTUM,
    LocalizerSpec,
    TimeceptionSpec,
    channels_of,
)
from timeception.spec.channels_last import LAYOUT
from timeception.spec.localizers import (
    REFINEMENT_BLOCKS,
    REFINEMENT_DROPOUT,
    REFINEMENT_TAPS,
    uniform_bound,
)


@keras.saving.register_keras_serializable("timeception")
class TimeceptionLocalizer(PretrainedModel, keras.Model):
    """Timeception layers whose temporal resolution is restored: logits of every timestep.

    The cost is linear in the number of timesteps, of which there may be any number. In a padded
    batch, each video gives the scores that it gives alone.

    Args:
        in_channels: channels of the features, or the shape of an input, ``x.shape``.
        n_classes: number of classes.
        n_layers: number of Timeception layers.
        n_groups: channel groups; must divide the channels.
        is_dilated: as in ``Timeception``.
        is_multilabel: if true, classes are independent (sigmoid); otherwise each timestep has one
            label (softmax). The refinement stages take these probabilities.
        hidden: channels of the projections and of the refinement stages.
        n_refinements: number of refinement stages.
        dropout: rates before the layers and before the output of the first stage.
        expansion: as in ``Timeception``.
        pool_lookahead: as in ``Timeception``.
        bn_eps: epsilon of every batch normalisation.
        bn_momentum: as in ``Timeception``.
        pipeline: metadata that users of the weights need; plain JSON, saved with the model.
        kwargs: ``name``, ``dtype``, ``trainable``, as in every Keras model.

    Shape:
        input: N, T, H, W, C with any T, H and W; result: N, T, ``n_classes``, logits (float32 under
        mixed precision).

    Raises:
        ValueError: if an argument is out of range, or an input does not fit.

    Example:
        >>> model = TimeceptionLocalizer(64, n_classes=5, n_layers=2, n_groups=4)
        >>> tuple(model(keras.ops.zeros((2, 13, 7, 7, 64)), lengths=np.array([13, 3])).shape)
        (2, 13, 5)

    Source: see ``LocalizerSpec``.
    """

    spec: LocalizerSpec
    spec_class = LocalizerSpec

    def __init__(
        self,
        in_channels: int | Iterable[int | None],
        n_classes: int,
        n_layers: int = 4,
        n_groups: int = 1,
        is_dilated: bool = True,
        is_multilabel: bool = False,
        hidden: int = 64,
        n_refinements: int = 2,
        dropout: tuple[float, float] = (0.5, 0.3),
        *,
        expansion: float = 1.25,
        pool_lookahead: bool = True,
        bn_eps: float = KERAS_BN_EPS,
        bn_momentum: float = KERAS_BN_MOMENTUM,
        pipeline: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        channels = channels_of(in_channels, LAYOUT)
        constants = expansion, pool_lookahead, bn_eps, bn_momentum
        layers = TimeceptionSpec(channels, n_layers, n_groups, is_dilated, *constants)
        self.spec = LocalizerSpec(layers, n_classes, is_multilabel, hidden, n_refinements, dropout)
        self.pipeline = None if pipeline is None else dict(pipeline)
        policy = self.dtype_policy
        self.timeception = Timeception.from_spec(layers, dtype=policy)
        self.projections = [
            dense(width, hidden, policy, f"projection_{index}")
            for index, width in enumerate(self.spec.level_channels)
        ]
        self.logits = dense(hidden, n_classes, self.variable_dtype, "logits")
        self.refinements = [
            RefinementStage(n_classes, hidden, dtype=policy, name=f"refinement_{stage}")
            for stage in range(n_refinements)
        ]
        self.dropout_before_layers = keras.layers.Dropout(self.spec.dropout[0], dtype=policy)
        self.dropout_before_logits = keras.layers.Dropout(self.spec.dropout[1], dtype=policy)

    @classmethod
    def from_spec(
        cls, spec: LocalizerSpec, pipeline: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Self:
        """Build the network that ``spec`` describes."""
        fields = spec.to_dict()
        return cls(**fields.pop("timeception"), **fields, pipeline=pipeline, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        fields = self.spec.to_dict()
        arguments = fields.pop("timeception") | fields
        return {**super().get_config(), **arguments, "pipeline": self.pipeline}

    def build(self, input_shape: Shape) -> None:
        """Create the parameters of all layers."""
        channels = self.spec.timeception.in_channels
        options = {"shape": (channels,), "trainable": False, "autocast": False}
        self.input_mean = self.add_weight(initializer="zeros", name="input_mean", **options)
        self.input_std = self.add_weight(initializer="ones", name="input_std", **options)
        self.timeception.build((None, None, None, None, channels))
        for projection, width in zip(self.projections, self.spec.level_channels, strict=True):
            projection.build((None, None, width))
        self.logits.build((None, None, self.spec.hidden))
        for refinement in self.refinements:
            refinement.build((None, None, self.spec.n_classes))
        self.built = True

    def set_statistics(self, mean: np.ndarray, std: np.ndarray) -> Self:
        """Set the mean and standard deviation of each channel, by which inputs are normalised.

        Raises:
            ValueError: if a shape differs, or a standard deviation is not positive.
        """
        self.build_for_spec()
        shape = (self.spec.timeception.in_channels,)
        for name, values in (("mean", mean), ("std", std)):
            checks.require(np.shape(values) == shape, name, f"have shape {shape}", np.shape(values))
        checks.require(bool(np.all(np.asarray(std) > 0)), "std", "be positive", np.min(std))
        self.input_mean.assign(mean)
        self.input_std.assign(std)
        return self

    def call(
        self, x: Tensor, lengths: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        """Compute the logits of each timestep: those of the last stage.

        Args:
            x: features of videos, padded to the longest.
            lengths: timesteps of each video; ``None`` if no video is padded. Logits after a video's
                length are zero.
            training: whether dropout acts and statistics are those of the batch.
        """
        return self.stages(x, lengths, training)[-1]

    def stages(
        self, x: Tensor, lengths: Tensor | None = None, training: bool | None = None
    ) -> list[Tensor]:
        """Compute the logits of every stage, first to last; see ``call``."""
        check_floating(x)
        self.spec.check_input(tuple(x.shape), LAYOUT)
        mask = None
        if lengths is not None:
            lengths = ops.cast(ops.convert_to_tensor(lengths), "int32")
            mask = ops.expand_dims(step_mask(lengths, ops.shape(x)[1]), -1)
            x = ops.where(ops.expand_dims(ops.expand_dims(mask, -1), -1), x, ops.zeros_like(x))
        stages = [self._first_stage(x, lengths, training)]
        for refinement in self.refinements:
            stages.append(
                refinement(self.probabilities(stages[-1]), inside=mask, training=training)
            )
        stages = [ops.cast(stage, self.variable_dtype) for stage in stages]
        return stages if mask is None else [ops.where(mask, y, 0.0) for y in stages]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits N, T, ``n_classes`` into probabilities."""
        return ops.sigmoid(logits) if self.spec.is_multilabel else ops.softmax(logits, axis=-1)

    def _first_stage(self, x: Tensor, lengths: Tensor | None, training: bool | None) -> Tensor:
        """Compute logits N, T, ``n_classes`` from the input and the outputs of the layers."""
        timesteps, least = ops.shape(x)[1], self.spec.timeception.min_timesteps
        x = ops.cast((ops.cast(x, self.variable_dtype) - self.input_mean) / self.input_std, x.dtype)
        x = self.dropout_before_layers(x, training=training)
        is_masked, own = lengths is not None, lengths
        if own is None:
            own = ops.zeros((ops.shape(x)[0],), dtype="int32") + timesteps
        x, own = repeat_last_step(x, own, least)
        total = self._projection(0, x)[:, :timesteps]
        for index, layer in enumerate(self.timeception.layers, start=1):
            x = masked_layer(layer, x, own, training) if is_masked else layer(x, training=training)
            own = own // 2
            steps = ops.arange(timesteps, dtype="int32") // 2**index
            total = total + take_steps(
                self._projection(index, x), ops.minimum(steps, ops.expand_dims(own - 1, 1))
            )
        return self.logits(self.dropout_before_logits(ops.relu(total), training=training))

    def _projection(self, index: int, x: Tensor) -> Tensor:
        """Project a level N, T, H, W, C, pooled over space, to N, T, ``hidden``."""
        return self.projections[index](ops.max(x, axis=(2, 3)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return N, T and the number of classes."""
        return (*input_shape[:2], self.spec.n_classes)

    def canonical_variables(self) -> dict[str, keras.Variable]:
        """Return all variables by canonical name (``timeception.layers.0...``, ...)."""
        named = {
            "input_norm.running_mean": self.input_mean,
            "input_norm.running_std": self.input_std,
        }
        layers = self.timeception.canonical_variables()
        named |= {f"timeception.{name}": variable for name, variable in layers.items()}
        for index, projection in enumerate(self.projections):
            named |= weight_and_bias(f"projections.{index}", projection)
        named |= weight_and_bias("output", self.logits)
        for stage, refinement in enumerate(self.refinements):
            arrays = refinement.canonical_variables()
            named |= {f"refinements.{stage}.{name}": variable for name, variable in arrays.items()}
        return named


@keras.saving.register_keras_serializable("timeception")
class RefinementStage(keras.layers.Layer):
    """Logits from the probabilities of the stage before, N, T, ``n_classes`` to the same shape.

    Args:
        n_classes: number of classes.
        hidden: channels of the blocks.
        kwargs: ``name``, ``dtype``, ``trainable``, as in every Keras layer.
    """

    def __init__(self, n_classes: int, hidden: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_classes, self.hidden, policy = n_classes, hidden, self.dtype_policy
        self.input_layer = dense(n_classes, hidden, policy, "input")
        self.temporal = [
            temporal_conv(hidden, 2**index, policy) for index in range(REFINEMENT_BLOCKS)
        ]
        self.pointwise = [
            dense(hidden, hidden, policy, f"pointwise_{index}")
            for index in range(REFINEMENT_BLOCKS)
        ]
        self.dropout = keras.layers.Dropout(REFINEMENT_DROPOUT, dtype=policy)
        self.output_layer = dense(hidden, n_classes, self.variable_dtype, "output")

    def build(self, input_shape: Shape) -> None:
        """Create the parameters."""
        self.input_layer.build((None, None, self.n_classes))
        for layer in (*self.temporal, *self.pointwise, self.output_layer):
            layer.build((None, None, self.hidden))
        self.built = True

    def call(
        self, probabilities: Tensor, inside: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        """Refine; ``inside``, N, T, 1, shows which timesteps belong to the videos."""
        x = self.input_layer(ops.cast(probabilities, self.compute_dtype))
        for temporal, pointwise in zip(self.temporal, self.pointwise, strict=True):
            own = x if inside is None else ops.where(inside, x, ops.zeros_like(x))
            y = pointwise(ops.relu(temporal(own)))
            x = x + self.dropout(y, training=training)
        return self.output_layer(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "n_classes": self.n_classes, "hidden": self.hidden}

    def canonical_variables(self) -> dict[str, keras.Variable]:
        """Return the variables of the stage by canonical name."""
        named = weight_and_bias("input", self.input_layer)
        for index, (temporal, pointwise) in enumerate(
            zip(self.temporal, self.pointwise, strict=True)
        ):
            named |= weight_and_bias(f"blocks.{index}.temporal", temporal)
            named |= weight_and_bias(f"blocks.{index}.pointwise", pointwise)
        return named | weight_and_bias("output", self.output_layer)


def dense(fan_in: int, units: int, dtype: Any, name: str) -> keras.layers.Dense:
    """Return a linear layer with the initial values of PyTorch."""
    return keras.layers.Dense(units, dtype=dtype, name=name, **_uniform(fan_in))


def temporal_conv(hidden: int, dilation: int, dtype: Any) -> keras.layers.Conv1D:
    """Return a dilated convolution over time that keeps the number of timesteps."""
    return keras.layers.Conv1D(
        hidden,
        REFINEMENT_TAPS,
        padding="same",
        dilation_rate=dilation,
        dtype=dtype,
        name=f"temporal_{dilation}",
        **_uniform(hidden * REFINEMENT_TAPS),
    )


def _uniform(fan_in: int) -> dict[str, Any]:
    bound = uniform_bound(fan_in)
    names = ("kernel_initializer", "bias_initializer")
    return {name: keras.initializers.RandomUniform(-bound, bound) for name in names}


def weight_and_bias(name: str, layer: Any) -> dict[str, keras.Variable]:
    """Return the variables of a linear or convolution layer by canonical name."""
    return {f"{name}.weight": layer.kernel, f"{name}.bias": layer.bias}
