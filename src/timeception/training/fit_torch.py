"""Timeception-only training in PyTorch: the head is trained on a bank's features with Lightning."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from timeception.metrics import accuracy, mean_average_precision
from timeception.training.draws import FeatureDraws, epoch_order
from timeception.training.problem import Problem, Subset
from timeception.training.recipe import Recipe, TrainingSection
from timeception.training.runs import Run


class DrawDataset(Dataset[tuple[Tensor, Tensor]]):
    """Training clips; an index is ``(epoch, record)``, so that every epoch draws afresh.

    Shape:
        features (C, T, H, W) float32, target (n_classes,) float32.
    """

    def __init__(self, subset: Subset) -> None:
        self.draws: FeatureDraws = subset.draws
        self.targets = torch.from_numpy(subset.targets)

    def __getitem__(self, index: tuple[int | None, int]) -> tuple[Tensor, Tensor]:
        number, record = index
        features = torch.from_numpy(self.draws.draw(record, number))
        return features.transpose(0, 1).contiguous(), self.targets[record]


class EpochSampler(Sampler[tuple[int | None, int]]):
    """Yields ``(epoch, record)`` in the epoch's own order; Lightning calls ``set_epoch``."""

    def __init__(self, n_records: int, batch_size: int, seed: int) -> None:
        self.n_records, self.batch_size, self.seed, self.epoch = n_records, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch

    def _order(self) -> Any:
        return epoch_order(self.n_records, self.batch_size, self.seed, self.epoch)

    def __len__(self) -> int:
        return len(self._order())

    def __iter__(self) -> Iterator[tuple[int | None, int]]:
        return ((self.epoch, int(record)) for record in self._order())


class EquidistantSampler(Sampler[tuple[int | None, int]]):
    """Yields every record's equidistant draw, in order."""

    def __init__(self, n_records: int) -> None:
        self.n_records = n_records

    def __len__(self) -> int:
        return self.n_records

    def __iter__(self) -> Iterator[tuple[int | None, int]]:
        return ((None, record) for record in range(self.n_records))


