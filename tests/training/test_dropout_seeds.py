"""Dropout differs by seed, epoch and batch, and repeats: also where a training is resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.small_runs import (
    FRAMEWORK_WARNINGS,
    curve,
    cut_power,
    saved_head,
    small_recipe,
    write_data,
)
from timeception.recipes.recipe import Recipe
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

N_VIDEOS, BATCH, N_EPOCHS = 4, 2, 3


def equal_videos(root: Path, framework: str = "torch", **changes: object) -> Recipe:
    """Videos that are all the same, and a rate so low that only dropout makes losses differ."""
    if not root.exists():
        root.mkdir()
        write_data(root, [(f"t{n}", "cut;stir", "train") for n in range(N_VIDEOS)], are_equal=True)
    return small_recipe(
        root,
        framework=framework,
        model__dropout=[0.5, 0.5],
        training__epochs=N_EPOCHS,
        training__batch_size=BATCH,
        training__optimizer="sgd",
        training__learning_rate=1e-30,
        training__checkpoint_every=1,
        **changes,
    )


def test_losses_differ_by_epoch_and_seed_and_repeat(framework: str, tmp_path: Path) -> None:
    losses = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        recipe = equal_videos(tmp_path / "data", framework, seed=seed)
        losses[name] = curve(train(recipe, tmp_path / name), "train_loss")
    assert len({round(loss, 6) for loss in losses["first"]}) == N_EPOCHS
    assert losses["again"] == pytest.approx(losses["first"], abs=1e-6)
    assert np.abs(np.subtract(losses["other"], losses["first"])).min() > 1e-5


def test_the_seed_alone_changes_what_is_dropped(framework: str, tmp_path: Path) -> None:
    """From the same first values, in the same epoch."""
    saved_head(tmp_path / "start", ("cut", "stir"))
    losses = []
    for seed in (0, 1):
        changes = {"seed": seed, "init_from": str(tmp_path / "start")}
        run = train(equal_videos(tmp_path / "data", framework, **changes), tmp_path / str(seed))
        losses.append(curve(run, "train_loss"))
    assert np.abs(np.subtract(*losses)).min() > 1e-5


def test_a_resumed_training_drops_what_an_unstopped_one_does(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = equal_videos(tmp_path / "data", framework)
    whole = curve(train(recipe, tmp_path / "whole"), "train_loss")
    with monkeypatch.context() as patch:
        cut_power(patch, after=2 * N_VIDEOS)
        with pytest.raises(Exception, match="the power went out"):
            train(recipe, tmp_path / "cut")
    resumed = train(recipe, tmp_path / "cut", resume=True)
    assert curve(resumed, "train_loss") == pytest.approx(whole, abs=1e-6)
    assert len(list(resumed.logs.glob("part_*"))) == 2


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, ...]]:
    """What PyTorch's dropout keeps, call after call, in training."""
    found: list[tuple[bool, ...]] = []
    dropout = torch.nn.functional.dropout

    def spy(x: torch.Tensor, p: float = 0.5, training: bool = True, **more: bool) -> torch.Tensor:
        result = dropout(torch.ones_like(x), p, training, **more)
        if training:
            found.append(tuple((result != 0).flatten().tolist()))
        return result * x

    monkeypatch.setattr(torch.nn.functional, "dropout", spy)
    return found


def test_every_batch_of_every_epoch_has_masks_of_its_own(
    tmp_path: Path, masks: list[tuple[bool, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = equal_videos(tmp_path / "data")
    train(recipe, tmp_path / "whole")
    whole = list(masks)
    assert len(whole) == 2 * N_EPOCHS * N_VIDEOS // BATCH  # before either linear layer
    assert len(set(whole)) == len(whole)
    assert 0.3 < np.mean([kept for mask in whole for kept in mask]) < 0.7
    masks.clear()
    with monkeypatch.context() as patch:
        cut_power(patch, after=N_VIDEOS)
        with pytest.raises(RuntimeError, match="the power went out"):
            train(recipe, tmp_path / "cut")
    assert masks == whole[:4]
    masks.clear()
    train(recipe, tmp_path / "cut", resume=True)
    assert masks == whole[4:]
