"""End-to-end settings reach the backbone: its norms, its rate, its maps, and its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.training.small_runs import FRAMEWORK_WARNINGS
from timeception.backbones import Backbone, create_backbone
from timeception.evaluation.evaluate import load_for_testing
from timeception.inference.saved_model import load_saved
from timeception.recipes.recipe import Recipe, build_recipe
from timeception.training.backbone_file import load_backbone, make_backbone, save_backbone
from timeception.training.build_head import head_spec
from timeception.training.initialization import find_start
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS


def recipe_for(clips: Path, **changes: object) -> Recipe:
    split = {"train": ["left/0", "right/1"], "test": ["left/2", "right/3"]}
    fields: dict[str, object] = {
        "name": "pixels",
        "data": {"kind": "folder", "source": str(clips), "videos": str(clips), "split": split},
        "backbone": {
            **{"name": "timm:test_resnet", "weights": "random", "stride_frames": 2},
            **{"resize": 72, "crop": 64},
        },
        "sampling": {"n_timesteps": 4},
        "model": {"n_layers": 1, "n_groups": 1, "hidden": 8, "dropout": [0, 0]},
        "training": {"scheme": "end_to_end", "epochs": 1, "batch_size": 2},
    }
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        fields[section] = {**fields.get(section, {}), leaf: value} if leaf else value
    return build_recipe(fields)


@pytest.mark.parametrize("is_trained", [False, True])
def test_the_norms_are_trained_if_asked(is_trained: bool, clips: Path, tmp_path: Path) -> None:
    settings = {"trains_batch_norm": is_trained, "gradient_checkpointing": not is_trained}
    model = train(recipe_for(clips, end_to_end=settings), tmp_path / "run").model
    fresh = create_backbone("timm:test_resnet", "random").network.state_dict()
    saved = load_file(model / "backbone.safetensors")
    changed = {name for name, array in saved.items() if not np.array_equal(array, fresh[name])}
    norms = {name for name in saved if ".bn" in name}
    means = {name for name in norms if name.endswith("running_mean")}
    assert means and changed & means == (means if is_trained else set())
    assert is_trained or not changed & norms
    assert any("conv" in name for name in changed)


def test_maps_have_the_recipes_size_in_training_and_testing(clips: Path, tmp_path: Path) -> None:
    """The hidden layer sees each position of one row of two."""
    recipe = recipe_for(clips, sampling__map_size=[1, 2], model__keep_spatial=True)
    run = train(recipe, tmp_path / "run")
    saved = load_saved(run.root)
    assert saved.map_size == saved.head.spec.map_size == (1, 2)
    data, score = load_for_testing(run)
    clip = data.split("test").sampler.sample(0, None)
    assert clip.shape == (4, 3, 64, 64)
    with torch.no_grad():
        maps = saved.backbone().segment_features(torch.from_numpy(clip)[:, :, None], (1, 2))
        expected = saved.head.eval()(maps.transpose(0, 1)[None]).softmax(1).numpy()
    np.testing.assert_allclose(score(clip[None]), expected, atol=1e-5)


def small_backbone() -> Backbone:
    return make_backbone(
        recipe_for(Path("clips"), backbone__resize=50, backbone__crop=40).backbone  # type: ignore[arg-type]
    )


def test_sizes_are_the_recipes() -> None:
    assert (small_backbone().transform.resize, small_backbone().transform.crop) == (50, 40)
    whole = create_backbone("timm:test_resnet", "random").transform
    recipe = recipe_for(Path("clips"), backbone__resize=None, backbone__crop=None)
    assert recipe.backbone is not None
    assert make_backbone(recipe.backbone).transform == whole


def test_a_saved_backbone_comes_back_whole(tmp_path: Path) -> None:
    backbone = small_backbone()
    with torch.no_grad():
        for tensor in backbone.network.parameters():
            tensor.add_(0.01)
    record = json.loads(json.dumps(save_backbone(backbone, tmp_path)))
    loaded = load_backbone(tmp_path, record)
    assert loaded.transform == backbone.transform
    frames = torch.rand(2, 3, 1, 40, 40)
    with torch.no_grad():
        ours, theirs = (each.segment_features(frames, None) for each in (loaded, backbone.eval()))
    torch.testing.assert_close(ours, theirs)


def test_tensors_of_another_backbone_are_refused(tmp_path: Path) -> None:
    record = save_backbone(small_backbone(), tmp_path)
    other = create_backbone("timm:test_vit", "random")
    save_backbone(other, tmp_path / "other")
    (tmp_path / "other" / "backbone.safetensors").replace(tmp_path / "backbone.safetensors")
    with pytest.raises(ValueError, match="for another layout, pass --weights FILE"):
        load_backbone(tmp_path, record)


def test_a_backbone_that_does_not_fit_is_skipped(clips: Path, tmp_path: Path) -> None:
    """Of its arrays, those of another shape or name stay behind; without one here, all of them."""
    source = train(recipe_for(clips), tmp_path / "run").model
    recipe = recipe_for(clips, init_from=str(source))
    spec = head_spec(recipe, create_backbone("timm:test_resnet", "random").out_channels, 2, (2, 2))
    shapes = {n: tuple(a.shape) for n, a in load_file(source / "backbone.safetensors").items()}
    assert find_start(recipe, spec, ["left", "right"], shapes).skipped == {}
    name, gone, *_ = shapes
    others = {n: shape for n, shape in shapes.items() if n != gone} | {name: (1, 2, 3)}
    skipped = find_start(recipe, spec, ["left", "right"], others).skipped
    assert skipped == {f"backbone.{n}": "belongs to another backbone" for n in (name, gone)}
    skipped = find_start(recipe, spec, ["left", "right"]).skipped
    assert skipped == {f"backbone.{n}": "no backbone is trained here" for n in shapes}
