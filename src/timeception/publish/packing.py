"""Packing of a trained model: weights, model card, recipe and hashes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from timeception import checks
from timeception.files import write_text
from timeception.publish.model_card import model_card
from timeception.training.runs import Run, find_run
from timeception.weights.folder import BACKBONE_FILE, CONFIG_FILE, WEIGHTS_FILE, write_hashes

CARD_FILE, RECIPE_FILE = "README.md", "recipe.yaml"


def pack(run: str | Path, out: str | Path, *, licence: str = "gpl-3.0") -> Path:
    """Pack the model of a finished run.

    Args:
        run: The run folder. If it has ``results/test.json``, the card shows the results.
        out: New folder, for ``from_pretrained``, ``timeception predict`` and the Hugging Face hub.
        licence: Licence of the weights in the hub's spelling. The training data and the backbone
            may require another one.

    Returns:
        ``out``.

    Raises:
        ValueError: If the run is not finished, or ``out`` is not empty.
    """
    found, out = find_run(run), Path(out)
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    checks.require(is_free, "out", "be a new or empty folder", str(out))
    out.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, WEIGHTS_FILE, BACKBONE_FILE):
        if (found.model / name).is_file():
            shutil.copyfile(found.model / name, out / name)
    write_text(out / RECIPE_FILE, _recipe_text(found))
    hashes = write_hashes(out)
    write_text(out / CARD_FILE, model_card(found, hashes, licence))
    return out


def _recipe_text(run: Run) -> str:
    """The recipe, with only the last part of every path."""
    recipe = run.recipe()
    places = ("source", "bank", "videos")
    paths = {name: getattr(recipe.data, name) for name in places}
    data = {name: Path(path.name) for name, path in paths.items() if path is not None}
    changes: dict[str, Any] = {"data": recipe.data.model_copy(update=data)}
    if recipe.init_from:
        changes["init_from"] = Path(recipe.init_from).name
    if recipe.backbone and recipe.backbone.weights:
        weights = {"weights": Path(recipe.backbone.weights).name}
        changes["backbone"] = recipe.backbone.model_copy(update=weights)
    return recipe.model_copy(update=changes).to_yaml()
