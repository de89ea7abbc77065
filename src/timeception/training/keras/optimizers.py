"""Adam, AdamW and SGD in Keras, equal to PyTorch's step by step.

A recipe has one meaning in all frameworks, and Keras' optimisers differ from PyTorch's:

- Adam of Keras adds epsilon to the second moment before the bias correction, PyTorch after it. In
  the first step, Keras' epsilon has 32 times the effect of PyTorch's.
- SGD of Keras multiplies the learning rate into the momentum, PyTorch applies it to the sum. They
  differ when the learning rate changes.
- Weight decay of Keras' Adam and SGD is decoupled; PyTorch adds it to the gradient (L2).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from timeception.recipes.sections import TrainingSection

Tensor = Any


class Adam(keras.optimizers.Adam):
    """Adam and AdamW as PyTorch defines them.

    Args:
        epsilon: added to the square root of the bias-corrected second moment.
        l2: weight decay of Adam: ``l2 * variable`` is added to the gradient.
        weight_decay: weight decay of AdamW: ``learning_rate * weight_decay * variable`` is
            subtracted before the step.
        options: further options of Keras' Adam.
    """

    def __init__(
        self,
        learning_rate: float,
        epsilon: float,
        l2: float = 0.0,
        weight_decay: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            learning_rate, epsilon=epsilon, weight_decay=weight_decay, name="adam", **options
        )
        self.l2 = l2

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """Update one variable."""
        index, dtype = self._get_variable_index(variable), variable.dtype
        first, second = self._momentums[index], self._velocities[index]
        gradient = with_l2(gradient, variable, self.l2)
        self.assign_add(first, (gradient - first) * (1 - self.beta_1))
        self.assign_add(second, (ops.square(gradient) - second) * (1 - self.beta_2))
        step = ops.cast(self.iterations + 1, dtype)
        mean = first / (1 - ops.power(ops.cast(self.beta_1, dtype), step))
        square = second / (1 - ops.power(ops.cast(self.beta_2, dtype), step))
        rate = ops.cast(learning_rate, dtype)
        self.assign_sub(variable, rate * mean / (ops.sqrt(square) + self.epsilon))


class SGD(keras.optimizers.SGD):
    """SGD as PyTorch defines it: the momentum is a decaying sum of gradients.

    Args:
        momentum: factor on the sum before each gradient is added.
        nesterov: use Nesterov momentum.
        l2: weight decay: ``l2 * variable`` is added to the gradient.
        options: further options of Keras' SGD.
    """

    def __init__(
        self,
        learning_rate: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        l2: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, momentum=momentum, nesterov=nesterov, name="sgd", **options)
        self.l2 = l2

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """Update one variable."""
        gradient = with_l2(gradient, variable, self.l2)
        if self.momentum:
            total = self.momentums[self._get_variable_index(variable)]
            self.assign(total, total * self.momentum + gradient)
            gradient = gradient + total * self.momentum if self.nesterov else total
        self.assign_sub(variable, gradient * ops.cast(learning_rate, variable.dtype))


def with_l2(gradient: Tensor, variable: Tensor, l2: float) -> Tensor:
    """Return the gradient of the loss plus ``l2 / 2`` times the squared variable."""
    gradient = ops.cast(gradient, variable.dtype)
    return gradient + variable * l2 if l2 else gradient


def make_optimizer(settings: TrainingSection) -> keras.optimizers.Optimizer:
    """Make the optimiser of a recipe."""
    rate, decay = settings.learning_rate, settings.weight_decay
    n_accumulated = settings.accumulate_batches
    options: dict[str, Any] = {
        "global_clipnorm": settings.clip_norm,
        "gradient_accumulation_steps": n_accumulated if n_accumulated > 1 else None,
    }
    if settings.optimizer == "sgd":
        return SGD(rate, settings.momentum, settings.nesterov, decay, **options)
    if settings.optimizer == "adamw":
        return Adam(rate, settings.epsilon, weight_decay=decay, **options)
    return Adam(rate, settings.epsilon, l2=decay, **options)
