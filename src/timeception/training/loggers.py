"""Loggers of training curves besides ``metrics.csv``, for both frameworks.

Each uses the client of its service, writes on this machine unless an environment variable names a
server, and imports no TensorFlow. Packages are imported only when a training uses their logger.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from timeception.recipes.recipe import Recipe
from timeception.training.runs import Run
from timeception.training.without_tensorflow import keep_tensorflow_out_of_tensorboard

_RUN_TAG = "timeception.run"


class CurveLogger(Protocol):
    """Receives the values of each epoch."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values at a number of optimiser steps."""

    def close(self, is_finished: bool) -> None:
        """Write everything; ``is_finished`` is false after an interruption."""


class TensorBoardLogger:
    """Writes event files into the folder of this start of the training."""

    def __init__(self, recipe: Recipe, run: Run, folder: Path) -> None:
        keep_tensorflow_out_of_tensorboard()
        from tensorboard.summary import Writer

        self._writer = Writer(str(folder))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write one scalar per value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, is_finished: bool) -> None:
        """Close the file."""
        self._writer.close()


class WandbLogger:
    """Writes an offline run of Weights & Biases into the folder of this start of the training.

    ``WANDB_MODE=online`` sends it to the server at once. Resumed trainings make one run per start,
    in one group.
    """

    def __init__(self, recipe: Recipe, run: Run, folder: Path) -> None:
        import wandb

        name = run.root.absolute().name
        mode: Any = os.environ.get("WANDB_MODE", "offline")  # wandb refuses unknown modes
        self._run = wandb.init(
            dir=folder,
            mode=mode,
            project=os.environ.get("WANDB_PROJECT", "timeception"),
            group=name,
            name=f"{name}_{folder.name}",
            config=recipe.model_dump(mode="json"),
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values."""
        self._run.log(dict(values), step=step)

    def close(self, is_finished: bool) -> None:
        """End the run of this start."""
        self._run.finish(exit_code=0 if is_finished else 1)


class MlflowLogger:
    """Logs to the database ``RUN/logs/mlflow.db``, or to the server of ``MLFLOW_TRACKING_URI``.

    A resumed training continues its MLflow run.
    """

    def __init__(self, recipe: Recipe, run: Run, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        root = run.root.absolute()
        database = f"sqlite:///{(root / 'logs' / 'mlflow.db').as_posix()}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or database)
        experiment = self._client.get_experiment_by_name(recipe.name)
        number = experiment.experiment_id if experiment else self._create_experiment(recipe, root)
        earlier = (
            found.info.run_id
            for found in self._client.search_runs([number])
            if found.data.tags.get(_RUN_TAG) == str(root)
        )
        self._run_id: str = next(earlier, None) or self._create_run(number, recipe, root)
        self._client.update_run(self._run_id, "RUNNING")

    def _create_experiment(self, recipe: Recipe, root: Path) -> str:
        is_local = "MLFLOW_TRACKING_URI" not in os.environ
        artifacts = (root / "logs" / "mlflow_artifacts").as_uri() if is_local else None
        return str(self._client.create_experiment(recipe.name, artifacts))

    def _create_run(self, number: str, recipe: Recipe, root: Path) -> str:
        made = self._client.create_run(number, tags={_RUN_TAG: str(root)}, run_name=root.name)
        for section, fields in recipe.model_dump(mode="json").items():
            for name, value in fields.items() if isinstance(fields, dict) else [("", fields)]:
                key = f"{section}.{name}".rstrip(".")
                self._client.log_param(made.info.run_id, key, str(value)[:6000])
        return str(made.info.run_id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics)

    def close(self, is_finished: bool) -> None:
        """End the run, or mark it as killed."""
        self._client.set_terminated(self._run_id, "FINISHED" if is_finished else "KILLED")


_LOGGERS: dict[str, Callable[[Recipe, Run, Path], CurveLogger]] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "mlflow": MlflowLogger,
}


def require_loggers(names: Iterable[str]) -> None:
    """Check that the packages of the loggers are installed.

    Raises:
        ValueError: if one is not; the error says how to install it.
    """
    for name in names:
        if name in _LOGGERS and find_spec(name) is None:
            raise ValueError(
                f"training.loggers={name} requires {name}, which is not installed. Install it: "
                f"pip install 'timeception[{name}]'"
            )


def open_loggers(recipe: Recipe, run: Run, folder: Path) -> list[CurveLogger]:
    """Open the loggers that a recipe names, except ``csv``, which the frameworks write.

    Args:
        recipe: what is trained.
        run: its run folder.
        folder: the folder of this start of the training, ``logs/part_N``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _LOGGERS[name](recipe, run, folder) for name in recipe.training.loggers if name != "csv"
    ]
