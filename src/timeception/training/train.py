"""Training: from a recipe to a run folder with a saved model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from timeception.training.problem import Problem, build_problem
from timeception.training.recipe import Recipe
from timeception.training.runs import Run, new_run

logger = logging.getLogger(__name__)


def train(recipe: Recipe, out: str | Path, *, resume: bool = False) -> Run:
    """Train the recipe's head on its bank and save the model.

    Args:
        recipe: what to do.
        out: the run folder; made new, or returned to with ``resume``.
        resume: go on from the last checkpoint of an interrupted training.

    Raises:
        ValueError: if the data, the bank or the run folder do not fit the recipe.
    """
    from timeception.training import fit_torch
    from timeception.training.heads import build_head

    recipe = recipe.with_absolute_paths()
    problem = build_problem(recipe)
    run = new_run(Path(out), recipe, resume=resume)
    fit_torch.seed(recipe.seed)
    head: Any = build_head(recipe, problem.train.draws.shape(), len(problem.classes))
    head = fit_torch.fit(head, problem, recipe, run)
    head.pipeline = pipeline(recipe, problem)
    head.save_pretrained(run.model)
    return run


def pipeline(recipe: Recipe, problem: Problem) -> dict[str, Any]:
    """What surrounds the network, saved in its config: classes, sampling, the bank's settings."""
    windows = recipe.data.windows
    return {
        "recipe": recipe.name,
        "task": "multi-label" if problem.is_multilabel else "single-label",
        "classes": list(problem.classes),
        "sampling": recipe.sampling.model_dump(mode="json"),
        "windows": windows.model_dump(mode="json") if windows else None,
        "features": problem.train.draws.bank.settings,
    }
