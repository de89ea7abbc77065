"""What a recipe resolves to: paths, protocols, overrides, and rules that join two fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from timeception.recipes.recipe import Recipe, build_recipe, load_recipe, read_2019_yaml

DATA = {"kind": "csv", "source": "videos.csv", "bank": "bank", "videos": "videos"}


def recipe_of(**fields: Any) -> Recipe:
    return build_recipe({"name": "mine", "data": DATA, **fields})


def test_every_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("start", "weights.pt"):
        (tmp_path / name).touch()
    backbone = {"name": "i3d", "weights": "weights.pt"}
    found = recipe_of(init_from="start", backbone=backbone).with_absolute_paths()
    for name in ("source", "bank", "videos"):
        assert getattr(found.data, name) == tmp_path / DATA[name], name
    assert found.init_from == str(tmp_path / "start")
    assert found.backbone is not None and found.backbone.weights == str(tmp_path / "weights.pt")


def test_what_is_no_path_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names on the hub and names of weights are no files."""
    monkeypatch.chdir(tmp_path)
    backbone = {"name": "i3d", "weights": "random"}
    found = recipe_of(init_from="someone/model", backbone=backbone).with_absolute_paths()
    assert found.init_from == "someone/model"
    assert found.backbone is not None and found.backbone.weights == "random"


def test_the_protocol_is_the_recipes_then_the_datas_then_the_tasks() -> None:
    charades = {**DATA, "kind": "charades"}
    named = recipe_of(data=charades, testing={"protocol": "map"})
    assert named.protocol(is_multilabel=True) == "map"
    assert recipe_of(data=charades).protocol(is_multilabel=True) == "charades_official"
    assert recipe_of().protocol(is_multilabel=True) == "map"
    assert recipe_of().protocol(is_multilabel=False) == "accuracy"


def test_an_override_makes_the_section_that_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    fields = {"name": "mine", "data": DATA, "backbone": None, "training": {"epochs": 3}}
    path.write_text(yaml.safe_dump(fields))
    recipe = load_recipe(path, ["backbone.name=i3d", "backbone.crop=32", "testing.draws=2"])
    assert recipe.backbone is not None
    assert (recipe.backbone.name, recipe.backbone.crop) == ("i3d", 32)
    assert (recipe.training.epochs, recipe.testing.draws) == (3, 2)


def test_as_many_timesteps_as_layers_halve_are_enough() -> None:
    for steps in (8, 9):
        assert recipe_of(sampling={"n_timesteps": steps}, model={"n_layers": 3})
    with pytest.raises(ValueError, match=r"n_timesteps=7 is too short .* at least 8"):
        recipe_of(sampling={"n_timesteps": 7}, model={"n_layers": 3})
    assert recipe_of(sampling={"n_timesteps": 1}, model={"head": "pooling"})


END_TO_END = {"training": {"scheme": "end_to_end"}, "backbone": {"name": "i3d"}}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"framework": "keras", **END_TO_END}, "scheme=end_to_end requires framework=torch"),
        ({"training": {"scheme": "end_to_end"}}, "requires data.videos and backbone"),
        (
            {"framework": "keras", "training": {"loss": "asymmetric"}},
            "loss=asymmetric requires framework=torch; Keras offers bce, cross_entropy, focal",
        ),
        (
            {"end_to_end": {"trains_batch_norm": True}},
            "trains_batch_norm requires end_to_end.gradient_checkpointing=false",
        ),
        (
            {"data": {**DATA, "windows": {"length_steps": 4, "stride_steps": 2}}},
            "data.windows requires timed annotations",
        ),
        ({"data": {**DATA, "pattern": "x"}}, "names requires data.pattern"),
        ({"data": {"kind": "csv", "source": "a"}}, "data.bank is missing"),
        ({"init_sha256": "0" * 64}, "init_sha256 requires init_from"),
    ],
)
def test_fields_that_do_not_fit_each_other(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        recipe_of(**fields)


def test_fields_that_fit_each_other() -> None:
    assert recipe_of(**END_TO_END).is_end_to_end
    assert recipe_of(framework="keras", training={"loss": "bce"}).training.loss == "bce"
    both = {"trains_batch_norm": True, "gradient_checkpointing": False}
    assert recipe_of(end_to_end=both).end_to_end.trains_batch_norm


def old(folder: Path, **sections: Any) -> Recipe:
    """A file of 2019 with little in it."""
    path = folder / "old.yaml"
    model = {"N_TC_TIMESTEPS": 128, "N_INPUT_TIMESTEPS": 1024}
    path.write_text(yaml.safe_dump({"MODEL": model, "TRAIN": {}, "SOLVER": {}, **sections}))
    return read_2019_yaml(path)


def test_a_short_file_of_2019_has_the_values_of_its_code(tmp_path: Path) -> None:
    recipe = old(tmp_path, MODEL={})
    assert (recipe.data.kind, recipe.data.n_classes) == ("charades", 157)
    assert recipe.data.task == "multi-label" and not recipe.data.trains_on_unlabelled
    assert recipe.data.bank == Path("banks/charades_i3d")
    assert (recipe.sampling.n_timesteps, recipe.model.n_layers) == (64, 4)
    assert (recipe.model.n_groups, recipe.model.is_dilated) == (8, True)
    assert recipe.model.bn_momentum == 0.01
    assert recipe.backbone is not None
    assert (recipe.backbone.name, recipe.backbone.frames_per_segment) == ("i3d", 8)
    assert recipe.backbone.map_size == (7, 7)
    training = recipe.training
    assert (training.batch_size, training.epochs, training.workers) == (64, 500, 0)
    assert (training.optimizer, training.learning_rate, training.epsilon) == ("adam", 1e-4, 1e-4)
    assert (recipe.testing.batch_size, recipe.testing.draws) == (64, 10)


def test_the_solvers_of_2019(tmp_path: Path) -> None:
    training = old(tmp_path, SOLVER={"NAME": "sgd"}).training
    assert (training.momentum, training.weight_decay, training.nesterov) == (0.9, 1e-4, True)
    given = {"SGD_MOMENTUM": 0.5, "SGD_WEIGHT_DECAY": 0.2, "SGD_NESTEROV": False, "LR": 0.3}
    training = old(tmp_path, SOLVER={"NAME": "sgd", **given}).training
    assert (training.momentum, training.weight_decay, training.nesterov) == (0.5, 0.2, False)
    assert training.learning_rate == 0.3
    training = old(tmp_path, SOLVER={"NAME": "Adam", "ADAM_EPSILON": 0.02, **given}).training
    assert (training.optimizer, training.epsilon, training.weight_decay) == ("adam", 0.02, 0.0)


def test_the_task_of_2019(tmp_path: Path) -> None:
    for name, task in (("ml", "multi-label"), ("sl", "single-label")):
        assert old(tmp_path, MODEL={"CLASSIFICATION_TYPE": name}).data.task == task
