"""Keras callbacks: seeds, learning rate, validation, checkpoints and logs of each epoch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from timeception.clips.task_data import TaskData
from timeception.files import replacing
from timeception.metrics import accuracy, mean_average_precision
from timeception.recipes.recipe import Recipe
from timeception.training.curves import read_curves
from timeception.training.keras.data import TrainingBatches, UniformBatches, set_random_seed
from timeception.training.loggers import CurveLogger
from timeception.training.progress import OnProgress, TrainingProgress
from timeception.training.runs import Run
from timeception.training.schedule import learning_rate_factor

Logs = dict[str, Any]


class EpochSeeds(keras.callbacks.Callback):
    """Selects the epoch's clips and seeds dropout, so that resuming changes nothing."""

    def __init__(self, batches: TrainingBatches, seed: int) -> None:
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Seed before the first clip of the epoch is sampled."""
        self.batches.set_epoch(epoch)
        place = np.random.SeedSequence([self.seed, epoch])
        # On the PyTorch backend all layers share one random generator.
        set_random_seed(int(place.generate_state(1)[0]))
        states = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        numbers = place.generate_state(2 * len(states))
        for state, pair in zip(states, numbers.reshape(-1, 2) >> 1, strict=True):
            state.assign(pair)  # 31 bits: the PyTorch backend stores them as signed integers


class Metrics(keras.callbacks.Callback):
    """Renames the loss of an epoch in its logs, and adds the validation metrics.

    Metrics are computed once, over the whole split.
    """

    def __init__(self, data: TaskData, batch_size: int) -> None:
        super().__init__()
        self.data, self.batch_size = data, batch_size

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Change the logs before other callbacks read them; all share one dictionary."""
        if logs is None:
            return
        logs["train_loss"] = logs.pop("loss")
        split = self.data.validation
        if split is None:
            return
        scores = self.model.predict(UniformBatches(split, self.batch_size), verbose=0)
        loss = self.model.loss(split.targets, scores)
        logs["validation_loss"] = float(keras.ops.convert_to_numpy(loss))
        if not self.data.is_multilabel:
            # Softmax changes the order of clips within a class; a sigmoid would not.
            scores = keras.ops.convert_to_numpy(keras.ops.softmax(scores))
        result = mean_average_precision(scores, split.targets, self.data.classes)
        logs["validation_map"] = result.mean
        if not self.data.is_multilabel:
            logs["validation_accuracy"] = accuracy(scores, split.targets)


class Checkpoints(keras.callbacks.Callback):
    """Saves the last and the best weights with the optimiser's state, atomically.

    Args:
        every: epochs between two saves of ``last``.
        best: best validation mAP before this start of the training, if any.
    """

    def __init__(self, run: Run, every: int, best: float | None) -> None:
        super().__init__()
        self.run, self.every, self.best = run, every, best

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save ``best`` after a new best epoch, and ``last`` after every N-th epoch."""
        score = (logs or {}).get("validation_map")
        if score is not None and (self.best is None or score > self.best):
            self.best = score
            self._save("best")
        if (epoch + 1) % self.every == 0:
            self._save("last")

    def _save(self, name: str) -> None:
        path = weights_file(self.run, name)
        with replacing(path) as temporary:
            self.model.save_weights(temporary)


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Stops after a number of epochs without a better validation mAP.

    A resumed training continues the count of its earlier epochs.
    """

    def __init__(self, run: Run, batches: TrainingBatches, patience: int) -> None:
        super().__init__("validation_map", patience=patience, mode="max")
        self.run, self.batches = run, batches

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Take the best value, and the number of epochs since then, from the logs."""
        super().on_train_begin(logs)
        n_done = self.batches.epoch or 0
        curve = read_curves(self.run.logs).get("validation_map", {})
        values = [value for epoch, value in sorted(curve.items()) if epoch < n_done]
        if values:
            self.best = max(values)
            self.wait = len(values) - 1 - values.index(self.best)


class EpochLogs(keras.callbacks.Callback):
    """Writes each epoch's logs as a row of ``metrics.csv``, and passes them to the loggers.

    Keras' callbacks cannot be used: its TensorBoard callback requires TensorFlow on every backend,
    and its CSV callback adds an empty validation column for every name.

    Args:
        folder: the folder of this start of the training.
        loggers: from ``open_loggers``.
    """

    def __init__(self, folder: Path, loggers: Sequence[CurveLogger]) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.table, self.loggers, self.is_finished = folder / "metrics.csv", loggers, False

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the values at the step that Lightning would use."""
        step = int(self.model.optimizer.iterations) - 1
        values = {name: float(value) for name, value in sorted((logs or {}).items())}
        row = {"epoch": epoch, "step": step, **values}
        is_new = not self.table.exists()
        with self.table.open("a", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(row))
            if is_new:
                table.writeheader()
            table.writerow(row)
        for logger in self.loggers:
            logger.log({"epoch": epoch, **values}, step)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Note that the training was not interrupted."""
        self.is_finished = True

    def close(self) -> None:
        """Close the loggers; after an interruption, Keras does not end its callbacks."""
        for logger in self.loggers:
            logger.close(self.is_finished)


class Reports(keras.callbacks.Callback):
    """Reports the progress at the beginning and after each batch and each epoch."""

    def __init__(
        self, progress: TrainingProgress, on_progress: OnProgress, n_clips: int, n_batches: int
    ) -> None:
        super().__init__()
        self.progress, self.on_progress = progress, on_progress
        self.n_clips, self.n_batches = n_clips, n_batches

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Report what is about to be done."""
        self.on_progress(self.progress)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Count the clips seen so far."""
        n_epochs = self.progress.epoch - self.progress.first_epoch
        done = n_epochs + (batch + 1) / self.n_batches
        self.progress.n_clips_done = round(done * self.n_clips)
        self.on_progress(self.progress)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Report the metrics of a finished epoch."""
        self.progress.epoch = epoch + 1
        self.progress.metrics = {name: float(value) for name, value in (logs or {}).items()}
        self.on_progress(self.progress)


def make_callbacks(
    recipe: Recipe, data: TaskData, run: Run, batches: TrainingBatches, logs: EpochLogs
) -> list[keras.callbacks.Callback]:
    """Make the callbacks of a training, in the order in which they run."""
    settings = recipe.training
    schedule = keras.callbacks.LearningRateScheduler(
        lambda epoch: settings.learning_rate * learning_rate_factor(epoch, settings)
    )
    patience = settings.early_stopping_epochs
    return [
        EpochSeeds(batches, recipe.seed),
        schedule,
        Metrics(data, settings.batch_size),
        Checkpoints(run, settings.checkpoint_every, best_before(run.logs)),
        *([] if patience is None else [EarlyStopping(run, batches, patience)]),
        logs,  # last, so that a logged epoch has its checkpoint
    ]


def weights_file(run: Run, name: str) -> Path:
    """Path of the checkpoint ``best`` or ``last``."""
    return run.checkpoints / f"{name}.weights.h5"


def best_before(logs: Path) -> float | None:
    """Return the best validation mAP in earlier logs of the training, if any."""
    return max(read_curves(logs).get("validation_map", {}).values(), default=None)
