"""The run folder: all that a training leaves behind, and what testing adds.

RUN/recipe.yaml      the resolved recipe
RUN/start.json       what training started from: loaded, skipped, new and frozen arrays
RUN/checkpoints/     to resume from
RUN/logs/part_N/     metrics.csv and TensorBoard events of the N-th start of the training
RUN/model/           the saved model: safetensors and config.json
RUN/results/         one JSON and one CSV per test
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
        """What training started from."""
        return self.root / "start.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of training states."""
        return self.root / "checkpoints"

    @property
    def logs(self) -> Path:
        """Folder of curves."""
        return self.root / "logs"

    def next_logs(self) -> Path:
        """The folder of curves of the next start of the training, which keeps the earlier ones."""
        return self.logs / f"part_{len(list(self.logs.glob('part_*'))) + 1}"

    @property
    def model(self) -> Path:
        """Folder of the saved model."""
        return self.root / "model"

    @property
    def results(self) -> Path:
        """Folder of test results."""
        return self.root / "results"

    @property
    def is_finished(self) -> bool:
        """Whether training ran to its end."""
        return (self.model / CONFIG_FILE).is_file()

    def recipe(self) -> Recipe:
        """The recipe that the run was trained with."""
        return load_recipe(self.recipe_file)


def new_run(root: Path, recipe: Recipe, *, resume: bool) -> Run:
    """Make the run folder, or return to one that was interrupted.

    Raises:
        ValueError: if the folder holds another run; if ``resume`` is told and the recipe differs
            from the one that the run began with.
    """
    run = Run(root)
    if not run.recipe_file.exists():
        if root.exists() and any(root.iterdir()):
            raise ValueError(f"{root} is not empty and holds no run. Choose another --out.")
        write_text(run.recipe_file, recipe.to_yaml())
        return run
    if run.is_finished:
        raise ValueError(f"{root} holds a finished run. Choose another --out, or remove it.")
    if not resume:
        raise ValueError(f"{root} holds an unfinished run. Tell --resume, or another --out.")
    began = run.recipe()
    if began != recipe:
        changed = [
            f"  {name}: began with {old!r}, now {new!r}"
            for name, old, new in _differences(began.model_dump(), recipe.model_dump())
        ]
        raise ValueError("\n".join([f"{root} began with another recipe:", *changed]))
    return run


def find_run(source: str | Path) -> Run:
    """Return the run at ``source``.

    Raises:
        ValueError: if there is none, or its training did not finish.
    """
    run = Run(Path(source))
    if not run.recipe_file.is_file():
        raise ValueError(f"{source} is no run folder: it has no recipe.yaml. Train one first.")
    if not run.is_finished:
        raise ValueError(f"the training of {source} did not finish. Resume it: train --resume.")
    return run


def model_folder(source: str | Path) -> Path:
    """Folder of the model at ``source``: a run's, a saved model's own, or a copy from the hub.

    Raises:
        ValueError: if there is none, or a training did not finish.
    """
    is_model = (Path(source) / CONFIG_FILE).is_file()
    if Run(Path(source)).recipe_file.is_file() and not is_model:
        return find_run(source).model
    return local_folder(source)


def _differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(prefix, old, new)]
    found = []
    for key in old | new:
        name = f"{prefix}.{key}" if prefix else key
        found += _differences(old.get(key), new.get(key), name)
    return found
