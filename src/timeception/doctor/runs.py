"""Checks of a run folder or of a saved model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from timeception.clips.task_data import read_task_data
from timeception.doctor.advice import Advice, Track, examples
from timeception.doctor.recipes import check_recipe
from timeception.doctor.videos import Trained
from timeception.features.bank import FeatureBank
from timeception.inference.model_features import check_model_bank
from timeception.inference.saved_model import load_saved
from timeception.training.curves import read_curves
from timeception.training.runs import Run
from timeception.weights.folder import read_folder


def load_trained(path: Path) -> Trained | None:
    """Load the model of a run or model folder; ``None`` if it cannot be loaded."""
    try:
        model = load_saved(path)
    except (ValueError, OSError):
        return None
    run = Run(path)
    if not run.recipe_file.is_file():
        return Trained(model)
    try:
        bank = FeatureBank(run.recipe().data.bank or "")
        rates = [bank[name].fps for name in bank.video_ids]
    except (ValueError, OSError):
        return Trained(model)
    return Trained(model, float(np.median(rates)) if rates else None)


def check_run(path: Path, track: Track = iter) -> Iterator[Advice]:
    """Check a run: its training, its model, its data as they are now."""
    run, place = Run(path), f"run {path}"
    try:
        recipe = run.recipe()
    except ValueError as error:
        yield Advice("recipe", place, str(error), "Restore recipe.yaml, or train again.")
        return
    lost = sorted(
        name
        for name, values in read_curves(run.logs).items()
        if not all(map(math.isfinite, values.values()))
    )
    if lost:
        what = f"the training diverged: not finite in its logs: {', '.join(lost)}"
        cure = "Train again with a lower training.learning_rate, or with training.warmup_epochs."
        yield Advice("diverged", place, what, cure)
    if not run.is_finished:
        cure = f"timeception train {run.recipe_file} --out {path} --resume"
        yield Advice("unfinished", place, "its training has not finished", cure)
    else:
        yield from check_model(run.model)
        yield from _against_now(run, place)
    yield from check_recipe(recipe, place, track)


def _against_now(run: Run, place: str) -> Iterator[Advice]:
    """Compare the model with the bank and the annotations as they are now."""
    recipe = run.recipe()
    trained = load_trained(run.root)
    if trained is None or recipe.is_end_to_end:
        return
    cure = "Restore what the run was trained on, or train again."
    try:
        check_model_bank(trained.model, FeatureBank(recipe.data.bank or ""))
        classes = read_task_data(recipe).classes
    except (ValueError, OSError) as error:
        yield Advice("model-bank", place, str(error), cure)
        return
    if classes != trained.model.classes:
        changed = sorted(set(classes) ^ set(trained.model.classes)) or ["their order"]
        what = f"the annotations have other classes than the model ({examples(changed)})"
        yield Advice("classes-changed", place, what, cure)


def check_model(folder: Path) -> Iterator[Advice]:
    """Check a saved-model folder: its description, its weights, its backbone's file."""
    place = f"model {folder}"
    try:
        _, arrays, pipeline = read_folder(folder)
    except (ValueError, OSError) as error:
        yield Advice("model-file", place, str(error), "Copy the whole folder again.")
        return
    bad = sorted(name for name, array in arrays.items() if not np.isfinite(array).all())
    if bad:
        what = f"weights are not finite ({examples(bad)})"
        yield Advice("not-finite", place, what, "Train again with a lower learning rate.")
    if pipeline is None:
        what = "was saved without class names, sampling and features"
        cure = "Save it by `timeception train`, or set model.pipeline before save_pretrained."
        yield Advice("no-pipeline", place, what, cure)
        return
    file = ((pipeline.get("features") or {}).get("backbone") or {}).get("weights") or {}
    source = str(file.get("source") or "")
    if Path(source).is_absolute() and not Path(source).exists():
        what = f"the backbone's weights have moved: {source} does not exist"
        yield Advice("weights-moved", place, what, "Pass --weights FILE to predict.")


def check_results(run: Run) -> Iterator[Advice]:
    """Check the results of tests: whether they left out records."""
    for path in sorted(run.results.glob("*.json")):
        try:
            left_out = json.loads(path.read_text(encoding="utf-8")).get("left_out") or []
        except (ValueError, AttributeError):
            yield Advice("results", f"{path}", "is not a report of a test", "Test the run again.")
            continue
        if left_out:
            what = f"the test left out videos ({examples(left_out)}): the figures are of the others"
            yield Advice("left-out", f"{path}", what, "Extract them, and test the run again.")
