"""Clipping, accumulation, averages of weights, early stopping and mixup, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.training.small_runs import (
    FRAMEWORK_WARNINGS,
    curve,
    cut_power,
    features_of,
    pooling_logits,
    saved_head,
    small_recipe,
    write_data,
)
from timeception.clips.mixup import sample_mixture
from timeception.recipes.recipe import Recipe
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

CLASSES = ("cut", "pour")
NAMES = tuple("abcdefgh")
#: Without batch normalisation, the gradient of a batch is the mean of its clips' gradients.
STILL_NORMS = ["norm.*"]


def recipe_of(root: Path, framework: str = "torch", **options: object) -> Recipe:
    """Eight training and two validation videos of two classes; plain SGD."""
    rows = [(name, CLASSES[number % 2], "train") for number, name in enumerate(NAMES)]
    rows += [("i", "cut", "validation"), ("j", "pour", "validation")]
    if not (root / "bank").exists():
        write_data(root, rows)
        saved_head(root / "start", CLASSES)
    chosen = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.5, "batch_size": 8} | options
    fields = {f"training__{name}": value for name, value in chosen.items()}
    return small_recipe(root, framework=framework, init_from=str(root / "start"), **fields)


def trained(root: Path, name: str, framework: str, **options: object) -> dict[str, np.ndarray]:
    """Arrays of the last epoch: no validation split chooses another."""
    recipe = recipe_of(root, framework, **options)
    split = {"train": list(NAMES), "test": ["i", "j"]}
    data = recipe.data.model_copy(update={"split": type(recipe.data.split)(**split)})
    run = train(recipe.model_copy(update={"data": data}), root / name)
    return load_file(run.model / "model.safetensors")


def test_clip_norm(framework: str, tmp_path: Path) -> None:
    """One step of SGD moves all parameters together by the learning rate times the norm."""
    free = trained(tmp_path, "free", framework)
    clipped = trained(tmp_path, "clipped", framework, clip_norm=0.01)
    start = load_file(tmp_path / "start" / "model.safetensors")
    names = [name for name in start if "running" not in name]
    moved = {
        kind: np.sqrt(sum(np.square(arrays[name] - start[name]).sum() for name in names))
        for kind, arrays in (("free", free), ("clipped", clipped))
    }
    assert moved["free"] > 0.02
    assert moved["clipped"] == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_accumulated_batches_are_one_large_batch(framework: str, tmp_path: Path) -> None:
    options = {"freeze": STILL_NORMS, "epochs": 2}
    large = trained(tmp_path, "large", framework, **options)
    small = trained(tmp_path, "small", framework, batch_size=2, accumulate_batches=4, **options)
    for name, array in large.items():
        np.testing.assert_allclose(small[name], array, atol=1e-5, err_msg=name)


def test_keras_refuses_batches_that_make_no_step(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    recipe = recipe_of(tmp_path, "keras", batch_size=2, accumulate_batches=3)
    with pytest.raises(ValueError, match=r"accumulate_batches must divide the 4 batches"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ema(tmp_path: Path) -> None:
    """The average of the weights after 1, 2 and 3 steps; its decay grows until it is 0.2."""
    steps = [trained(tmp_path, f"steps_{n}", "torch", epochs=n)["output.bias"] for n in (1, 2, 3)]
    average = trained(tmp_path, "average", "torch", epochs=3, ema_decay=0.2)["output.bias"]
    expected = steps[0]
    for n, decay in ((1, 2 / 11), (2, 0.2)):
        expected = decay * expected + (1 - decay) * steps[n]
    np.testing.assert_allclose(average, expected, atol=1e-6)
    assert not np.allclose(average, steps[2], atol=1e-4)


def test_ema_is_validated_and_saved(tmp_path: Path) -> None:
    """The logged validation loss is that of the saved average."""
    recipe = recipe_of(tmp_path, epochs=3, ema_decay=0.9)
    run = train(recipe, tmp_path / "run")
    best = int(np.argmax(curve(run, "validation_map")))
    arrays = load_file(run.model / "model.safetensors")
    logits = pooling_logits(arrays, features_of(tmp_path, ["i", "j"]), is_training=False)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss = -np.log(p[[0, 1], [0, 1]]).mean()
    assert curve(run, "validation_loss")[best] == pytest.approx(loss, abs=1e-5)


def test_keras_refuses_ema(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ema_decay=0\.9 requires framework=torch: the average"):
        recipe_of(tmp_path, "keras", ema_decay=0.9)


def test_early_stopping(framework: str, tmp_path: Path) -> None:
    """The validation mAP never improves: the first epoch is the best, two others follow."""
    still = {"learning_rate": 1e-12, "epochs": 9, "checkpoint_every": 1}
    run = train(recipe_of(tmp_path, framework, early_stopping_epochs=2, **still), tmp_path / "run")
    assert len(curve(run, "validation_map")) == 3
    assert run.is_finished


def test_early_stopping_after_an_interruption(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed training goes on counting."""
    still = {"learning_rate": 1e-12, "epochs": 9, "checkpoint_every": 1}
    recipe = recipe_of(tmp_path, framework, early_stopping_epochs=3, **still)
    # TensorFlow wraps what a loader raises
    with monkeypatch.context() as patch, pytest.raises(Exception, match="power"):
        cut_power(patch, after=2 * len(NAMES))
        train(recipe, tmp_path / "run")
    run = train(recipe, tmp_path / "run", resume=True)
    assert len(curve(run, "validation_map")) == 4


