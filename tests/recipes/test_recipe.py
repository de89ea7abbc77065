from pathlib import Path

import pytest
import yaml

from timeception.recipes.recipe import load_recipe, packaged_recipes

MINIMAL = {"name": "mine", "data": {"kind": "csv", "source": "videos.csv", "bank": "bank"}}


def write(path: Path, fields: object) -> Path:
    path.write_text(yaml.safe_dump(fields))
    return path


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    return write(tmp_path / "mine.yaml", MINIMAL)


def test_overrides_reach_nested_fields(recipe_file: Path) -> None:
    words = ["training.epochs=3", "sampling.map_size=[2,3]", "data.split.test=['S1_*']", "seed=7"]
    recipe = load_recipe(recipe_file, words)
    assert recipe.training.epochs == 3
    assert recipe.sampling.map_size == (2, 3)
    assert recipe.data.split.test == ("S1_*",)
    assert recipe.seed == 7


def test_resolved_recipe_reads_back_equal(recipe_file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file, ["sampling.map_size=[2,3]"]).with_absolute_paths()
    saved = tmp_path / "resolved.yaml"
    saved.write_text(recipe.to_yaml())
    assert load_recipe(saved) == recipe


@pytest.mark.parametrize(
    ("words", "stride_frames", "fps"),
    [
        (["backbone={name: i3d}"], 8, None),
        (["backbone={name: i3d, stride_frames: null}"], 8, None),
        (["backbone={name: i3d, fps: 5}"], None, 5.0),
        (["backbone={name: i3d, stride_frames: 4}"], 4, None),
    ],
)
def test_stride_or_fps(
    words: list[str], stride_frames: int | None, fps: float | None, recipe_file: Path
) -> None:
    recipe = load_recipe(recipe_file, words)
    assert recipe.backbone is not None
    assert (recipe.backbone.stride_frames, recipe.backbone.fps) == (stride_frames, fps)
    saved = recipe_file.with_name("resolved.yaml")
    saved.write_text(recipe.to_yaml())
    assert load_recipe(saved) == recipe


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epoch=3", ["training.epoch", "unknown key", "'epochs'"]),
        ("trainin.epochs=3", ["trainin", "unknown key", "'training'"]),
        ("data.split.tests=[a]", ["data.split.tests", "unknown key", "'test'"]),
        ("data.windows.length=4", ["data.windows.length", "unknown key", "'length_steps'"]),
        (
            "backbone={name: i3d, stride_frames: 8, fps: 5}",
            ["backbone.stride_frames and backbone.fps exclude each other; got 8 and 5", "null"],
        ),
        ("backbone={name: i3d, fps: 0}", ["backbone.fps", "greater than 0", "got 0"]),
        ("training.epochs=0", ["training.epochs", "greater than or equal to 1", "got 0"]),
        ("training.epochs=many", ["training.epochs", "integer", "'many'"]),
        ("model.head=pool", ["model.head", "'timeception', 'pooling', 'linear'", "'pool'"]),
        ("model.dropout=[0.5]", ["model.dropout"]),
        ("data.kind=names", ["data.kind=names requires data.pattern"]),
        ("sampling.n_timesteps=8", ["n_timesteps=8", "n_layers=4", "at least 16"]),
        ("seed=-1", ["seed", "greater than or equal to 0", "-1"]),
        ("name=a/b", ["name", "pattern", "a/b"]),
        ("training.epochs", ["key=value", "training.epochs"]),
        ("seed=[1", ["seed", "YAML"]),
    ],
)
def test_wrong_fields_are_named(recipe_file: Path, override: str, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        load_recipe(recipe_file, [override])
    for word in words:
        assert word in str(caught.value)


def test_every_wrong_field_is_listed(tmp_path: Path) -> None:
    broken = write(tmp_path / "broken.yaml", {"name": "mine", "data": {"kind": "csv"}, "speed": 1})
    with pytest.raises(ValueError, match=r"(?s)2 field.*data\.source.*speed"):
        load_recipe(broken)


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'gtea'"):
        load_recipe("gtae")


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"odd\.yaml"):
        load_recipe(path)


@pytest.mark.parametrize("name", packaged_recipes())
def test_packaged_recipes_are_valid(name: str) -> None:
    assert load_recipe(name).name == name
