"""Whole trainings by hand: optimisers and their settings, the rate of every epoch, freezing.

All videos have the same features and labels, and all is frozen but the bias of the last layer, so
that a training is a sum that a few lines of numpy can follow.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.training.small_runs import (
    FRAMEWORK_WARNINGS,
    curve,
    features_of,
    pooling_logits,
    saved_head,
    small_recipe,
    write_data,
)
from timeception.recipes.sections import TrainingSection
from timeception.training.schedule import learning_rate_factor
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

CLASSES = ("cut", "pour", "stir")
WANTED = np.array([1.0, 0.0, 1.0])
N_VIDEOS, BATCH = 4, 2
ALL_BUT_THE_BIAS = ["hidden.*", "norm.*", "output.weight"]

Step = Callable[[np.ndarray, np.ndarray, float, int], np.ndarray]


def sgd(momentum: float, is_nesterov: bool = False, decay: float = 0.0) -> Step:
    total = np.zeros(3)

    def step(value: np.ndarray, gradient: np.ndarray, rate: float, number: int) -> np.ndarray:
        nonlocal total
        gradient = gradient + decay * value
        total = momentum * total + gradient
        return value - rate * (gradient + momentum * total if is_nesterov else total)

    return step


def adam(epsilon: float, l2: float = 0.0, decoupled: float = 0.0) -> Step:
    first, second = np.zeros(3), np.zeros(3)

    def step(value: np.ndarray, gradient: np.ndarray, rate: float, number: int) -> np.ndarray:
        nonlocal first, second
        gradient = gradient + l2 * value
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        mean, square = first / (1 - 0.9**number), second / (1 - 0.999**number)
        return value * (1 - rate * decoupled) - rate * mean / (np.sqrt(square) + epsilon)

    return step


SETTINGS: dict[str, tuple[dict[str, object], Callable[[], Step]]] = {
    "plain": ({"optimizer": "sgd", "momentum": 0.0}, lambda: sgd(0.0)),
    "the default momentum": ({"optimizer": "sgd"}, lambda: sgd(0.9)),
    "momentum": ({"optimizer": "sgd", "momentum": 0.6}, lambda: sgd(0.6)),
    "nesterov": ({"optimizer": "sgd", "nesterov": True}, lambda: sgd(0.9, True)),
    "weight decay": ({"optimizer": "sgd", "weight_decay": 0.2}, lambda: sgd(0.9, decay=0.2)),
    "adam": ({}, lambda: adam(1e-4)),
    "epsilon": ({"epsilon": 0.05}, lambda: adam(0.05)),
    "adam, weight decay": ({"weight_decay": 0.2}, lambda: adam(1e-4, l2=0.2)),
    "adamw": (
        *({"optimizer": "adamw", "weight_decay": 0.2, "epsilon": 1e-3},),
        lambda: adam(1e-3, decoupled=0.2),
    ),
}


def cosine(epoch: int, n_epochs: int, n_warm: int) -> float:
    if epoch < n_warm:
        return (epoch + 1) / (n_warm + 1)
    return 0.5 + 0.5 * cos(pi * (epoch - n_warm) / (n_epochs - n_warm))


@pytest.mark.parametrize("name", SETTINGS)
def test_each_optimiser_with_a_warm_up_and_a_cosine(
    name: str, framework: str, tmp_path: Path
) -> None:
    fields, make = SETTINGS[name]
    rows = [(f"t{n}", "cut;stir", "train") for n in range(N_VIDEOS)] + [("v", "pour", "test")]
    root = write_data(tmp_path, rows, are_equal=True)
    arrays = saved_head(tmp_path / "start", CLASSES)
    rate, n_epochs, n_warm = 0.3, 4, 1
    training = {"epochs": n_epochs, "batch_size": BATCH, "learning_rate": rate, **fields}
    schedule = {"schedule": "cosine", "warmup_epochs": n_warm, "freeze": ALL_BUT_THE_BIAS}
    recipe = small_recipe(
        root,
        framework=framework,
        init_from=str(tmp_path / "start"),
        training={**training, **schedule},
    )
    run = train(recipe, tmp_path / "run")

    step, number = make(), 0
    value = np.float64(arrays["output.bias"])
    logits = pooling_logits(arrays, features_of(root, ["t0"]), is_training=False)[0] - value
    losses = []
    for epoch in range(n_epochs):
        losses.append([])
        for _ in range(N_VIDEOS // BATCH):
            number += 1
            p = 1 / (1 + np.exp(-(logits + value)))
            losses[-1].append(-np.log(np.where(WANTED == 1, p, 1 - p)).mean())
            rate_now = rate * cosine(epoch, n_epochs, n_warm)
            value = step(value, (p - WANTED) / len(WANTED), rate_now, number)

    after = load_file(run.model / "model.safetensors")
    np.testing.assert_allclose(after["output.bias"], value, atol=5e-5)
    assert np.abs(value - arrays["output.bias"]).max() > 0.05
    assert curve(run, "train_loss") == pytest.approx(np.mean(losses, axis=1).tolist(), abs=1e-5)
    for frozen in set(after) - {"output.bias"}:
        np.testing.assert_array_equal(after[frozen], arrays[frozen], err_msg=frozen)


def factors(**fields: object) -> list[float]:
    settings = TrainingSection(**fields)
    return [round(learning_rate_factor(epoch, settings), 4) for epoch in range(settings.epochs)]


def test_the_learning_rate_of_every_epoch() -> None:
    assert factors(epochs=3) == [1.0, 1.0, 1.0]
    assert factors(epochs=4, warmup_epochs=3) == [0.25, 0.5, 0.75, 1.0]
    assert factors(epochs=4, schedule="cosine") == [1.0, 0.8536, 0.5, 0.1464]
    assert factors(epochs=6, schedule="cosine", warmup_epochs=2) == [
        *(0.3333, 0.6667, 1.0, 0.8536, 0.5, 0.1464),
    ]
    assert factors(epochs=2, schedule="cosine", warmup_epochs=2) == [0.3333, 0.6667]
    beyond = TrainingSection(epochs=2, schedule="cosine")
    assert learning_rate_factor(5, beyond) == pytest.approx(0.0, abs=1e-12)
    assert (
        learning_rate_factor(2, TrainingSection(epochs=2, schedule="cosine", warmup_epochs=2)) == 1
    )


def test_what_is_frozen_stays_and_the_rest_moves(framework: str, tmp_path: Path) -> None:
    """A norm that is not frozen as a whole takes part in training."""
    rows = [(f"t{n}", ("cut", "pour", "stir")[n % 3], "train") for n in range(6)]
    root = write_data(tmp_path, rows)
    arrays = saved_head(tmp_path / "start", CLASSES)
    recipe = small_recipe(
        root,
        framework=framework,
        init_from=str(tmp_path / "start"),
        training__epochs=2,
        training__batch_size=6,
        training__freeze=["hidden.weight", "norm.bias", "output.bias"],
        training__weight_decay=0.1,
    )
    after = load_file(train(recipe, tmp_path / "run").model / "model.safetensors")
    moved = {name for name in arrays if not np.array_equal(after[name], arrays[name])}
    trained = {"hidden.bias", "norm.weight", "output.weight"}
    assert moved == trained | {"norm.running_mean", "norm.running_var"}
