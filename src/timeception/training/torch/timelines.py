"""Training of localizers: whole videos, padded to the longest of a batch, a loss for each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from timeception.clips.task_data import TaskData
from timeception.metrics.timeline_protocols import default_timeline_protocol, find_timeline_protocol
from timeception.metrics.timelines import Timelines
from timeception.recipes.recipe import Recipe
from timeception.recipes.sections import TrainingSection
from timeception.torch import TimeceptionLocalizer
from timeception.training.class_weights import class_weights
from timeception.training.torch.losses import smoothed
from timeception.training.torch.module import Training
from timeception.training.torch.timeline_data import Batch

#: Largest jump of a log-probability between neighbouring timesteps that still costs more.
SMOOTHING_TAU = 4.0


class TimelineTraining(Training):
    """Trains a localizer; every stage has a loss, averaged over the timesteps of each video."""

    model: TimeceptionLocalizer

    def __init__(
        self,
        model: TimeceptionLocalizer,
        data: TaskData,
        recipe: Recipe,
        frozen: Sequence[str] = (),
    ) -> None:
        super().__init__(model, data, recipe, frozen)
        self._data = data
        self._protocol = find_timeline_protocol(
            default_timeline_protocol(data.is_multilabel), data.is_multilabel
        )
        weights = class_weights(recipe.training, data)
        self._weights = None if weights is None else torch.from_numpy(weights)
        self._videos: list[Tensor] = []
        self._losses: list[Tensor] = []

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:  # type: ignore[override]
        """Return the loss of one batch."""
        loss = self.timeline_loss(batch)[0]
        self.log(
            "train_loss",
            loss,
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            batch_size=len(batch[1]),
        )
        return loss

    def timeline_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch, and the logits of the last stage (N, n_classes, T)."""
        features, lengths, targets = batch
        stages = [logits.float() for logits in self.model.stages(features, lengths)]
        weights = None if self._weights is None else self._weights.to(features.device)
        losses = [
            step_loss(logits, targets, lengths, self.settings, self.is_multilabel, weights)
            for logits in stages
        ]
        return torch.stack(losses).sum(), stages[-1]

    def validation_step(self, batch: Batch, batch_index: int) -> None:  # type: ignore[override]
        """Keep the scores of each timestep of each video."""
        loss, logits = self.timeline_loss(batch)
        scores = self.model.probabilities(logits).cpu()
        self._videos += [each[:, :n].T for each, n in zip(scores, batch[1].tolist(), strict=True)]
        self._losses.append(loss.cpu() * len(batch[1]))

    def on_validation_epoch_end(self) -> None:
        """Log the main metric of the data over whole videos: F1 at 50 %, or per-frame mAP."""
        sampler = self._data.split("validation").sampler
        videos = tuple(
            sampler.timeline(index, scores.numpy())  # type: ignore[attr-defined]
            for index, scores in enumerate(self._videos)
        )
        timelines = Timelines(self.classes, videos, self.is_multilabel, self.recipe.data.background)
        loss = torch.stack(self._losses).sum() / len(videos)
        self._videos.clear()
        self._losses.clear()
        self.log("validation_loss", loss)
        result = self._protocol.measure(timelines)
        self.log("validation_map", result.values[self._protocol.main], prog_bar=True)

    @torch.inference_mode()
    def validation_scores(self, loader: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the probabilities and targets of all timesteps, both (N, n_classes)."""
        device = next(self.model.parameters()).device
        scores, truth = [], []
        for features, lengths, targets in loader:
            found = self.model.probabilities(self.model(features.to(device), lengths)).cpu()
            for each, wanted, n in zip(found, targets, lengths.tolist(), strict=True):
                scores.append(each[:, :n].T)
                truth.append(wanted[:n])
        return torch.cat(scores).numpy(), torch.cat(truth).numpy()


def step_loss(
    logits: Tensor,
    targets: Tensor,
    lengths: Tensor,
    settings: TrainingSection,
    is_multilabel: bool,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the loss of one stage: the mean over the timesteps of each video, then over videos.

    With one class per timestep, it is the cross-entropy plus ``step_smoothing`` times the squared
    differences of neighbouring log-probabilities, truncated at 16; otherwise binary cross-entropy.

    Args:
        logits: scores of each timestep.
        targets: multi-hot targets.
        lengths: timesteps of each video; what follows does not count.
        settings: label smoothing and step smoothing.
        is_multilabel: whether a timestep has any number of classes.
        weights: weights of the classes, as ``class_weights`` returns them.

    Shape:
        logits: N, n_classes, T; targets: N, T, n_classes; lengths: N; result: a scalar.

    Source: Abu Farha and Gall, MS-TCN, CVPR 2019, equations 8 to 11 (lambda 0.15, tau 4). They
    average over all timesteps of a batch.
    """
    rows = logits.transpose(1, 2)
    is_step = torch.arange(rows.shape[1], device=rows.device) < lengths[:, None]
    if is_multilabel:
        wanted = smoothed(targets, settings, 2)
        losses = F.binary_cross_entropy_with_logits(
            rows, wanted, pos_weight=weights, reduction="none"
        ).mean(dim=2)
        return _mean(losses, is_step)
    log_p = rows.log_softmax(dim=2)
    losses = -(smoothed(targets, settings, targets.shape[2]) * log_p).sum(dim=2)
    if weights is not None:
        losses = losses * (targets @ weights)
    loss = _mean(losses, is_step)
    if settings.step_smoothing and rows.shape[1] > 1:
        jumps = (log_p[:, 1:] - log_p[:, :-1].detach()).square().clamp(max=SMOOTHING_TAU**2)
        loss = loss + settings.step_smoothing * _mean(jumps.mean(dim=2), is_step[:, 1:])
    return loss


def _mean(values: Tensor, is_step: Tensor) -> Tensor:
    """Mean over the timesteps of each video (at least one counts), then over videos."""
    inside = torch.where(is_step, values, 0)
    return (inside.sum(dim=1) / is_step.sum(dim=1).clamp(min=1)).mean()


def set_input_statistics(model: Any, data: TaskData) -> None:
    """Normalise inputs by the statistics of the training split."""
    sampler: Any = data.train.sampler
    model.set_statistics(*sampler.statistics())
