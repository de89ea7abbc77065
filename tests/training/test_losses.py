"""The loss of a batch and the step it gives, worked out by hand; in PyTorch and in Keras alike."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
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
from timeception.clips.task_data import read_task_data
from timeception.training.torch.module import Training
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

CLASSES = ("cut", "pour", "stir")
SINGLE = {"a": ("pour",), "b": ("cut",), "c": ("stir",), "d": ("pour",)}
MULTI = {"a": ("cut", "pour"), "b": ("stir",), "c": ("pour",), "d": ("cut", "pour", "stir")}
VALIDATION = {"e": ("cut",), "f": ("pour",), "g": ("stir",)}
CASES = {
    "single-label": (SINGLE, 0.0),
    "single-label, smoothed": (SINGLE, 0.3),
    "multi-label": (MULTI, 0.0),
}


def targets_of(labels: dict[str, tuple[str, ...]]) -> np.ndarray:
    return np.array([[float(name in row) for name in CLASSES] for row in labels.values()])


def loss_and_gradient(
    logits: np.ndarray, targets: np.ndarray, is_multilabel: bool, smoothing: float
) -> tuple[float, np.ndarray]:
    """The mean over the batch, and its gradient by the bias of the last layer (n_classes,)."""
    n_clips, n_classes = logits.shape
    if is_multilabel:  # the mean over clips and classes of -log p where it occurs, else -log (1-p)
        p = 1 / (1 + np.exp(-logits))
        loss = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()
        return loss, (p - targets).mean(0) / n_classes
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = (1 - smoothing) * targets + smoothing / n_classes
    return -(wanted * np.log(p)).sum() / n_clips, (p - wanted).mean(0)


@pytest.mark.parametrize("case", CASES)
def test_one_step_of_training(case: str, framework: str, tmp_path: Path) -> None:
    """One batch of four videos: the logged losses, and where one step of SGD takes the bias."""
    labels, smoothing = CASES[case]
    rows = [(name, ";".join(names), "train") for name, names in labels.items()]
    rows += [(name, ";".join(names), "validation") for name, names in VALIDATION.items()]
    root = write_data(tmp_path, rows)
    arrays = saved_head(tmp_path / "start", CLASSES)
    recipe = small_recipe(
        root,
        framework=framework,
        init_from=str(tmp_path / "start"),
        training__optimizer="sgd",
        training__momentum=0.0,
        training__learning_rate=0.5,
        training__label_smoothing=smoothing,
    )
    run = train(recipe, tmp_path / "run")
    is_multilabel = labels is MULTI
    settings = (is_multilabel, smoothing)
    logits = pooling_logits(arrays, features_of(root, list(labels)), is_training=True)
    loss, gradient = loss_and_gradient(logits, targets_of(labels), *settings)
    assert curve(run, "train_loss") == [pytest.approx(loss, abs=1e-5)]
    after = load_file(run.model / "model.safetensors")
    np.testing.assert_allclose(
        after["output.bias"], arrays["output.bias"] - 0.5 * gradient, atol=1e-5
    )
    logits = pooling_logits(after, features_of(root, list(VALIDATION)), is_training=False)
    loss, _ = loss_and_gradient(logits, targets_of(VALIDATION), *settings)
    assert curve(run, "validation_loss") == [pytest.approx(loss, abs=1e-5)]


LOGITS = ((log(6), log(3), 0.0), (0.0, 0.0, 0.0))  # softmax .6, .3, .1 and thirds
WORKED = {
    "single-label": (SINGLE, 0.0, ("cut", "stir"), (-log(0.6) - log(1 / 3)) / 2),
    "of the other class": (SINGLE, 0.0, ("pour", "cut"), (-log(0.3) - log(1 / 3)) / 2),
    "smoothed": (
        *(SINGLE, 0.3, ("cut", "stir")),
        (-0.8 * log(0.6) - 0.1 * log(0.3) - 0.1 * log(0.1) - log(1 / 3)) / 2,
    ),
    "multi-label": (
        *(MULTI, 0.0, ("cut", "stir")),
        # sigmoids 6/7, 3/4, 1/2; and three of 1/2
        (-log(6 / 7) - log(1 / 4) - log(1 / 2) - 3 * log(1 / 2)) / 6,
    ),
}


def loss_of(
    framework: str,
    folder: Path,
    is_multilabel: bool,
    smoothing: float,
    logits: np.ndarray,
    targets: np.ndarray,
    **options: object,
) -> float:
    """The loss that training takes of a batch."""
    labels = MULTI if is_multilabel else SINGLE
    rows = [(name, ";".join(names), "train") for name, names in labels.items()]
    fields = {f"training__{name}": value for name, value in options.items()}
    recipe = small_recipe(
        write_data(folder, rows),
        framework=framework,
        training__label_smoothing=smoothing,
        **fields,
    )
    data = read_task_data(recipe)
    if framework == "keras":
        from timeception.training.keras.losses import make_loss

        return float(make_loss(recipe.training, data)(targets, logits))
    module = Training(torch.nn.Identity(), data, recipe)
    return float(module.loss(torch.from_numpy(logits), torch.from_numpy(targets)))


@pytest.mark.parametrize("case", WORKED)
def test_worked_losses(case: str, framework: str, tmp_path: Path) -> None:
    """Of two clips whose probabilities are round numbers."""
    labels, smoothing, wanted, expected = WORKED[case]
    logits = np.array(LOGITS, np.float32)
    targets = np.array([[float(c == name) for c in CLASSES] for name in wanted], np.float32)
    loss = loss_of(framework, tmp_path, labels is MULTI, smoothing, logits, targets)
    assert loss == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("is_multilabel", [False, True])
def test_large_logits_are_no_infinite_loss(
    is_multilabel: bool, framework: str, tmp_path: Path
) -> None:
    """A clip that is wrong by 200: the loss is the distance, never infinite or none."""
    logits, targets = np.array([[200.0, 0.0]], "f"), np.array([[0.0, 1.0]], "f")
    expected = (200 + log(2)) / 2 if is_multilabel else 200.0
    loss = loss_of(framework, tmp_path, is_multilabel, 0.0, logits, targets)
    assert loss == pytest.approx(expected, rel=1e-6)


def sigmoid_losses(
    name: str, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray, smoothing: float
) -> np.ndarray:
    """Multi-label losses (N, n_classes), from their papers' formulas."""
    p, t = 1 / (1 + np.exp(-logits)), targets * (1 - smoothing) + smoothing / 2
    if name == "bce":
        return -(weights * t * np.log(p) + (1 - t) * np.log(1 - p))
    if name == "focal":
        p_t = p * t + (1 - p) * (1 - t)
        cross_entropy = -(t * np.log(p) + (1 - t) * np.log(1 - p))
        return (1 + (weights - 1) * t) * (1 - p_t) ** 2 * cross_entropy
    q = np.minimum(1 - p + 0.05, 1)  # the probability of a negative, with the margin
    p_t = p * t + q * (1 - t)
    return -(weights * t * np.log(p) + (1 - t) * np.log(q)) * (1 - p_t) ** (t + 4 * (1 - t))


