"""Training in PyTorch with Lightning: a head on features, or a head with its backbone."""

from __future__ import annotations

import inspect
import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    RichProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from timeception import checks
from timeception.backbones import Backbone
from timeception.backbones.video_classifier import VideoClassifier
from timeception.clips.task_data import TaskData
from timeception.files import write_json
from timeception.metrics.thresholds import tune_thresholds
from timeception.recipes.recipe import Recipe
from timeception.recipes.sections import TrainingSection
from timeception.training.build_head import build_head
from timeception.training.class_weights import class_weights
from timeception.training.initialization import Start
from timeception.training.progress import OnProgress, TrainingProgress, ignore
from timeception.training.runs import Run
from timeception.training.torch.checkpoints import WholeCheckpointIO, find_checkpoint
from timeception.training.torch.data import Clips, ValidatedClips, make_loader
from timeception.training.torch.loggers import Loggers
from timeception.training.torch.losses import RecipeLoss
from timeception.training.torch.module import Training, tensors
from timeception.training.torch.timelines import TimelineTraining, set_input_statistics
from timeception.weights.folder import ModelSpec


def check(recipe: Recipe, data: TaskData) -> None:
    """Check that the options of training fit the data.

    Raises:
        ValueError: if the loss, its weights or mixup do not suit the task, or the precision or
            the number of devices does not suit this machine.
    """
    check_machine(recipe)
    if recipe.is_timeline:
        class_weights(recipe.training, data)
        return
    RecipeLoss(recipe.training, data)
    is_hard = recipe.training.loss == "asymmetric" and not data.is_multilabel
    checks.require(
        not (is_hard and recipe.training.mixup),
        "training.mixup",
        "be 0 with training.loss=asymmetric on single-label data, whose targets must be one-hot",
        recipe.training.mixup,
    )


def check_machine(recipe: Recipe) -> None:
    """Check that this machine can train as the recipe says.

    Raises:
        ValueError: if the precision or the number of devices does not suit it.
    """
    settings, n_gpus = recipe.training, torch.cuda.device_count()
    precision, advice = settings.precision, "Use 32 or bf16-mixed."
    is_valid = precision != "16-mixed" or n_gpus > 0
    checks.require(
        is_valid, "training.precision", "be 32 or bf16-mixed without a GPU", precision, advice
    )
    is_valid = n_gpus == 0 or settings.devices <= n_gpus
    requirement = f"be at most {n_gpus}, the number of GPUs of this machine"
    checks.require(is_valid, "training.devices", requirement, settings.devices)
    is_valid = settings.n_processes == 1 or n_gpus > 0 or not recipe.end_to_end.trains_batch_norm
    checks.require(
        is_valid,
        "training.devices",
        "be 1 with end_to_end.trains_batch_norm on a machine without GPUs, where PyTorch cannot "
        "synchronise the backbone's batch norms",
        settings.devices,
    )


def fit(
    recipe: Recipe,
    data: TaskData,
    run: Run,
    spec: ModelSpec,
    start: Start,
    on_progress: OnProgress = ignore,
) -> dict[str, NDArray[np.float32]]:
    """Train a head; resume from the run's last checkpoint if there is one.

    Returns:
        The head's canonical arrays: of the epoch with the best validation mAP, or of the last
        epoch if the recipe has no validation split.
    """
    seed(recipe.seed)
    head: Any = build_head(spec)
    if recipe.is_timeline and start.source is None:
        set_input_statistics(head, data)
    _fit(head, recipe, data, run, start, on_progress)
    return head.to_arrays()


def fit_end_to_end(
    recipe: Recipe,
    data: TaskData,
    run: Run,
    spec: ModelSpec,
    start: Start,
    backbone: Backbone,
    on_progress: OnProgress = ignore,
) -> dict[str, NDArray[np.float32]]:
    """Train a head and its backbone, like ``fit``; the backbone is changed in place."""
    seed(recipe.seed)
    settings = recipe.end_to_end
    head: Any = build_head(spec)
    model = VideoClassifier(
        backbone.unfreeze(batch_norm=settings.trains_batch_norm),
        head,
        recipe.sampling.map_size,
        segments_per_pass=settings.segments_per_pass,
        is_checkpointed=settings.gradient_checkpointing,
    )
    _fit(model, recipe, data, run, start, on_progress)
    backbone.freeze()
    return head.to_arrays()


def _fit(
    model: nn.Module,
    recipe: Recipe,
    data: TaskData,
    run: Run,
    start: Start,
    on_progress: OnProgress,
) -> None:
    """Load the initial values, train, and leave the best or last weights in the model."""
    named = tensors(model)
    with torch.no_grad():
        for name, array in start.arrays.items():
            named[name].copy_(torch.from_numpy(array))
    kind: Any = TimelineTraining if recipe.is_timeline else Training
    module = kind(model, data, recipe, start.frozen)
    keep_best = data.validation is not None
    best = ModelCheckpoint(
        run.checkpoints, "best", monitor="validation_map" if keep_best else None, mode="max"
    )
    last = find_checkpoint(run.checkpoints)
    with _quiet_lightning():
        reports = _Reports(TrainingProgress.of(recipe, data), on_progress)
        callbacks = [*regularization_callbacks(recipe.training), *([best] if keep_best else [])]
        trainer = make_trainer(recipe, run, [*callbacks, reports])
        with _raises_interrupts(trainer):
            trainer.fit(
                module,
                datamodule=(ValidatedClips if keep_best else Clips)(data, recipe),
                ckpt_path=last,
                weights_only=True,
            )
    if keep_best and trainer.is_global_zero:
        state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
        model.load_state_dict({k.removeprefix("model."): v for k, v in state.items()})
        module.model.eval()
        write_thresholds(module, data, recipe, run)
    model.eval()


