"""What recipes cannot ask of Keras, and why."""

from __future__ import annotations

from typing import Any

from timeception.recipes.sections import TrainingSection

KERAS_HEADS = ("timeception", "pooling")
KERAS_LOSSES = (None, "bce", "cross_entropy", "focal")

#: Fields of `training` that Keras cannot honour, their values that it can, and why.
KERAS_REFUSES: dict[str, tuple[Any, str]] = {
    "devices": (1, "recipes train with Keras in one process"),
    "nodes": (1, "recipes train with Keras in one process"),
    "strategy": ("auto", "recipes train with Keras in one process"),
    "precision": ("32", "layers of Keras have a precision when they are created, here float32"),
    "ema_decay": (0.0, "the average of Keras has a fixed decay, and leaves out moving statistics"),
    "scheme": ("timeception_only", "backbones are PyTorch networks"),
}


def check_keras(head: str, training: TrainingSection) -> None:
    """Check that Keras can train as the recipe says.

    Args:
        head: name of the head.
        training: settings.

    Raises:
        ValueError: if it cannot.
    """
    if head not in KERAS_HEADS:
        offered = ", ".join(KERAS_HEADS)
        raise ValueError(f"model.head={head} requires framework=torch; Keras offers {offered}")
    if training.loss not in KERAS_LOSSES:
        known = ", ".join(filter(None, KERAS_LOSSES))
        raise ValueError(
            f"training.loss={training.loss} requires framework=torch; Keras offers {known}"
        )
    for name, (value, reason) in KERAS_REFUSES.items():
        given = getattr(training, name)
        if given != value:
            raise ValueError(f"training.{name}={given} requires framework=torch: {reason}")