def softmax_losses(
    name: str, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray, smoothing: float
) -> np.ndarray:
    """Single-label losses (N,)."""
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    t = targets * (1 - smoothing) + smoothing / targets.shape[1]
    factor = {
        "cross_entropy": np.ones_like(p),
        "focal": (1 - p) ** 2,
        "asymmetric": np.where(targets > 0, 1 - p, p**4),
    }[name]
    return (targets @ weights) * -(t * factor * np.log(p)).sum(1)


#: Of SINGLE: n / (3 n_positives); of MULTI: n_negatives / n_positives.
BALANCED = {False: [4 / 3, 4 / 6, 4 / 3], True: [2 / 2, 1 / 3, 2 / 2]}
GIVEN = {"pour": 3.0}


@pytest.mark.parametrize("weights", [None, "balanced", GIVEN], ids=["equal", "balanced", "given"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    ("name", "is_multilabel"),
    [
        ("cross_entropy", False),
        ("bce", True),
        *((name, task) for name in ("focal", "asymmetric") for task in (False, True)),
    ],
)
def test_every_loss_and_its_options(
    name: str,
    is_multilabel: bool,
    smoothing: float,
    weights: object,
    framework: str,
    tmp_path: Path,
) -> None:
    if (framework, name) == ("keras", "asymmetric"):
        with pytest.raises(ValueError, match="asymmetric requires framework=torch; Keras offers"):
            small_recipe(tmp_path, framework=framework, training__loss=name)
        return
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (5, 3)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 1]]
    if is_multilabel:
        targets[0] = 1
    each = {None: [1.0] * 3, "balanced": BALANCED[is_multilabel]}
    values = np.array([1.0, 3.0, 1.0] if weights is GIVEN else each[weights])
    losses = (sigmoid_losses if is_multilabel else softmax_losses)(
        name, np.float64(logits), targets, values, smoothing
    )
    options = {"loss": name, "class_weights": weights}
    loss = loss_of(framework, tmp_path, is_multilabel, smoothing, logits, targets, **options)
    assert loss == pytest.approx(losses.mean(), rel=1e-5)


def test_weights_of_an_unknown_class(framework: str, tmp_path: Path) -> None:
    rows = [(name, ";".join(names), "train") for name, names in SINGLE.items()]
    recipe = small_recipe(
        write_data(tmp_path, rows), framework=framework, training__class_weights={"por": 2.0}
    )
    with pytest.raises(ValueError, match=r"training\.class_weights must be one of .*'por'"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_of_the_other_task_leaves_no_run(framework: str, tmp_path: Path) -> None:
    rows = [(name, ";".join(names), "train") for name, names in SINGLE.items()]
    recipe = small_recipe(write_data(tmp_path, rows), framework=framework, training__loss="bce")
    with pytest.raises(ValueError, match=r"training\.loss must be"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
