"""Every field of the training section changes a training with Keras, or is refused there."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.training.small_runs import (
    FRAMEWORK_WARNINGS,
    curve,
    saved_head,
    small_recipe,
    write_data,
)
from timeception.clips.task_data import read_task_data
from timeception.recipes.keras_limits import KERAS_REFUSES
from timeception.recipes.recipe import Recipe
from timeception.recipes.sections import TrainingSection
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
CLASSES = ("cut", "pour")
NAMES = tuple("abcdefgh")
SGD: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1}

#: By field, a value other than the default, and the other fields that make it matter.
WEIGHTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "epochs": (3, {}),
    "batch_size": (8, {}),
    "accumulate_batches": (2, {}),
    "loss": ("focal", {}),
    "class_weights": ({"cut": 5.0}, SGD),
    "optimizer": ("adamw", {"weight_decay": 0.5}),
    "learning_rate": (0.02, {}),
    "epsilon": (0.1, {}),
    "weight_decay": (0.1, {}),
    "momentum": (0.1, SGD),
    "nesterov": (True, SGD),
    "schedule": ("cosine", {}),
    "warmup_epochs": (2, {}),
    "label_smoothing": (0.3, SGD),
    "mixup": (1.0, {}),
    "clip_norm": (0.001, SGD),
    "freeze": (("output.*",), {}),
}
REFUSED: dict[str, Any] = {
    "scheme": "end_to_end",
    "devices": 2,
    "nodes": 2,
    "strategy": "ddp",
    "precision": "bf16-mixed",
    "step_smoothing": 0.3,
    "ema_decay": 0.9,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training and two validation videos of two classes, and a head to start from."""
    root = tmp_path_factory.mktemp("fields")
    rows = [(name, CLASSES[number % 2], "train") for number, name in enumerate(NAMES)]
    write_data(root, [*rows, ("i", "cut", "validation"), ("j", "pour", "validation")])
    saved_head(root / "start", CLASSES)
    return root


def recipe_of(root: Path, *, is_validated: bool = False, **options: Any) -> Recipe:
    """Two epochs; without a validation split, the last weights are saved."""
    fields = {f"training__{name}": value for name, value in ({"epochs": 2} | options).items()}
    start = str(root / "start")
    recipe = small_recipe(root, framework="keras", init_from=start, **fields)
    if is_validated:
        return recipe
    split = type(recipe.data.split)(train=list(NAMES), test=["i", "j"])
    data = recipe.data.model_copy(update={"split": split})
    return recipe.model_copy(update={"data": data})


@pytest.fixture(scope="module")
def arrays_of(root: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Trains with the given options, once for the same options; returns the saved arrays."""
    pytest.importorskip("tests.keras")

    @cache
    def trained(words: tuple[tuple[str, Any], ...]) -> dict[str, np.ndarray]:
        name = "run_" + re.sub(r"\W+", "_", str(words))
        run = train(recipe_of(root, **dict(words)), root / name)
        return load_file(run.model / "model.safetensors")

    return lambda **options: trained(tuple(sorted(options.items())))


def test_every_field_is_covered() -> None:
    others = {"early_stopping_epochs", "workers", "checkpoint_every", "loggers"}
    assert WEIGHTS.keys() | REFUSED.keys() | others == TrainingSection.model_fields.keys()


@pytest.mark.parametrize("field", WEIGHTS)
def test_a_field_changes_the_weights(
    field: str, root: Path, arrays_of: Callable[..., dict[str, np.ndarray]]
) -> None:
    value, others = WEIGHTS[field]
    if field == "class_weights":  # a mapping cannot be a key
        run = train(recipe_of(root, class_weights=value, **others), root / "class_weights")
        changed = load_file(run.model / "model.safetensors")
    else:
        changed = arrays_of(**others, **{field: value})
    plain = arrays_of(**others)
    moved = max(np.abs(changed[name] - array).max() for name, array in plain.items())
    assert moved > 1e-4


@pytest.mark.parametrize("field", REFUSED)
def test_a_field_is_refused(field: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {}
    if field == "scheme":
        more = {"data__videos": str(tmp_path), "backbone": {"name": "efficientnet_lite0"}}
    with pytest.raises(ValueError, match=rf"training\.{field}.* requires"):
        small_recipe(tmp_path, framework="keras", **more, **{f"training__{field}": REFUSED[field]})


def test_step_smoothing_is_of_timelines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step_smoothing requires data\.task=timeline.* got 0\.3"):
        small_recipe(tmp_path, training__step_smoothing=0.3)


@pytest.mark.parametrize(("optimizer", "momentum"), [("adam", 0.9), ("adamw", 0.9), ("sgd", 0.0)])
def test_nesterov_has_a_momentum(optimizer: str, momentum: float, tmp_path: Path) -> None:
    options = {"training__optimizer": optimizer, "training__momentum": momentum}
    with pytest.raises(ValueError, match=rf"nesterov=true requires.*got {optimizer} and"):
        small_recipe(tmp_path, training__nesterov=True, **options)


def test_the_page_lists_every_field() -> None:
    """The columns of docs/training.md: what PyTorch and Keras honour."""
    rows = re.findall(
        r"^\| `(\w+)` \| (yes|no)\b[^|]* \| (yes|no)\b", PAGE.read_text("utf-8"), re.M
    )
    documented = {name: (torch, keras) for name, torch, keras in rows}
    refused = KERAS_REFUSES.keys() | {"step_smoothing"}
    assert documented == {
        name: ("yes", "no" if name in refused else "yes") for name in TrainingSection.model_fields
    }


def test_early_stopping_epochs(root: Path) -> None:
    pytest.importorskip("tests.keras")
    options = {"learning_rate": 1e-12, "epochs": 9, "early_stopping_epochs": 2}
    run = train(recipe_of(root, is_validated=True, **options), root / "stopped")
    assert len(curve(run, "validation_map")) == 3


def test_workers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tests.keras")
    from timeception.training.keras.data import TrainingBatches

    recipe = recipe_of(root, workers=3)
    assert TrainingBatches(read_task_data(recipe).train, recipe).n_threads == 3


@pytest.mark.parametrize(("every", "is_saved"), [(2, True), (3, False)])
def test_checkpoint_every(every: int, is_saved: bool, root: Path) -> None:
    pytest.importorskip("tests.keras")
    run = train(recipe_of(root, checkpoint_every=every), root / f"every_{every}")
    assert (run.checkpoints / "last.weights.h5").exists() == is_saved
