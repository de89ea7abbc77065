"""Sources that differ in one field, curves of uneven batches, and seeds of first values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests import oracle
from tests.training.small_runs import (
    CHANNELS,
    FRAMEWORK_WARNINGS,
    curve,
    features_of,
    pooling_logits,
    saved_head,
    small_recipe,
    write_data,
)
from timeception.spec import ClassifierSpec, PoolingSpec, TimeceptionSpec
from timeception.training.initialization import find_start
from timeception.training.train import train
from timeception.weights import read_folder, write_folder

pytestmark = FRAMEWORK_WARNINGS

CLASSES = ("cut", "pour", "stir")
LAYERS = TimeceptionSpec(40, 1, 2)
OTHER = {
    "n_layers": 2,
    "n_groups": 1,
    "is_dilated": False,
    "expansion": 1.5,
    "pool_lookahead": False,
    "bn_eps": 0.02,
}


def written(folder: Path, spec: ClassifierSpec | PoolingSpec) -> str:
    write_folder(folder, spec, oracle.random_arrays(spec.parameter_shapes()))
    return str(folder)


@pytest.mark.parametrize("name", OTHER)
def test_layers_that_differ_in_one_field_are_refused(name: str, tmp_path: Path) -> None:
    there = LAYERS.replace(**{name: OTHER[name]})
    source = written(tmp_path / "start", ClassifierSpec(there, 3, hidden=6))
    recipe = small_recipe(write_data(tmp_path, []), init_from=source)
    with pytest.raises(ValueError, match=rf"model\.{name}: .* in the source, .* here"):
        find_start(recipe, ClassifierSpec(LAYERS, 3, hidden=6), CLASSES)


def test_the_momentum_may_differ(tmp_path: Path) -> None:
    there = ClassifierSpec(LAYERS.replace(bn_momentum=0.5), 3, hidden=6)
    recipe = small_recipe(write_data(tmp_path, []), init_from=written(tmp_path / "start", there))
    assert find_start(recipe, ClassifierSpec(LAYERS, 3, hidden=6), CLASSES).skipped == {}


def test_pooling_heads_with_another_epsilon_are_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "start", PoolingSpec(CHANNELS, 3, 6, bn_eps=0.02))
    recipe = small_recipe(write_data(tmp_path, []), init_from=source)
    with pytest.raises(ValueError, match=r"model\.bn_eps: 0\.02 in the source, 0\.001 here"):
        find_start(recipe, PoolingSpec(CHANNELS, 3, 6), CLASSES)


def test_the_loss_of_an_epoch_is_the_mean_over_clips(framework: str, tmp_path: Path) -> None:
    """Batches of four and two clips, of which each clip counts the same."""
    labels = {f"t{n}": CLASSES[n % 3] for n in range(6)}
    rows = [(name, label, "train") for name, label in labels.items()]
    root = write_data(tmp_path, rows, are_equal=True)
    arrays = saved_head(tmp_path / "start", CLASSES)
    recipe = small_recipe(
        root,
        framework=framework,
        init_from=str(tmp_path / "start"),
        training__optimizer="sgd",
        training__learning_rate=1e-30,
        training__freeze=["hidden.*", "norm.*", "output.weight"],
    )
    found = curve(train(recipe, tmp_path / "run"), "train_loss")
    logits = pooling_logits(arrays, features_of(root, list(labels)), is_training=False)
    chosen = logits[range(6), [CLASSES.index(label) for label in labels.values()]]
    losses = np.log(np.exp(logits).sum(1)) - chosen
    assert np.ptp(losses) > 0.1
    assert found == pytest.approx([losses.mean()], abs=1e-5)


def test_the_seed_gives_the_first_values(framework: str, tmp_path: Path) -> None:
    rows = [(f"t{n}", CLASSES[n % 3], "train") for n in range(4)]
    root, found = write_data(tmp_path, rows), {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = {"training__learning_rate": 1e-30, "training__optimizer": "sgd"}
        recipe = small_recipe(root, framework=framework, seed=seed, **settings)
        run = train(recipe, tmp_path / name)
        found[name] = load_file(run.model / "model.safetensors")["hidden.weight"]
    np.testing.assert_array_equal(found["a"], found["b"])
    assert np.abs(found["a"] - found["c"]).min() > 0


def test_windows_are_saved_with_the_model(tmp_path: Path) -> None:
    root = write_data(tmp_path, [(name, "cut", "") for name in "abc"], n_steps=8)
    rows = [f"{name},{label},0,1" for name in "abc" for label in ("cut", "pour")]
    (root / "actions.csv").write_text("\n".join(["video,label,start,end", *rows]) + "\n")
    windows = {"length_steps": 4, "stride_steps": 3}
    data = {"kind": "timed", "source": str(root / "actions.csv"), "bank": str(root / "bank")}
    recipe = small_recipe(root, data={**data, "windows": windows, "split": {"test": ["c"]}})
    _, _, pipeline = read_folder(train(recipe, tmp_path / "run").model)
    assert pipeline is not None
    assert pipeline["windows"] == {**windows, "min_overlap_steps": 0.0}
    assert (pipeline["recipe"], pipeline["task"]) == ("small", "multi-label")
    assert pipeline["sampling"]["n_timesteps"] == 4
