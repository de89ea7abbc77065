"""Fine-tuning: what is loaded, skipped, newly made and frozen, number for number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests import oracle
from tests.order_recipe import order_recipe
from tests.training.test_end_to_end import recipe_for as video_recipe
from tests.weights.test_reading import HEAD_2019, write_2019
from timeception.backbones import create_backbone
from timeception.recipes.recipe import Recipe
from timeception.spec import ClassifierSpec, PoolingSpec, TimeceptionSpec
from timeception.training.build_head import head_spec
from timeception.training.initialization import Start, find_start
from timeception.training.runs import Run
from timeception.training.train import train
from timeception.weights import write_folder

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:lightning",
    "ignore::DeprecationWarning:tensorboard",
    "ignore::DeprecationWarning:torch",
)

CLASSES = ["falling", "rising"]
LAYERS = TimeceptionSpec(8, 2, 1, expansion=4.0)


def spec_of(n_classes: int = 2, **changes: object) -> ClassifierSpec:
    return ClassifierSpec(LAYERS, n_classes, **{"hidden": 32, **changes})


def saved(folder: Path, spec: ClassifierSpec | PoolingSpec, classes: list[str] | None) -> str:
    arrays = oracle.random_arrays(spec.parameter_shapes())
    write_folder(folder, spec, arrays, classes and {"classes": classes})
    return str(folder)


def start_of(recipe: Recipe, classes: list[str] = CLASSES) -> Start:
    return find_start(recipe, head_spec(recipe, 8, len(classes), (2, 2)), classes)


@pytest.fixture(scope="module")
def run(order_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = order_recipe(order_data, training__epochs=1)
    return train(recipe, tmp_path_factory.mktemp("runs") / "first")


def test_a_fresh_start_loads_nothing(order_data: Path) -> None:
    start = start_of(order_recipe(order_data))
    assert start.arrays == {} and start.source is None
    assert set(start.new) == set(spec_of().parameter_shapes())
    assert start.lines() == []


@pytest.mark.parametrize("kind", ["run", "folder", "file", "hub"])
def test_every_kind_of_source(
    kind: str, run: Run, order_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(name: str, **_: object) -> str:
        assert name == "someone/model"
        return str(run.model)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    file = run.model / "model.safetensors"
    source = {"run": run.root, "folder": run.model, "file": file, "hub": "someone/model"}[kind]
    changes = {"model__expansion": 1.25} if kind == "file" else {}  # shapes tell no expansion
    if kind == "file":
        spec = ClassifierSpec(TimeceptionSpec(8, 2, 1), 2, hidden=32)
        expected = oracle.random_arrays(spec.parameter_shapes())
        file = Path(saved(run.root.parent / "bare", spec, None)) / "model.safetensors"
        source = file
    start = start_of(order_recipe(order_data, init_from=str(source), **changes))
    expected = load_file(file)
    assert start.arrays.keys() == expected.keys()
    assert all(np.array_equal(start.arrays[name], expected[name]) for name in expected)
    assert start.skipped == {} and start.new == ()


def test_a_2019_file(tmp_path: Path, order_data: Path) -> None:
    layers = TimeceptionSpec(8, 2, 1)
    head = HEAD_2019 | {"l1.weight": (512, layers.out_channels)}
    write_2019(tmp_path / "old.pkl", layers, head)
    model = {"n_layers": 2, "n_groups": 1, "is_dilated": False, "pool_lookahead": False}
    recipe = order_recipe(order_data, init_from=str(tmp_path / "old.pkl"), model=model)
    with pytest.raises(ValueError, match=r"bn_eps: 1e-05 in the source, 0.001 here"):
        start_of(recipe)
    model["bn_eps"] = 1e-5
    start = start_of(order_recipe(order_data, init_from=str(tmp_path / "old.pkl"), model=model))
    assert start.skipped == dict.fromkeys(
        ("output.weight", "output.bias"), "3 classes there, 2 here"
    )
    assert start.new == ("output.weight", "output.bias")


def test_layers_alone_leave_the_head_new(tmp_path: Path, order_data: Path) -> None:
    arrays = oracle.random_arrays(TimeceptionSpec(8, 2, 1).parameter_shapes())
    torch.save({name: torch.tensor(a) for name, a in arrays.items()}, tmp_path / "layers.pt")
    recipe = order_recipe(order_data, init_from=str(tmp_path / "layers.pt"), model__expansion=1.25)
    start = start_of(recipe)
    assert {name.split(".")[0] for name in start.arrays} == {"timeception"}
    assert {name.split(".")[0] for name in start.new} == {"hidden", "norm", "output"}


@pytest.mark.parametrize(
    ("spec", "classes", "skipped", "reason"),
    [
        (spec_of(), CLASSES, set(), ""),
        (spec_of(), None, set(), ""),
        (spec_of(), ["rising", "falling"], {"output"}, "the classes differ"),
        (spec_of(), ["up", "down"], {"output"}, "the classes differ"),
        (spec_of(3), ["a", "b", "c"], {"output"}, "3 classes there, 2 here"),
        (spec_of(hidden=16), CLASSES, {"hidden", "norm", "output"}, "16 hidden units there"),
        (spec_of(map_size=(2, 2)), CLASSES, {"hidden", "norm", "output"}, r"maps kept"),
    ],
)
def test_what_is_replaced(
    spec: ClassifierSpec,
    classes: list[str] | None,
    skipped: set[str],
    reason: str,
    tmp_path: Path,
    order_data: Path,
) -> None:
    recipe = order_recipe(order_data, init_from=saved(tmp_path / "model", spec, classes))
    start = start_of(recipe)
    assert {name.split(".")[0] for name in start.skipped} == skipped
    assert all(why.startswith(reason) for why in start.skipped.values())
    assert set(start.new) == set(start.skipped)
    assert set(start.arrays) | set(start.new) == set(spec_of().parameter_shapes())


@pytest.mark.slow
def test_training_begins_with_what_was_loaded_and_leaves_frozen_layers_alone(
    run: Run, order_data: Path, tmp_path: Path
) -> None:
    reported: list[str] = []
    recipe = order_recipe(
        order_data,
        init_from=str(run.root),
        training={"epochs": 2, "batch_size": 8, "freeze": ["timeception.*", "hidden.bias"]},
    )
    tuned = train(recipe, tmp_path / "tuned", report=reported.append)
    before, after = (load_file(r.model / "model.safetensors") for r in (run, tuned))
    for name, array in after.items():
        is_frozen = name.startswith("timeception.") or name == "hidden.bias"
        assert np.array_equal(array, before[name]) == is_frozen, name  # moving statistics too
    written = json.loads(tuned.start_file.read_text())
    assert written["loaded"] == sorted(before)
    assert set(written["frozen"]) == {n for n in before if n.startswith("time")} | {"hidden.bias"}
    assert written["sha256"] and written["new"] == [] and written["skipped"] == {}
    assert reported[0].startswith(f"init_from {run.root} (sha256 {written['sha256'][:12]}")
    assert "  frozen: timeception.layers.0 (12), timeception.layers.1 (12), hidden (1)" in reported


@pytest.mark.slow
def test_fine_tuning_resumes_to_the_same_weights(
    run: Run, order_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timeception.training.torch import module as torch_module

    training = {"epochs": 3, "batch_size": 8, "checkpoint_every": 1, "freeze": ["*.layers.0.*"]}
    recipe = order_recipe(order_data, init_from=str(run.root), training=training)
    whole = train(recipe, tmp_path / "whole")
    step = torch_module.Training.training_step

    def stop_in_last_epoch(self: torch_module.Training, *batch: object) -> object:
        if self.current_epoch == 2:
            raise RuntimeError("the power went out")
        return step(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(torch_module.Training, "training_step", stop_in_last_epoch)
        with pytest.raises(RuntimeError, match="power"):
            train(recipe, tmp_path / "cut")
    resumed = train(recipe, tmp_path / "cut", resume=True)
    expected = load_file(whole.model / "model.safetensors")
    for name, array in load_file(resumed.model / "model.safetensors").items():
        np.testing.assert_allclose(array, expected[name], atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_trained_backbone_is_taken_over(clips: Path, tmp_path: Path, order_data: Path) -> None:
    model = train(video_recipe(clips, training__epochs=1), tmp_path / "pixels").model
    recipe = video_recipe(clips, init_from=str(model), training__freeze=["backbone.*"])
    again = train(recipe, tmp_path / "again")
    before, after = (load_file(folder / "backbone.safetensors") for folder in (model, again.model))
    assert all(np.array_equal(after[name], before[name]) for name in before)
    fresh = create_backbone("timm:test_resnet", "random").network.state_dict()
    assert any(not np.array_equal(after[name], fresh[name]) for name in after)
    frozen_head = order_recipe(order_data, init_from=str(model), model={"n_layers": 2})
    with pytest.raises(ValueError, match="take features with 8 channels; got"):
        start_of(frozen_head)


@pytest.mark.parametrize(
    ("spec", "changes", "words"),
    [
        (spec_of(), {"model__n_layers": 1}, [r"n_layers: 2 in the source, 1 here"]),
        (
            ClassifierSpec(LAYERS.replace(is_dilated=False, pool_lookahead=False), 2, hidden=32),
            {},
            ["To use the source's: model.is_dilated=false model.pool_lookahead=false"],
        ),
        (spec_of(), {"model__head": "pooling"}, ["hold a pooling head", "got 'timeception'"]),
        (PoolingSpec(8, 2, hidden=32), {}, ["hold a timeception head", "got 'pooling'"]),
        (
            ClassifierSpec(LAYERS.replace(in_channels=16), 2, hidden=32),
            {},
            ["take features with 8 channels; got 16"],
        ),
        (spec_of(), {"init_sha256": "0" * 64}, ["SHA-256 of", "be init_sha256 (0000"]),
        (spec_of(), {"training__freeze": ["layer.0"]}, ["'layer.0'", "Names look like timecep"]),
        (spec_of(), {"training__freeze": ["*"]}, ["training.freeze must leave something"]),
    ],
)
def test_what_does_not_fit_raises(
    spec: ClassifierSpec | PoolingSpec,
    changes: dict[str, object],
    words: list[str],
    tmp_path: Path,
    order_data: Path,
) -> None:
    source = saved(tmp_path / "model", spec, CLASSES)
    with pytest.raises(ValueError) as caught:
        start_of(order_recipe(order_data, init_from=source, **changes))
    for word in words:
        assert word in str(caught.value)


def test_files_of_another_family_raise(tmp_path: Path, order_data: Path) -> None:
    torch.save({"Conv3d_1a_7x7.conv3d.weight": torch.zeros(64, 3, 7, 7, 7)}, tmp_path / "i3d.pt")
    with pytest.raises(ValueError, match=r"(?s)i3d\.pt.*is not a Timeception network.*expected"):
        start_of(order_recipe(order_data, init_from=str(tmp_path / "i3d.pt")))
    (tmp_path / "recipe.yaml").write_text((order_recipe(order_data)).to_yaml())
    with pytest.raises(ValueError, match="has not finished"):
        start_of(order_recipe(order_data, init_from=str(tmp_path)))
    with pytest.raises(ValueError, match="be an existing folder, or a hub id"):
        start_of(order_recipe(order_data, init_from="no-such-model"))


def test_a_hash_needs_its_source(order_data: Path) -> None:
    with pytest.raises(ValueError, match="init_sha256 requires init_from"):
        order_recipe(order_data, init_sha256="0" * 64)