class HeadTraining(lightning.LightningModule):
    """The loss, the optimiser and the metrics of a head trained alone."""

    def __init__(self, head: nn.Module, problem: Problem, recipe: Recipe) -> None:
        super().__init__()
        self.head = head
        self.seed = recipe.seed
        self.is_multilabel = problem.is_multilabel
        self.classes = problem.classes
        self.settings = recipe.training
        self._scores: list[Tensor] = []
        self._targets: list[Tensor] = []

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy (multi-label) or cross-entropy (single-label) of a batch."""
        if self.is_multilabel:
            return F.binary_cross_entropy_with_logits(logits, targets)
        return F.cross_entropy(
            logits, targets.argmax(dim=1), label_smoothing=self.settings.label_smoothing
        )

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Seed dropout by epoch and batch: a resumed training equals one that was never stopped."""
        place = np.random.SeedSequence([self.seed, self.current_epoch, batch_index])
        torch.manual_seed(int(place.generate_state(1)[0]))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Loss of one batch."""
        features, targets = batch
        loss = self.loss(self.head(features), targets)
        self.log(
            "train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(targets)
        )
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Keep scores; the metric is computed once, over the whole set."""
        features, targets = batch
        logits = self.head(features)
        self.log("validation_loss", self.loss(logits, targets), batch_size=len(targets))
        self._scores.append(logits.float().cpu())
        self._targets.append(targets.cpu())

    def on_validation_epoch_end(self) -> None:
        """Log mAP, and accuracy for single-label problems."""
        scores, targets = torch.cat(self._scores).numpy(), torch.cat(self._targets).numpy()
        self._scores.clear()
        self._targets.clear()
        result = mean_average_precision(scores, targets, self.classes)
        self.log("validation_map", result.mean, prog_bar=True)
        if not self.is_multilabel:
            self.log("validation_accuracy", accuracy(scores, targets), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Adam, AdamW or SGD, with a constant or a cosine learning rate, warmed up linearly."""
        optimizer = make_optimizer(self.head.parameters(), self.settings)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._learning_rate_factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "epoch"},
        }

    def _learning_rate_factor(self, epoch: int) -> float:
        return learning_rate_factor(epoch, self.settings)


def seed(number: int) -> None:
    """Seed the initial weights, dropout and the loaders' workers."""
    lightning.seed_everything(number, workers=True, verbose=False)


def make_optimizer(parameters: Any, settings: TrainingSection) -> torch.optim.Optimizer:
    """The optimiser that a recipe names."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, rate, settings.momentum, weight_decay=decay, nesterov=settings.nesterov
        )
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, rate, eps=settings.epsilon, weight_decay=decay)


def learning_rate_factor(epoch: int, settings: TrainingSection) -> float:
    """Factor on the learning rate in an epoch counted from 0: linear warm-up, then the schedule."""
    if epoch < settings.warmup_epochs:
        return (epoch + 1) / (settings.warmup_epochs + 1)
    if settings.schedule == "constant":
        return 1.0
    progress = (epoch - settings.warmup_epochs) / max(1, settings.epochs - settings.warmup_epochs)
    return float(0.5 * (1 + np.cos(np.pi * min(progress, 1.0))))


def fit(head: nn.Module, problem: Problem, recipe: Recipe, run: Run) -> nn.Module:
    """Train ``head`` to the end, resuming from the run's last checkpoint where there is one.

    Returns:
        The head with the weights of the best validation mAP, or the last ones where the recipe
        has no validation videos.
    """
    module = HeadTraining(head, problem, recipe)
    keep_best = problem.validation is not None
    best = ModelCheckpoint(
        run.checkpoints, "best", monitor="validation_map" if keep_best else None, mode="max"
    )
    last = run.checkpoints / "last.ckpt"
    validation = _loader(problem.validation, recipe, False) if problem.validation else None
    with _quiet_lightning():
        trainer = make_trainer(recipe, run, [best] if keep_best else [])
        trainer.fit(
            module,
            _loader(problem.train, recipe, True),
            validation,
            ckpt_path=last if last.exists() else None,
            weights_only=True,
        )
    if trainer.interrupted:
        raise KeyboardInterrupt
    if keep_best:
        state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
        head.load_state_dict({k.removeprefix("head."): v for k, v in state.items()})
    return head.eval()


def make_trainer(recipe: Recipe, run: Run, callbacks: list[Callback]) -> lightning.Trainer:
    """A trainer that logs to CSV and TensorBoard and keeps the last checkpoint.

    Each start of a training logs into its own ``logs/part_N``: Lightning would delete the curve of
    an interrupted one.
    """
    settings = recipe.training
    part = f"part_{len(list(run.logs.glob('part_*'))) + 1}"
    last = ModelCheckpoint(
        run.checkpoints,
        "last",
        every_n_epochs=settings.checkpoint_every,
        enable_version_counter=False,
    )
    progress = [RichProgressBar()] if sys.stderr.isatty() else []
    return lightning.Trainer(
        max_epochs=settings.epochs,
        logger=[
            logger(run.logs, name=None, version=part) for logger in (CSVLogger, TensorBoardLogger)
        ],
        callbacks=[*callbacks, last, *progress],
        enable_progress_bar=bool(progress),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        deterministic="warn",
    )


def _loader(subset: Subset, recipe: Recipe, is_training: bool) -> DataLoader[Any]:
    size, workers = recipe.training.batch_size, recipe.training.workers
    sampler: Sampler[Any] = (
        EpochSampler(len(subset), size, recipe.seed)
        if is_training
        else EquidistantSampler(len(subset))
    )
    return DataLoader(DrawDataset(subset), size, sampler=sampler, num_workers=workers)


class _quiet_lightning(warnings.catch_warnings):  # noqa: N801 - reads as a statement
    """Silence Lightning's advice that does not apply, such as more workers for a mapped bank."""

    def __enter__(self) -> Any:
        result = super().__enter__()
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Checkpoint directory .* is not empty")
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        return result
