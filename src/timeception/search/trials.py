"""The trials of a search: training, validation per epoch, and the tables of the results."""

from __future__ import annotations

import csv
import io
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any

from timeception.clips.dataset import read_dataset
from timeception.clips.task_data import clip_source
from timeception.evaluation.cross_validation import divide
from timeception.files import write_text
from timeception.recipes.recipe import Recipe, build_recipe
from timeception.training.curves import read_curves, save_figure
from timeception.training.progress import OnProgress, TrainingProgress
from timeception.training.runs import Run
from timeception.training.train import train

METRIC = "validation_map"
logger = logging.getLogger(__name__)

#: Receives the metric after an epoch, and the number of the epoch over all folds, from 1.
OnEpoch = Callable[[float, int], None]

#: Returns what receives the progress of a training, given its name.
ProgressOf = Callable[[str], OnProgress]


@dataclass(frozen=True)
class TrialResult:
    """One trial.

    Args:
        number: from 1.
        state: ``complete``, ``pruned`` or ``failed``.
        value: the metric; ``None`` if it is not complete.
        epochs: epochs after which the metric was measured, over all folds.
        seconds: how long it took.
        settings: value of each field that varies.
        error: why it failed.
    """

    number: int
    state: str
    value: float | None
    epochs: int
    seconds: float
    settings: Mapping[str, Any]
    error: str = ""

    def __str__(self) -> str:
        shown = {
            "complete": f"{METRIC} {self.value or 0:.4f}",
            "pruned": f"pruned after {self.epochs} epochs",
            "failed": f"failed: {self.error}",
        }
        return f"trial {self.number}: {shown[self.state]}"


def validation_splits(
    recipe: Recipe, n_folds: int | None, group: str | None
) -> dict[str, dict[str, Any]]:
    """Return, by the name of a training, the changes to ``data.split`` that it makes.

    Test videos are in no split of any fold. Without folds, there is one training, on the recipe's
    own split.

    Raises:
        ValueError: without folds, if the recipe has no validation split.
    """
    dataset, _ = read_dataset(recipe.data, clip_source(recipe))
    if n_folds is None and group is None:
        if "validation" not in dataset.splits:
            raise ValueError(
                "a search requires videos in split validation, which the recipe does not have. "
                "Set data.split.validation_fraction=0.25, or pass --folds or --group."
            )
        return {"": {}}
    kept = tuple(r for r in dataset.records if r.split in ("train", "validation"))
    folds = divide(replace(dataset, records=kept), recipe, n_folds, group)
    everything = {name for fold in folds for name in fold.test}
    return {
        f"fold_{fold.name}": {
            "train": [escape(name) for name in sorted(everything - set(fold.test))],
            "validation": [escape(name) for name in fold.test],
            "test": [],
            "test_fraction": 0.0,
            "validation_fraction": 0.0,
        }
        for fold in folds
    }


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe with the settings of a trial.

    Raises:
        ValueError: if they do not fit together.
    """
    fields = recipe.model_dump(mode="json")
    for key, value in settings.items():
        *sections, leaf = key.split(".")
        inner = fields
        for section in sections:
            inner = inner[section]
        inner[leaf] = value
    return build_recipe(fields, "the settings")


def run_trial(
    recipe: Recipe,
    splits: Mapping[str, dict[str, Any]],
    folder: Path,
    on_epoch: OnEpoch,
    progress_of: ProgressOf,
) -> float:
    """Train on every split; return the mean of the best validation mAPs.

    What an interrupted trial has trained is continued. Checkpoints are removed at the end.

    Args:
        recipe: with the trial's settings.
        splits: from ``validation_splits``.
        folder: the run folder; with folds, the folder of their run folders.
        on_epoch: may raise an exception to end the trial.
        progress_of: returns what receives the progress of a training, given its name.
    """
    values: list[float] = []
    for index, (name, split) in enumerate(splits.items()):
        fields = recipe.model_dump(mode="json")
        fields["data"]["split"].update(split)
        job = build_recipe(fields).with_absolute_paths()
        run = Run(folder / name)
        if run.recipe_file.exists() and run.recipe() != job:
            shutil.rmtree(run.root)  # of an earlier version of the search space
        if not run.is_finished:
            n_before = index * recipe.training.epochs
            watch = _Watch(run, values, n_before, on_epoch, progress_of(name))
            _train(job, run, watch)
        values.append(_best(run))
    return mean(values)


def _train(recipe: Recipe, run: Run, watch: OnProgress) -> None:
    """Train, or continue; only an interrupted training keeps its checkpoints."""
    is_begun = run.recipe_file.exists()
    try:
        train(recipe, run.root, resume=is_begun, report=logger.info, on_progress=watch)
    except Exception:
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        raise
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def _best(run: Run) -> float:
    """The best validation mAP of a training."""
    values = read_curves(run.logs)[METRIC].values()
    best = max((value for value in values if value == value), default=None)
    if best is None:
        raise ValueError("the validation mAP is not a number: no class has a positive record")
    return best


class _Watch:
    """Reports the metric of each finished epoch, the mean with earlier folds."""

    def __init__(
        self,
        run: Run,
        earlier: Sequence[float],
        n_epochs_before: int,
        on_epoch: OnEpoch,
        on_progress: OnProgress,
    ) -> None:
        self._earlier, self._before = tuple(earlier), n_epochs_before
        self._on_epoch, self._on_progress = on_epoch, on_progress
        self._epoch = 0
        self._best = max(read_curves(run.logs).get(METRIC, {}).values(), default=0.0)

    def __call__(self, progress: TrainingProgress) -> None:
        """Receive the progress of a training."""
        self._on_progress(progress)
        if progress.epoch == self._epoch or METRIC not in progress.metrics:
            return
        self._epoch = progress.epoch
        self._best = max(self._best, progress.metrics[METRIC])
        self._on_epoch(mean([*self._earlier, self._best]), self._before + self._epoch)


def write_table(trials: Sequence[TrialResult], path: Path) -> None:
    """Write one row per trial."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.settings))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["trial", "state", METRIC, "epochs", "seconds", "error", *keys])
    for one in trials:
        values = [one.settings.get(key, "") for key in keys]
        value = "" if one.value is None else one.value
        row = [one.number, one.state, value, one.epochs, f"{one.seconds:.1f}", one.error]
        table.writerow([*row, *values])
    write_text(path, text.getvalue())


def draw_history(trials: Sequence[TrialResult], path: Path) -> None:
    """Draw the metric of each complete trial, and the best so far; needs matplotlib."""
    done = [(one.number, one.value) for one in trials if one.value is not None]
    if not done or find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), dpi=100)
    axes: Any = figure.subplots()
    numbers, values = zip(*done, strict=True)
    axes.plot(numbers, values, "o", label="complete trial")
    best = [max(values[: index + 1]) for index in range(len(values))]
    axes.step(numbers, best, where="post", label="best so far")
    pruned = [one.number for one in trials if one.state == "pruned"]
    if pruned:
        low = min(values)
        axes.plot(pruned, [low] * len(pruned), "x", color="gray", label="pruned (no value)")
    axes.set_xlabel("trial")
    axes.set_ylabel("validation mAP")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    figure.subplots_adjust(left=0.12, right=0.97, bottom=0.14, top=0.96)
    save_figure(figure, path)


def best_of(trials: Sequence[TrialResult]) -> TrialResult | None:
    """The complete trial with the highest value; the first of equals."""
    done = [one for one in trials if one.value is not None]
    return max(done, key=lambda one: one.value or 0.0, default=None)
