"""Training: from a recipe to a run folder with a saved model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from timeception import checks
from timeception.clips.task_data import (
    Problem,
    build_problem,
    build_video_problem,
    timestep_seconds,
)
from timeception.files import write_json
from timeception.recipes.recipe import Recipe
from timeception.training.build_head import head_spec
from timeception.training.initialization import Start, find_start
from timeception.training.runs import Run, new_run
from timeception.weights import write_folder

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    tell: Tell = logger.info,
) -> Run:
    """Train what a recipe names and save the model.

    Args:
        recipe: what to do.
        out: the run folder; made new, or returned to with ``resume``.
        resume: go on from the last checkpoint of an interrupted training.
        tell: takes lines about what was loaded, skipped, newly made and frozen.

    Raises:
        ValueError: if the data, the bank, the start or the run folder do not fit the recipe.
    """
    recipe = recipe.with_absolute_paths()
    if recipe.is_end_to_end:
        return _train_end_to_end(recipe, Path(out), resume, tell)
    problem = _large_enough(build_problem(recipe))
    _, channels, height, width = problem.train.draws.shape()
    spec = head_spec(recipe, channels, len(problem.classes), (height, width))
    start = find_start(recipe, spec, problem.classes)
    fit = _fit_of(recipe.framework)
    run = _begin(recipe, Path(out), resume, start, tell)
    arrays = fit(recipe, problem, run, spec, start)
    write_folder(run.model, spec, arrays, pipeline(recipe, problem, problem.features))
    return run


def _large_enough(problem: Problem) -> Problem:
    """Batch normalisation cannot learn from one clip."""
    n_train = len(problem.train)
    checks.require(n_train >= 2, "split train", "have at least 2 videos or windows", n_train)
    return problem


def _fit_of(framework: str) -> Callable[..., dict[str, NDArray[Any]]]:
    """How a framework trains a head; the framework is imported here alone.

    Our own package comes first: it sees to the order in which frameworks are loaded.
    """
    try:
        import_module(f"timeception.{framework}")
        return import_module(f"timeception.training.{framework}.fit").fit
    except ModuleNotFoundError as error:
        raise ValueError(f"framework={framework} needs {error.name}: install it.") from error


def _train_end_to_end(recipe: Recipe, out: Path, resume: bool, tell: Tell) -> Run:
    """Train the backbone with the head; in PyTorch, in which the backbones are."""
    from timeception.features.extraction.settings import extraction_settings
    from timeception.training.backbone_file import make_backbone, save_backbone, used
    from timeception.training.torch.fit import fit_end_to_end

    if recipe.backbone is None:
        raise ValueError("end-to-end training needs a backbone section.")
    backbone = make_backbone(recipe.backbone)
    problem = _large_enough(build_video_problem(recipe, backbone.transform))
    _, _, *size = problem.train.draws.shape()
    channels, _, *maps = backbone.output_shape(backbone.frames_per_segment, size[0], size[1])
    height, width = recipe.sampling.map_size or maps
    spec = head_spec(recipe, channels, len(problem.classes), (height, width))
    shapes = {name: tuple(tensor.shape) for name, tensor in used(backbone).items()}
    start = find_start(recipe, spec, problem.classes, shapes)
    run = _begin(recipe, out, resume, start, tell)
    arrays = fit_end_to_end(recipe, problem, run, spec, start, backbone)
    features = extraction_settings(backbone, recipe.backbone.stride_frames)
    features["backbone"] = save_backbone(backbone, run.model)
    write_folder(run.model, spec, arrays, pipeline(recipe, problem, features))
    return run


def _begin(recipe: Recipe, out: Path, resume: bool, start: Start, tell: Tell) -> Run:
    """Make or return to the run folder, and tell what training starts from."""
    run = new_run(out, recipe, resume=resume)
    write_json(run.start_file, start.to_dict())
    for line in start.lines():
        tell(line)
    return run


def pipeline(recipe: Recipe, problem: Problem, features: dict[str, Any]) -> dict[str, Any]:
    """What surrounds the network, saved in its config: classes, sampling, how features are made."""
    windows = recipe.data.windows
    # Imported features have times of their own kind; the segments of 2019 may repeat.
    has_times = bool(features.get("backbone")) and features.get("frames_2019") is None
    return {
        "recipe": recipe.name,
        "task": "multi-label" if problem.is_multilabel else "single-label",
        "classes": list(problem.classes),
        "sampling": recipe.sampling.model_dump(mode="json"),
        "windows": windows.model_dump(mode="json") if windows else None,
        "features": features,
        "timestep_seconds": timestep_seconds(problem.train.draws) if has_times else None,
    }
