"""Losses of training in Keras: those of PyTorch, by the same names."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.task_data import TaskData
from timeception.recipes.sections import FOCAL_GAMMA, TrainingSection
from timeception.training.class_weights import class_weights

_CROSS_ENTROPIES = {True: "bce", False: "cross_entropy"}


def make_loss(settings: TrainingSection, data: TaskData) -> keras.losses.Loss:
    """Return the loss of a recipe, of logits and multi-hot targets (N, n_classes).

    Raises:
        ValueError: if the loss is for the other task.
    """
    plain = _CROSS_ENTROPIES[data.is_multilabel]
    name = checks.one_of("training.loss", settings.loss or plain, (plain, "focal"))
    weights = class_weights(settings, data)
    options: dict[str, Any] = {
        "from_logits": True,
        "label_smoothing": settings.label_smoothing,
        "name": "loss",
    }
    if weights is not None:
        options["reduction"] = None
    losses = keras.losses
    loss = {
        ("bce", True): lambda: losses.BinaryCrossentropy(**options),
        ("cross_entropy", False): lambda: losses.CategoricalCrossentropy(**options),
        ("focal", True): lambda: losses.BinaryFocalCrossentropy(gamma=FOCAL_GAMMA, **options),
        ("focal", False): lambda: losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=FOCAL_GAMMA, **options
        ),
    }[str(name), data.is_multilabel]()
    if weights is None:
        return loss
    return (WeightedBinary if data.is_multilabel else WeightedCategorical)(loss, weights)


class WeightedCategorical(keras.losses.Loss):
    """A loss of each clip, times the weight of its class.

    Args:
        loss: a loss without reduction.
        weights: (n_classes,).
    """

    def __init__(self, loss: keras.losses.Loss, weights: NDArray[Any]) -> None:
        super().__init__(name="loss")
        self.loss, self.weights = loss, weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the weighted losses (N,)."""
        weights = ops.convert_to_tensor(self.weights)
        return self.loss(y_true, y_pred) * ops.sum(y_true * weights, axis=-1)


class WeightedBinary(WeightedCategorical):
    """A loss of each clip and class, whose positive part is multiplied by the class's weight."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the weighted losses (N, n_classes)."""
        share = self.loss.label_smoothing
        targets = y_true * (1 - share) + share / 2
        more = targets * (ops.convert_to_tensor(self.weights) - 1)
        # Keras averages over the last axis: one of length 1 keeps the classes apart.
        losses = self.loss(ops.expand_dims(y_true, -1), ops.expand_dims(y_pred, -1))
        if isinstance(self.loss, keras.losses.BinaryFocalCrossentropy):
            return losses * (1 + more)
        return losses + more * ops.softplus(-y_pred)
