"""Progress of a training, as both frameworks report it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from timeception.clips.task_data import TaskData
from timeception.recipes.recipe import Recipe

_SHOWN = {
    "train_loss": "loss",
    "validation_loss": "validation loss",
    "validation_map": "validation mAP",
    "validation_accuracy": "validation accuracy",
}


@dataclass
class TrainingProgress:
    """How far a training is; frameworks update it before each report.

    Args:
        name: name of the recipe.
        classes: number of classes.
        splits: number of records by split.
        n_epochs: epochs of the whole training.
        first_epoch: finished epochs before this start of the training.
        epoch: finished epochs.
        n_clips_done: clips of this start that training has seen.
        metrics: values of the last finished epoch by name, as in the logs.
    """

    name: str
    classes: int
    splits: dict[str, int]
    n_epochs: int
    first_epoch: int = 0
    epoch: int = 0
    n_clips_done: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, data: TaskData) -> TrainingProgress:
        """Return the progress at the beginning of a training."""
        sizes = {name: len(split) for name, split in data.splits.items() if name}
        return cls(recipe.name, len(data.classes), sizes, recipe.training.epochs)

    @property
    def n_clips(self) -> int:
        """Clips that this start of the training has to see."""
        return self.splits["train"] * (self.n_epochs - self.first_epoch)

    @property
    def is_over(self) -> bool:
        """Whether the last epoch is finished."""
        return self.epoch >= self.n_epochs

    def plan(self) -> str:
        """Say what was found, and what is about to be done."""
        sizes = ", ".join(f"{count} {name}" for name, count in self.splits.items())
        resumed = f", from epoch {self.first_epoch + 1}" if self.first_epoch else ""
        return (
            f"{sum(self.splits.values())} records of {self.classes} classes ({sizes}); "
            f"training {self.name} for {self.n_epochs} epochs{resumed}"
        )

    def __str__(self) -> str:
        """The finished epochs and the metrics of the last one."""
        values = (
            f", {title} {self.metrics[name]:.3f}"
            for name, title in _SHOWN.items()
            if name in self.metrics
        )
        return f"{self.epoch}/{self.n_epochs} epochs{''.join(values)}"


OnProgress = Callable[[TrainingProgress], None]


def ignore(progress: object) -> None:
    """Report nothing."""
