"""The weights that are kept are those of the epoch whose validation mAP is the highest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.training.small_runs import (
    FRAMEWORK_WARNINGS,
    curve,
    cut_power,
    small_recipe,
    write_data,
)
from timeception.evaluation.evaluate import evaluate
from timeception.recipes.recipe import Recipe
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

N_EPOCHS, N_TRAIN = 6, 4
SEEDS = (14, 10, *range(10))  # the first does, unless a framework changes what it draws


def noise(root: Path, seed: int, framework: str) -> Recipe:
    """Features that say nothing, so that the validation mAP goes up and down.

    Multi-label: a sigmoid keeps the order of the videos, so that the test gives the same mAP.
    """
    labels = ("cut", "pour", "stir")
    rows = [(f"t{n}", labels[n % 3], "train") for n in range(N_TRAIN)]
    rows += [(f"v{n}", labels[n % 3], "validation") for n in range(9)]
    if not root.exists():
        root.mkdir()
        write_data(root, rows, seed=seed)
    return small_recipe(
        root,
        framework=framework,
        data__task="multi-label",
        training__optimizer="sgd",
        training__learning_rate=2.0,
        training__epochs=N_EPOCHS,
        training__checkpoint_every=1,
    )


def goes_up_down_and_up(values: list[float]) -> bool:
    """The best comes neither first nor near the end, once; others follow the worst."""
    best, worst = int(np.argmax(values)), int(np.argmin(values))
    is_inside = 0 < best < len(values) - 3 and values.count(max(values)) == 1
    return is_inside and worst != len(values) - 1


def kept_map(run: object) -> float:
    """The validation mAP of the saved model."""
    report = evaluate(run, n_draws=1, split="validation")
    return report.equidistant.mean_average_precision


def test_the_best_epoch_is_kept(framework: str, tmp_path: Path) -> None:
    for seed in SEEDS:
        recipe = noise(tmp_path / f"data{seed}", seed, framework)
        run = train(recipe, tmp_path / f"run{seed}")
        values = curve(run, "validation_map")
        assert len(values) == N_EPOCHS
        lowest = int(np.argmin(curve(run, "validation_loss")))
        if goes_up_down_and_up(values) and lowest != int(np.argmax(values)):
            break
    assert goes_up_down_and_up(values) and lowest != int(np.argmax(values))
    assert kept_map(run) == pytest.approx(max(values), abs=1e-6)


def test_an_earlier_part_counts(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best epoch lies before the cut: what follows is worse, and does not replace it."""
    for seed in SEEDS:
        root = tmp_path / str(seed)
        whole = train(noise(root, seed, framework), root / "whole")
        values = curve(whole, "validation_map")
        if goes_up_down_and_up(values):
            break
    n_before = int(np.argmax(values)) + 1
    with monkeypatch.context() as patch:  # Keras draws the first batches twice, for their shape
        cut_power(patch, N_TRAIN * (n_before + 2))
        with pytest.raises(Exception, match="the power went out"):
            train(noise(root, seed, framework), root / "cut")
    resumed = train(noise(root, seed, framework), root / "cut", resume=True)
    assert curve(resumed, "validation_map") == pytest.approx(values, abs=1e-6)
    assert kept_map(resumed) == pytest.approx(max(values), abs=1e-6)
    expected = load_file(whole.model / "model.safetensors")
    for name, array in load_file(resumed.model / "model.safetensors").items():
        np.testing.assert_allclose(array, expected[name], atol=1e-5, err_msg=name)


def test_without_validation_the_last_epoch_is_kept(framework: str, tmp_path: Path) -> None:
    """Two epochs and then a third, or three at once: the same weights, other than after two."""
    rows = [(f"t{n}", ("cut", "pour")[n % 2], "train") for n in range(4)]
    root = write_data(tmp_path, rows)
    kept = {}
    for n_epochs in (2, 3):
        settings = {"training__epochs": n_epochs, "training__optimizer": "sgd"}
        recipe = small_recipe(root, framework=framework, **settings)
        run = train(recipe, tmp_path / f"run{n_epochs}")
        losses = curve(run, "train_loss")
        assert len(losses) == n_epochs
        kept[n_epochs] = load_file(run.model / "model.safetensors")["output.bias"], losses
    assert kept[3][1][:2] == pytest.approx(kept[2][1], abs=1e-6)
    assert np.abs(kept[3][0] - kept[2][0]).max() > 1e-4