def write_thresholds(module: Training, data: TaskData, recipe: Recipe, run: Run) -> None:
    """Tune the thresholds of multi-label classes on the validation split, and write them.

    They are those with the highest F1. A class that they cannot be tuned for has 0.5.
    """
    if not data.is_multilabel:
        return
    scores, targets = module.validation_scores(make_loader(data.split("validation"), recipe, False))
    found = np.nan_to_num(tune_thresholds(scores, targets), nan=0.5)
    rounded = [round(float(value), 6) for value in found]
    write_json(run.thresholds_file, dict(zip(data.classes, rounded, strict=True)))


def seed(number: int) -> None:
    """Seed initial values, dropout and the loaders' workers."""
    lightning.seed_everything(number, workers=True, verbose=False)


def make_trainer(recipe: Recipe, run: Run, callbacks: list[Callback]) -> lightning.Trainer:
    """Make a trainer that logs to CSV and the recipe's loggers, and keeps the last checkpoint.

    Each start of a training writes a new ``logs/part_N``, because Lightning would delete the curves
    of an interrupted one.
    """
    settings = recipe.training
    logs = run.next_logs()
    last = ModelCheckpoint(
        run.checkpoints,
        "last",
        every_n_epochs=settings.checkpoint_every,
        enable_version_counter=False,
    )
    progress = [RichProgressBar()] if sys.stderr.isatty() else []
    return lightning.Trainer(
        max_epochs=settings.epochs,
        devices=settings.devices,  # Lightning's own choice is every GPU of the machine
        num_nodes=settings.nodes,
        strategy=make_strategy(settings),
        precision=settings.precision,
        use_distributed_sampler=False,  # the loaders divide the clips
        sync_batchnorm=settings.n_processes > 1 and torch.cuda.is_available(),
        gradient_clip_val=settings.clip_norm,
        accumulate_grad_batches=settings.accumulate_batches,
        logger=[
            CSVLogger(logs.parent, name=None, version=logs.name),
            Loggers(recipe, run, logs),
        ],
        callbacks=[*callbacks, last, *progress],
        plugins=[WholeCheckpointIO()],
        enable_progress_bar=bool(progress),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        deterministic="warn",
    )


def make_strategy(settings: TrainingSection) -> Any:
    """Make the strategy of a recipe: DDP for several processes.

    Every process computes the same statistics, so there are no buffers to send.
    """
    if settings.n_processes == 1:
        return settings.strategy
    names = inspect.signature(DistributedDataParallel).parameters
    is_new = "forward_sync_buffers" in names  # PyTorch 2.14 renamed the argument
    options: dict[str, Any] = {"forward_sync_buffers" if is_new else "broadcast_buffers": False}
    return DDPStrategy(**options)


def regularization_callbacks(settings: TrainingSection) -> list[Callback]:
    """Make the callbacks that average weights and stop early, as a recipe says."""
    callbacks: list[Callback] = []
    if settings.ema_decay:
        callbacks.append(WeightAveraging(avg_fn=partial(_average, settings.ema_decay)))
    if settings.early_stopping_epochs is not None:
        callbacks.append(
            EarlyStopping("validation_map", patience=settings.early_stopping_epochs, mode="max")
        )
    return callbacks


def _average(decay: float, average: Tensor, current: Tensor, n_averaged: Tensor | int) -> Tensor:
    """Moving average whose decay grows from 0.1, so that the first weights are soon forgotten."""
    return average.lerp(current, 1 - min(decay, (1 + float(n_averaged)) / (10 + float(n_averaged))))


class _Reports(Callback):
    """Reports the progress after each batch and each epoch."""

    def __init__(self, progress: TrainingProgress, on_progress: OnProgress) -> None:
        self._progress, self._on_progress = progress, on_progress

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Report what is about to be done."""
        self._progress.first_epoch = self._progress.epoch = trainer.current_epoch
        self._on_progress(self._progress)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the clips of a batch."""
        self._progress.n_clips_done += pl_module.n_clips(batch_idx, batch[-1])
        self._on_progress(self._progress)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the metrics of a finished epoch."""
        self._progress.epoch = trainer.current_epoch + 1
        self._progress.metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        self._on_progress(self._progress)


@contextmanager
def _raises_interrupts(trainer: lightning.Trainer) -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` where Lightning exits with status 1 and ignores Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt


class _quiet_lightning(warnings.catch_warnings):  # noqa: N801 - reads as a statement
    """Silence advice of Lightning that does not apply, such as more workers for a mapped bank."""

    def __enter__(self) -> Any:
        result = super().__enter__()
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Checkpoint directory .* is not empty")
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        return result
