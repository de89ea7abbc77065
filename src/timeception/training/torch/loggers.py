"""The loggers of a recipe as one Lightning logger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from timeception.recipes.recipe import Recipe
from timeception.training.loggers import CurveLogger, open_loggers
from timeception.training.runs import Run


class Loggers(Logger):
    """Passes the values of each epoch on; only the first process writes.

    Args:
        recipe: names the loggers.
        run: the run folder.
        folder: the folder of this start of the training.
    """

    def __init__(self, recipe: Recipe, run: Run, folder: Path) -> None:
        super().__init__()
        self._recipe, self._run, self._folder = recipe, run, folder
        self._opened: list[CurveLogger] | None = None

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self._recipe.name

    @property
    def version(self) -> str:
        """Name of the folder."""
        return self._folder.name

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the loggers record the recipe when they are opened."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log values; the loggers are opened with the first."""
        if self._opened is None:
            self._opened = open_loggers(self._recipe, self._run, self._folder)
        for logger in self._opened:
            logger.log(metrics, step or 0)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the loggers once."""
        opened, self._opened = self._opened or [], None
        for logger in opened:
            logger.close(status == "success")
