"""What Keras does around each epoch: seeds, learning rate, validation, checkpoints, logs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tensorboard.summary import Writer

from timeception.clips.task_data import Problem
from timeception.files import replacing
from timeception.metrics import accuracy, mean_average_precision
from timeception.recipes.recipe import Recipe
from timeception.training.keras.data import DrawBatches, EquidistantBatches, to_numpy
from timeception.training.runs import Run
from timeception.training.schedule import learning_rate_factor

Logs = dict[str, Any]

_SEED_STATE = "seed_generator_state"


class EpochSeeds(keras.callbacks.Callback):
    """Chooses the epoch's draws, and seeds dropout: a resumed training equals an unstopped one."""

    def __init__(self, batches: DrawBatches, seed: int) -> None:
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before the first clip of the epoch is drawn."""
        self.batches.set_epoch(epoch)
        place = np.random.SeedSequence([self.seed, epoch])
        # PyTorch's backend has no random numbers of a layer's own: all come from one generator
        keras.utils.set_random_seed(int(place.generate_state(1)[0]))
        states = [v for v in self.model.variables if v.path.endswith(_SEED_STATE)]
        numbers = place.generate_state(2 * len(states))
        for state, pair in zip(states, numbers.reshape(-1, 2) >> 1, strict=True):
            state.assign(pair)  # 31 bits: PyTorch's backend holds them with a sign


class Metrics(keras.callbacks.Callback):
    """Names the loss of an epoch, and adds what the validation videos give, to its logs.

    Metrics are computed once, over the whole set.
    """

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__()
        self.problem, self.batch_size = problem, batch_size

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Before the callbacks that read the logs, which are one dictionary for all."""
        if logs is None:
            return
        logs["train_loss"] = logs.pop("loss")
        subset = self.problem.validation
        if subset is None:
            return
        scores = self.model.predict(EquidistantBatches(subset, self.batch_size), verbose=0)
        logs["validation_loss"] = float(to_numpy(self.model.loss(subset.targets, scores)))
        result = mean_average_precision(scores, subset.targets, self.problem.classes)
        logs["validation_map"] = result.mean
        if not self.problem.is_multilabel:
            logs["validation_accuracy"] = accuracy(scores, subset.targets)


class Checkpoints(keras.callbacks.Callback):
    """Keeps the last and the best weights, and the optimiser's state, each whole or not at all.

    Args:
        run: where to.
        every: epochs from one ``last`` to the next.
        best: the validation mAP that ``best`` has from earlier parts of the training, if any.
    """

    def __init__(self, run: Run, every: int, best: float | None) -> None:
        super().__init__()
        self.run, self.every, self.best = run, every, best

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save where the epoch is the best yet, and where an N-th epoch is done."""
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


class EpochLogs(keras.callbacks.Callback):
    """Writes each epoch's logs as a row of ``metrics.csv`` and as scalars for TensorBoard.

    Keras' own callbacks do not serve: the one for TensorBoard writes by TensorFlow, whatever the
    backend, and the one for CSV adds an empty column of validation for every name.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir(parents=True)
        self.table, self.writer = folder / "metrics.csv", Writer(str(folder))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """One row; one scalar a number, at the step that Lightning gives it."""
        step = int(self.model.optimizer.iterations) - 1
        row = {"epoch": epoch, "step": step, **dict(sorted((logs or {}).items()))}
        is_new = not self.table.exists()
        with self.table.open("a", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(row))
            if is_new:
                table.writeheader()
            table.writerow(row)
        for name, value in (logs or {}).items():
            self.writer.add_scalar(name, float(value), step)
        self.writer.flush()

    def close(self) -> None:
        """Close the file, also where training is cut short: then Keras ends no callback."""
        self.writer.close()


def make_callbacks(
    recipe: Recipe, problem: Problem, run: Run, batches: DrawBatches, logs: EpochLogs
) -> list[keras.callbacks.Callback]:
    """The callbacks of a training, in the order in which they act."""
    settings = recipe.training
    schedule = keras.callbacks.LearningRateScheduler(
        lambda epoch: settings.learning_rate * learning_rate_factor(epoch, settings)
    )
    return [
        EpochSeeds(batches, recipe.seed),
        schedule,
        Metrics(problem, settings.batch_size),
        Checkpoints(run, settings.checkpoint_every, best_before(run.logs)),
        logs,  # last: what is logged was kept
    ]


def weights_file(run: Run, name: str) -> Path:
    """Where the checkpoint ``best`` or ``last`` is."""
    return run.checkpoints / f"{name}.weights.h5"


def best_before(logs: Path) -> float | None:
    """The best validation mAP that earlier parts of the training logged, if any."""
    found = [
        float(row["validation_map"])
        for path in logs.glob("part_*/metrics.csv")
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        if row.get("validation_map")
    ]
    return max(found, default=None)
