"""Training: from a recipe to a run folder with a saved model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from timeception import checks
from timeception.clips.sampler import ClipSampler
from timeception.clips.task_data import (
    TaskData,
    check_bank,
    read_task_data,
    read_video_task_data,
    timestep_seconds,
)
from timeception.clips.timelines import TimelineSampler, read_timeline_data
from timeception.features.extraction.settings import has_2019_segments
from timeception.files import write_json
from timeception.recipes.recipe import Recipe
from timeception.training.build_head import head_spec
from timeception.training.curves import curves_drawn
from timeception.training.initialization import Start, find_start
from timeception.training.loggers import require_loggers
from timeception.training.processes import is_first
from timeception.training.progress import OnProgress, ignore
from timeception.training.runs import Run, new_run
from timeception.weights import write_folder

logger = logging.getLogger(__name__)

Report = Callable[[str], None]


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    report: Report = logger.info,
    on_progress: OnProgress = ignore,
) -> Run:
    """Train what a recipe names and save the model.

    Args:
        recipe: data, model and settings.
        out: the run folder; new, unless ``resume`` continues an interrupted run.
        resume: continue from the last checkpoint of an interrupted training.
        report: receives lines about loaded, skipped, new and frozen arrays.
        on_progress: called at the beginning and after each batch and epoch.

    Returns:
        The finished run.

    Raises:
        ValueError: if the data, the bank, ``init_from`` or the run folder do not fit the recipe.
    """
    recipe = recipe.with_absolute_paths()
    require_loggers(recipe.training.loggers)
    if not is_first(recipe.training):
        report, on_progress = ignore, ignore
    if recipe.is_end_to_end:
        return _train_end_to_end(recipe, Path(out), resume, report, on_progress)
    read = read_timeline_data if recipe.is_timeline else read_task_data
    data = read(recipe, is_augmented=True)
    check_bank(recipe, data)
    if not recipe.is_timeline:
        _large_enough(data)
    _, channels, height, width = data.train.sampler.shape()
    spec = head_spec(recipe, channels, len(data.classes), (height, width))
    start = find_start(recipe, spec, data.classes)
    trainer = _trainer_of(recipe.framework)
    _check_options(recipe, data, trainer)
    run = _begin(recipe, Path(out), resume, start, report)
    with _written_by_the_first(recipe) as is_writer:
        with curves_drawn(run, report) if is_writer else nullcontext():
            arrays = trainer.fit(recipe, data, run, spec, start, on_progress)
        if is_writer:
            saved = pipeline(recipe, data, data.features, (height, width))
            saved |= _thresholds(run)
            write_folder(run.model, spec, arrays, saved)
    return run


@contextmanager
def _written_by_the_first(recipe: Recipe) -> Iterator[bool]:
    """Yield whether this process writes the run; in the end, the others wait for what it writes."""
    yield is_first(recipe.training)
    if recipe.training.n_processes > 1:
        import torch.distributed

        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _large_enough(data: TaskData) -> TaskData:
    """Require two records, since batch normalisation cannot learn from one clip."""
    n_train = len(data.train)
    checks.require(n_train >= 2, "split train", "have at least 2 videos or windows", n_train)
    return data


def _trainer_of(framework: str) -> ModuleType:
    """Return the module that trains a head in a framework, and import the framework.

    ``timeception.FRAMEWORK`` is imported first, because it loads frameworks in a safe order.
    """
    try:
        import_module(f"timeception.{framework}")
        return import_module(f"timeception.training.{framework}.fit")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"framework={framework} requires {error.name}, which is not installed. "
            f"Install it (pip install 'timeception[{framework}]'; for another backend than "
            "TensorFlow, set KERAS_BACKEND), or train with framework=torch."
        ) from error


def _check_options(recipe: Recipe, data: TaskData, trainer: ModuleType) -> None:
    """Check that the options of training suit the data, before a run folder exists."""
    patience = recipe.training.early_stopping_epochs
    advice = "Name validation videos: data.split.validation or data.split.validation_fraction."
    is_valid = patience is None or data.validation is not None
    checks.require(
        is_valid,
        "training.early_stopping_epochs",
        "be null without a validation split",
        patience,
        advice,
    )
    trainer.check(recipe, data)


def _train_end_to_end(
    recipe: Recipe, out: Path, resume: bool, report: Report, on_progress: OnProgress
) -> Run:
    """Train backbone and head, in PyTorch."""
    from timeception.features.extraction.settings import extraction_settings
    from timeception.training.backbone_file import make_backbone, save_backbone, used
    from timeception.training.torch import fit as trainer

    if recipe.backbone is None:
        raise ValueError("end-to-end training requires a backbone section.")
    backbone = make_backbone(recipe.backbone)
    data = _large_enough(read_video_task_data(recipe, backbone.transform))
    _, _, *size = data.train.sampler.shape()
    channels, _, *maps = backbone.output_shape(backbone.frames_per_segment, size[0], size[1])
    height, width = recipe.sampling.map_size or maps
    spec = head_spec(recipe, channels, len(data.classes), (height, width))
    shapes = {name: tuple(tensor.shape) for name, tensor in used(backbone).items()}
    start = find_start(recipe, spec, data.classes, shapes)
    _check_options(recipe, data, trainer)
    run = _begin(recipe, out, resume, start, report)
    with _written_by_the_first(recipe) as is_writer:
        with curves_drawn(run, report) if is_writer else nullcontext():
            arrays = trainer.fit_end_to_end(recipe, data, run, spec, start, backbone, on_progress)
        if is_writer:
            stride, fps = recipe.backbone.stride_frames, recipe.backbone.fps
            features = extraction_settings(backbone, stride, fps=fps)
            features["backbone"] = save_backbone(backbone, run.model)
            saved = pipeline(recipe, data, features, (height, width)) | _thresholds(run)
            write_folder(run.model, spec, arrays, saved)
    return run


def _begin(recipe: Recipe, out: Path, resume: bool, start: Start, report: Report) -> Run:
    """Create or reopen the run folder; record and report what training starts from.

    Of several processes, the first does so before it starts or meets the others.
    """
    if not is_first(recipe.training):
        return Run(out)
    run = new_run(out, recipe, resume=resume)
    write_json(run.start_file, start.to_dict())
    for line in start.lines():
        report(line)
    return run


def pipeline(
    recipe: Recipe, data: TaskData, features: dict[str, Any], maps: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Return what the saved model needs besides weights: classes, sampling, origin of features.

    ``maps`` are the height and width of the maps that the head takes.
    """
    windows = recipe.data.windows
    # The times of imported features are unknown; the segments of 2019 may overlap.
    has_times = bool(features.get("backbone")) and not has_2019_segments(features)
    task = "multi-label" if data.is_multilabel else "single-label"
    more = {"step_labels": recipe.data.step_labels, "background": recipe.data.background}
    return {
        "recipe": recipe.name,
        "task": "timeline" if recipe.is_timeline else task,
        **(more if recipe.is_timeline else {}),
        "classes": list(data.classes),
        "sampling": recipe.sampling.model_dump(mode="json"),
        "windows": windows.model_dump(mode="json") if windows else None,
        "features": features,
        "feature_maps": None if maps is None else list(maps),
        "timestep_seconds": _timestep_seconds(data) if has_times else None,
    }


def _thresholds(run: Run) -> dict[str, Any]:
    """Return the tuned thresholds of a run, if there are any, for the saved model."""
    if not run.thresholds_file.is_file():
        return {}
    return {"thresholds": json.loads(run.thresholds_file.read_text(encoding="utf-8"))}


def _timestep_seconds(data: TaskData) -> float:
    sampler: ClipSampler | TimelineSampler = data.train.sampler
    if isinstance(sampler, TimelineSampler):
        return sampler.step_seconds()
    return timestep_seconds(sampler)
