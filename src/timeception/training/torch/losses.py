"""Losses of training in PyTorch, by the name that ``training.loss`` gives them.

Every loss is a mean over the clips of a batch, so that a part of a batch contributes its share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from timeception import checks, plugins
from timeception.clips.task_data import TaskData
from timeception.recipes.sections import FOCAL_GAMMA, TrainingSection
from timeception.training.class_weights import class_weights

#: Maps logits and targets, both (N, n_classes), and the settings to the mean loss of the batch.
#: Targets are multi-hot, or fractions after mixup. A loss that takes class weights, (n_classes,)
#: or None, has them as a fourth parameter.
LossFunction = Callable[..., Tensor]


@dataclass(frozen=True)
class Loss:
    """A loss of one task, and whether it takes class weights."""

    function: LossFunction
    takes_weights: bool


#: Losses by name and by whether the task is multi-label.
LOSSES: dict[str, dict[bool, Loss]] = {}


def register_loss(
    name: str, *, is_multilabel: bool | None = None, takes_weights: bool = False
) -> Callable[[LossFunction], LossFunction]:
    """Register a loss under a name for ``training.loss``.

    Args:
        name: the name.
        is_multilabel: the task that the loss is for; ``None`` registers it for both.
        takes_weights: whether the function has a fourth parameter, the class weights.
    """
    tasks = (False, True) if is_multilabel is None else (is_multilabel,)

    def register(function: LossFunction) -> LossFunction:
        loss = Loss(function, takes_weights)
        LOSSES[name] = LOSSES.get(name, {}) | dict.fromkeys(tasks, loss)
        return function

    return register


def find_loss(name: str | None, is_multilabel: bool) -> Loss:
    """Return a loss by name; ``None`` is the default loss of the task.

    Raises:
        ValueError: if the loss is unknown, or is for the other task.
    """
    name = name or ("bce" if is_multilabel else "cross_entropy")
    if name not in LOSSES:
        plugins.load("timeception.losses")
    losses = LOSSES[str(checks.one_of("training.loss", name, tuple(LOSSES)))]
    task = "multi-label" if is_multilabel else "single-label"
    checks.require(is_multilabel in losses, "training.loss", f"be a loss for {task} data", name)
    return losses[is_multilabel]


class RecipeLoss:
    """The loss of a recipe, as a function of logits and targets (N, n_classes).

    Raises:
        ValueError: if the loss is unknown, is for the other task, or takes no class weights
            although the recipe has some.
    """

    def __init__(self, settings: TrainingSection, data: TaskData) -> None:
        self._loss, self._settings = find_loss(settings.loss, data.is_multilabel), settings
        weights = class_weights(settings, data)
        is_valid = weights is None or self._loss.takes_weights
        checks.require(
            is_valid,
            "training.class_weights",
            f"be null with training.loss={settings.loss}, which takes no weights",
            settings.class_weights,
        )
        self._weights = None if weights is None else torch.from_numpy(weights)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        more: tuple[Any, ...] = ()
        if self._loss.takes_weights:
            more = (None if self._weights is None else self._weights.to(logits.device),)
        return self._loss.function(logits, targets, self._settings, *more)


def smoothed(targets: Tensor, settings: TrainingSection, n_outcomes: int) -> Tensor:
    """Move a share of each target, ``training.label_smoothing``, evenly to all outcomes."""
    share = settings.label_smoothing
    return targets * (1 - share) + share / n_outcomes if share else targets


@register_loss("bce", is_multilabel=True, takes_weights=True)
def binary_cross_entropy(
    logits: Tensor, targets: Tensor, settings: TrainingSection, weights: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy of each class, averaged over classes and clips."""
    targets = smoothed(targets, settings, 2)
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)


@register_loss("cross_entropy", is_multilabel=False, takes_weights=True)
def cross_entropy(
    logits: Tensor, targets: Tensor, settings: TrainingSection, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy with label smoothing, averaged over clips."""
    losses = F.cross_entropy(
        logits, smoothed(targets, settings, targets.shape[1]), reduction="none"
    )
    return _weighted_mean(losses, targets, weights)


@register_loss("focal", is_multilabel=True, takes_weights=True)
def binary_focal(
    logits: Tensor, targets: Tensor, settings: TrainingSection, weights: Tensor | None = None
) -> Tensor:
    """Binary focal loss of each class, averaged over classes and clips: easy ones count little.

    Source: Lin et al. 2017 with gamma 2, without their alpha; class weights replace it.
    """
    from torchvision.ops import sigmoid_focal_loss

    targets = smoothed(targets, settings, 2)
    losses: Tensor = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=FOCAL_GAMMA)
    return (losses if weights is None else losses * (1 + (weights - 1) * targets)).mean()


@register_loss("focal", is_multilabel=False, takes_weights=True)
def categorical_focal(
    logits: Tensor, targets: Tensor, settings: TrainingSection, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy times (1 - p)^2, averaged over clips: easy clips count little."""
    log_p = logits.log_softmax(dim=1)
    wanted = smoothed(targets, settings, targets.shape[1])
    losses = -(wanted * (1 - log_p.exp()) ** FOCAL_GAMMA * log_p).sum(dim=1)
    return _weighted_mean(losses, targets, weights)


@register_loss("asymmetric", is_multilabel=True, takes_weights=True)
def binary_asymmetric(
    logits: Tensor, targets: Tensor, settings: TrainingSection, weights: Tensor | None = None
) -> Tensor:
    """Asymmetric loss, averaged over classes and clips: easy negatives count least.

    Source: Ridnik et al. 2021, with timm's gammas 4 and 1 and margin 0.05.
    """
    from timm.loss.asymmetric_loss import AsymmetricLossMultiLabel

    share = settings.label_smoothing
    loss = AsymmetricLossMultiLabel(smoothing=share, reduction="mean", pos_weight=weights)
    return loss(logits, targets)


@register_loss("asymmetric", is_multilabel=False, takes_weights=True)
def categorical_asymmetric(
    logits: Tensor, targets: Tensor, settings: TrainingSection, weights: Tensor | None = None
) -> Tensor:
    """Asymmetric loss of one label per clip, as timm defines it; targets are one-hot."""
    from timm.loss.asymmetric_loss import AsymmetricLossSingleLabel

    loss = AsymmetricLossSingleLabel(eps=settings.label_smoothing, reduction="none")
    return _weighted_mean(loss(logits, targets.argmax(dim=1)), targets, weights)


def _weighted_mean(losses: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over clips, each times the weight of its class."""
    return (losses if weights is None else losses * (targets @ weights)).mean()
