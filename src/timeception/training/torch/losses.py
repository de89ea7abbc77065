"""Losses of training in PyTorch, by the name that ``training.loss`` gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from timeception import checks, plugins
from timeception.recipes.sections import TrainingSection

#: Maps logits and multi-hot targets, both (N, n_classes), to the mean loss of the batch.
LossFunction = Callable[[Tensor, Tensor, TrainingSection], Tensor]


@dataclass(frozen=True)
class Loss:
    """A loss, and the task it is for: multi-label, single-label, or both (``None``)."""

    function: LossFunction
    is_multilabel: bool | None


LOSSES: dict[str, Loss] = {}


def register_loss(
    name: str, *, is_multilabel: bool | None = None
) -> Callable[[LossFunction], LossFunction]:
    """Register a loss under a name for ``training.loss``.

    Args:
        name: the name.
        is_multilabel: the task that the loss is for; ``None`` allows both.
    """

    def register(function: LossFunction) -> LossFunction:
        LOSSES[name] = Loss(function, is_multilabel)
        return function

    return register


def find_loss(name: str | None, is_multilabel: bool) -> LossFunction:
    """Return a loss by name; ``None`` is the default loss of the task.

    Raises:
        ValueError: if the loss is unknown, or is for the other task.
    """
    name = name or ("bce" if is_multilabel else "cross_entropy")
    if name not in LOSSES:
        plugins.load("timeception.losses")
    loss = LOSSES[str(checks.one_of("training.loss", name, tuple(LOSSES)))]
    task = "multi-label" if is_multilabel else "single-label"
    is_fit = loss.is_multilabel in (None, is_multilabel)
    checks.require(is_fit, "training.loss", f"be a loss for {task} data", name)
    return loss.function


@register_loss("bce", is_multilabel=True)
def binary_cross_entropy(logits: Tensor, targets: Tensor, settings: TrainingSection) -> Tensor:
    """Binary cross-entropy of each class, averaged over classes and clips."""
    return F.binary_cross_entropy_with_logits(logits, targets)


@register_loss("cross_entropy", is_multilabel=False)
def cross_entropy(logits: Tensor, targets: Tensor, settings: TrainingSection) -> Tensor:
    """Cross-entropy with label smoothing, averaged over clips."""
    labels = targets.argmax(dim=1)
    return F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
