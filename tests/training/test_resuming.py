"""A training that was broken off goes on from its last checkpoint, and ends as one that was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.order_recipe import table
from tests.training.small_runs import (
    FRAMEWORK_WARNINGS,
    curve,
    cut_power,
    small_recipe,
    write_data,
)
from timeception.recipes.recipe import Recipe
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

N_VIDEOS, N_EPOCHS = 4, 5


def recipe_of(root: Path, framework: str, every: int) -> Recipe:
    """Adam, whose state matters, a schedule, and clips that differ by epoch."""
    if not root.exists():
        root.mkdir()
        rows = [(f"t{n}", ("cut", "pour")[n % 2], "train") for n in range(N_VIDEOS)]
        write_data(root, rows, n_steps=40)
    return small_recipe(
        root,
        framework=framework,
        training__epochs=N_EPOCHS,
        training__batch_size=2,
        training__schedule="cosine",
        training__checkpoint_every=every,
        model__dropout=[0.3, 0.2],
    )


@pytest.mark.parametrize("every", [1, 2, 3, 10])
def test_it_goes_on_after_the_last_checkpoint(
    framework: str, every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power fails in the fifth epoch; the epochs since the last checkpoint are done again.

    In Keras it may fail in the fourth, for the first batches are drawn once more for their shape.
    """
    recipe = recipe_of(tmp_path / "data", framework, every)
    with monkeypatch.context() as patch:
        cut_power(patch, after=4 * N_VIDEOS + 3)
        with pytest.raises(Exception, match="the power went out"):
            train(recipe, tmp_path / "cut")
    resumed = train(recipe, tmp_path / "cut", resume=True)
    rows = table(resumed.logs / "part_2" / "metrics.csv")
    epochs = [int(row["epoch"]) for row in rows if row["train_loss"]]
    assert epochs[0] in {n_done // every * every for n_done in (3, 4)}
    assert epochs == list(range(epochs[0], N_EPOCHS))
    whole = train(recipe, tmp_path / "whole")
    assert curve(resumed, "train_loss")[-1] == pytest.approx(
        curve(whole, "train_loss")[-1], abs=1e-6
    )
    expected = load_file(whole.model / "model.safetensors")
    for name, array in load_file(resumed.model / "model.safetensors").items():
        np.testing.assert_allclose(array, expected[name], atol=1e-6, err_msg=name)


def test_without_resume_nothing_is_taken_up(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(tmp_path / "data", framework, 1)
    with monkeypatch.context() as patch:
        cut_power(patch, after=N_VIDEOS + 3)
        with pytest.raises(Exception, match="the power went out"):
            train(recipe, tmp_path / "cut")
    before = {path: path.read_bytes() for path in (tmp_path / "cut").rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="holds an unfinished run"):
        train(recipe, tmp_path / "cut")
    assert {path: path.read_bytes() for path in before} == before
