"""The run folder: what training and testing write.

RUN/recipe.yaml      the resolved recipe
RUN/start.json       what training started from: loaded, skipped, new and frozen arrays
RUN/thresholds.json  thresholds of multi-label classes, if there are validation videos
RUN/checkpoints/     training states, to resume from
RUN/logs/part_N/     metrics.csv of the N-th start of the training, and files of other loggers
RUN/curves.png       loss, validation metrics and learning rate over the epochs
RUN/model/           the saved model: safetensors and config.json
RUN/results/         one JSON and one CSV file per test
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timeception.files import write_text
from timeception.recipes.recipe import Recipe, load_recipe
from timeception.weights.folder import CONFIG_FILE, local_folder


@dataclass(frozen=True)
class Run:
    """Paths of one run folder."""

    root: Path

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe."""
        return self.root / "recipe.yaml"

    @property
    def start_file(self) -> Path:
        """Record of what training started from."""
        return self.root / "start.json"

    @property
    def thresholds_file(self) -> Path:
        """Thresholds of the classes, tuned on the validation split."""
        return self.root / "thresholds.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the training states."""
        return self.root / "checkpoints"

    @property
    def logs(self) -> Path:
        """Folder of the training curves."""
        return self.root / "logs"

    @property
    def curves_file(self) -> Path:
        """Picture of the training curves."""
        return self.root / "curves.png"

    def next_logs(self) -> Path:
        """Return a new folder for curves; each start of the training has one."""
        return self.logs / f"part_{len(list(self.logs.glob('part_*'))) + 1}"

    @property
    def model(self) -> Path:
        """Folder of the saved model."""
        return self.root / "model"

    @property
    def results(self) -> Path:
        """Folder of the test results."""
        return self.root / "results"

    @property
    def is_finished(self) -> bool:
        """Whether training has finished."""
        return (self.model / CONFIG_FILE).is_file()

    def recipe(self) -> Recipe:
        """Read the recipe of the run."""
        return load_recipe(self.recipe_file)


def new_run(root: Path, recipe: Recipe, *, resume: bool) -> Run:
    """Create the run folder, or reopen the folder of an interrupted run.

    Raises:
        ValueError: if the folder holds something else, a finished run, or an unfinished one that
            ``resume`` does not continue or whose recipe differs.
    """
    run = Run(root)
    if not run.recipe_file.exists():
        if root.exists() and any(root.iterdir()):
            raise ValueError(f"{root} is not empty and is not a run folder. Choose another --out.")
        write_text(run.recipe_file, recipe.to_yaml())
        return run
    if run.is_finished:
        raise ValueError(f"{root} holds a finished run. Choose another --out, or remove it.")
    if not resume:
        raise ValueError(
            f"{root} holds an unfinished run. Add --resume to continue it, or choose another --out."
        )
    require_same_recipe(run, recipe)
    return run


def require_same_recipe(run: Run, recipe: Recipe) -> None:
    """Check that a run began with a recipe.

    Raises:
        ValueError: if it began with another one; the error lists each difference.
    """
    began = run.recipe()
    if began != recipe:
        changed = [
            f"  {name}: {old!r} in the run, {new!r} now"
            for name, old, new in differences(began.model_dump(), recipe.model_dump())
        ]
        advice = "Resume it with its own recipe, or choose another --out."
        raise ValueError("\n".join([f"{run.root} began with another recipe:", *changed, advice]))


def find_run(source: str | Path) -> Run:
    """Return the finished run at ``source``.

    Raises:
        ValueError: if it is not a run folder, or its training has not finished.
    """
    run = Run(Path(source))
    if not run.recipe_file.is_file():
        raise ValueError(
            f"{source} is not a run folder: it has no recipe.yaml. Train a model first."
        )
    if not run.is_finished:
        raise ValueError(
            f"the training of {source} has not finished. Resume it: "
            f"timeception train {run.recipe_file} --out {source} --resume"
        )
    return run


def model_folder(source: str | Path) -> Path:
    """Return the folder of a saved model: in a run, a model folder, or downloaded from the hub.

    Raises:
        ValueError: if there is no model, or its training has not finished.
    """
    is_model = (Path(source) / CONFIG_FILE).is_file()
    if Run(Path(source)).recipe_file.is_file() and not is_model:
        return find_run(source).model
    return local_folder(source)


def differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Return the dotted name, old and new value of every difference between nested mappings."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(prefix, old, new)]
    found = []
    for key in old | new:
        name = f"{prefix}.{key}" if prefix else key
        found += differences(old.get(key), new.get(key), name)
    return found
