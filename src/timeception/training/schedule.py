"""The learning rate of each epoch, the same in every framework."""

from __future__ import annotations

from math import cos, pi

from timeception.recipes.sections import TrainingSection


def learning_rate_factor(epoch: int, settings: TrainingSection) -> float:
    """Return the factor on the learning rate in an epoch (from 0): linear warm-up, then schedule.

    Example:
        >>> settings = TrainingSection(epochs=5, warmup_epochs=1, schedule="cosine")
        >>> [round(learning_rate_factor(epoch, settings), 3) for epoch in range(5)]
        [0.5, 1.0, 0.854, 0.5, 0.146]
    """
    if epoch < settings.warmup_epochs:
        return (epoch + 1) / (settings.warmup_epochs + 1)
    if settings.schedule == "constant":
        return 1.0
    progress = (epoch - settings.warmup_epochs) / max(1, settings.epochs - settings.warmup_epochs)
    return 0.5 * (1 + cos(pi * min(progress, 1.0)))