def test_early_stopping_requires_a_validation_split(framework: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"early_stopping_epochs must be null without"):
        trained(tmp_path, "run", framework, early_stopping_epochs=2)
    assert not (tmp_path / "run").exists()


def test_mixup(framework: str, tmp_path: Path) -> None:
    """The loss of the first batch: clips and targets mixed in the same shares."""
    run = train(recipe_of(tmp_path, framework, mixup=0.5), tmp_path / "run")
    start = load_file(tmp_path / "start" / "model.safetensors")
    order = np.random.default_rng([0, 0]).permutation(8)
    mixture = sample_mixture(0.5, 8, place=[0, 0, 0])
    assert 0.01 < mixture.share < 0.99
    clips = features_of(tmp_path, [NAMES[index] for index in order])
    targets = np.eye(2)[order % 2]
    share = mixture.share
    clips = share * clips + (1 - share) * clips[mixture.partners]
    targets = share * targets + (1 - share) * targets[mixture.partners]
    logits = pooling_logits(start, clips, is_training=True)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -(targets * np.log(p)).sum(1).mean()
    assert curve(run, "train_loss") == [pytest.approx(expected, abs=1e-5)]


def test_mixup_is_of_features(tmp_path: Path) -> None:
    backbone = {"name": "efficientnet_lite0"}
    with pytest.raises(ValueError, match="mixup mixes features"):
        small_recipe(
            tmp_path,
            training={"scheme": "end_to_end", "mixup": 0.2},
            backbone=backbone,
            data__videos=str(tmp_path),
        )


def test_mixup_has_no_asymmetric_loss_of_one_label(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training\.mixup must be 0 with training\.loss=asym"):
        train(recipe_of(tmp_path, mixup=0.2, loss="asymmetric"), tmp_path / "run")


@pytest.mark.parametrize(
    "options",
    [
        {"ema_decay": 0.9},
        {"mixup": 0.4},
        {"accumulate_batches": 2, "batch_size": 2},
        {"clip_norm": 0.1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_resumed_training_is_an_unbroken_one(
    options: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(tmp_path, epochs=4, checkpoint_every=1, **options)
    whole = train(recipe, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power"):
        cut_power(patch, after=2 * len(NAMES) + 1)
        train(recipe, tmp_path / "broken")
    broken = train(recipe, tmp_path / "broken", resume=True)
    for name in ("model.safetensors", "config.json"):
        assert (broken.model / name).read_bytes() == (whole.model / name).read_bytes()
