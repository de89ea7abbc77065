"""Every packaged recipe builds its model and learns two steps, on data made for it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.datasets import official_files as official
from timeception.datasets.synthetic.generate import write_mp4
from timeception.features.bank import FeatureBank
from timeception.recipes.recipe import Recipe, load_recipe, packaged_recipes
from timeception.training.backbone_file import make_backbone
from timeception.training.train import train
from timeception.weights import read_folder

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:lightning",
    "ignore::DeprecationWarning:tensorboard",
    "ignore::DeprecationWarning:torch",
)

#: Backbone, Timeception layers, frames, published mAP.
PUBLISHED = {
    "charades_r2d_tc3_f32": ("r2d_152", 3, 32, 30.37),
    "charades_r2d_tc3_f64": ("r2d_152", 3, 64, 31.25),
    "charades_r2d_tc4_f128": ("r2d_152", 4, 128, 31.82),
    "charades_i3d_tc3_f256": ("i3d", 3, 256, 33.89),
    "charades_i3d_tc3_f512": ("i3d", 3, 512, 35.46),
    "charades_i3d_tc4_f1024": ("i3d", 4, 1024, 37.20),
    "charades_r3d_tc4_f1024": ("r3d_101", 4, 1024, 41.1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rows_have_the_settings_of_2019(name: str) -> None:
    recipe, (backbone, n_layers, frames, percent) = load_recipe(name), PUBLISHED[name]
    assert recipe.published.percent == percent
    assert recipe.published.metric == "Charades mAP"
    assert recipe.backbone.name == backbone
    assert recipe.model.n_layers == n_layers
    assert recipe.model.n_groups == recipe.backbone.channels // 128
    assert recipe.sampling.n_timesteps * recipe.backbone.frames_per_segment == frames
    training = recipe.training
    assert (training.optimizer, training.learning_rate, training.epsilon) == ("adam", 0.01, 1e-4)
    assert training.epochs == 500 and 16 <= training.batch_size <= 32
    assert 32 <= recipe.testing.batch_size <= 64 and recipe.testing.draws == 10
    assert recipe.data.n_classes == 157 and not recipe.data.trains_on_unlabelled


def charades(folder: Path) -> list[str]:
    row = official.charades_row
    actions = [f"c{n:03d} 1.0 9.0;c{n + 100:03d} 2.0 5.0" for n in range(4)]
    train_rows = [row(f"AAAA{n}", text) for n, text in enumerate(actions)]
    test_rows = [row("BBBB1", actions[0]), row("BBBB2", "")]
    official.write_charades(folder, train_rows, test_rows, n_classes=157)
    return [*(f"AAAA{n}" for n in range(4)), "BBBB1", "BBBB2"]


def breakfast(folder: Path) -> list[str]:
    names = ["SIL", *(f"action_{n}" for n in range(1, 48))]
    people = ((3, "tea"), (4, "milk"), (5, "tea"), (46, "coffee"), (47, "milk"))
    videos = {f"P{p:02d}_cam01_P{p:02d}_{a}": ["SIL", f"action_{p}"] * 20 for p, a in people}
    mapping = "".join(f"{index} {name}\n" for index, name in enumerate(names))
    official.write_breakfast(folder, videos, mapping)
    return list(videos)


def multithumos(folder: Path) -> list[str]:
    entries = {
        name: {"subset": subset, "duration": 30, "actions": [[number, 1.0, 9.0]]}
        for number, (name, subset) in enumerate(
            [
                *((f"video_validation_{n}", "training") for n in range(4)),
                ("video_test_0", "testing"),
            ],
            start=61,
        )
    }
    official.write_json(folder, entries)
    return list(entries)


def kinetics(folder: Path) -> list[str]:
    rows = [f"label {n},video{n:03d},0,10,train" for n in range(400)]
    official.write_kinetics(folder, rows, ["label 0,other,0,10,val"])
    return [*(f"video{n:03d}_000000_000010" for n in range(4)), "other_000000_000010"]


def table(folder: Path) -> list[str]:
    folder.mkdir()
    names = [f"v{n}" for n in range(5)]
    splits = ["train"] * 4 + ["test"]
    lines = [f"{v}.mp4,{'ab'[n % 2]},{splits[n]}" for n, v in enumerate(names)]
    (folder / "videos.csv").write_text("\n".join(["path,labels,split", *lines]) + "\n")
    return names


def gestures(folder: Path) -> list[str]:
    return [f"testvideo_{label}_{n}" for label in "abcdefghij" for n in (1, 5)]


def kitchen(folder: Path) -> list[str]:
    folder.mkdir()
    names = [f"S{person}_tea" for person in range(1, 6)]
    lines = [f"{v},action {n},{n},{n + 1}" for v in names for n in range(10)]
    (folder / "actions.csv").write_text("\n".join(["video,label,start,end", *lines]) + "\n")
    return names


MAKERS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "charades": (charades, ""),
    "breakfast_activities": (breakfast, ""),
    "breakfast_actions": (breakfast, ""),
    "multithumos": (multithumos, ""),
    "kinetics": (kinetics, ""),
    "csv": (table, "videos.csv"),
    "names": (gestures, ""),
    "timed": (kitchen, "actions.csv"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made")


def small(name: str, made: Path) -> Recipe:
    """The recipe, on made data, with the fewest timesteps and one epoch of two batches."""
    recipe = load_recipe(name)
    maker, file = MAKERS[recipe.data.kind]
    folder = made / recipe.data.kind
    names = maker(folder) if not folder.exists() else None
    words = [f"data.source={folder / file}", "training.epochs=1", "training.warmup_epochs=0"]
    if not recipe.is_timeline:
        words.append(f"sampling.n_timesteps={2**recipe.model.n_layers}")
    if recipe.is_end_to_end:
        videos = made / f"{name}_videos"
        write_videos(videos, names or gestures(folder))
        words += [f"data.videos={videos}", "backbone.resize=36", "backbone.crop=32"]
        return load_recipe(name, [*words, "training.batch_size=5"])
    height, width = recipe.sampling.map_size or (1, 1)
    bank = made / f"{name}_bank"
    write_bank(
        bank, names or maker(made / f"{name}_again"), recipe.backbone.channels, (height, width)
    )
    n_train = 10 if recipe.data.kind == "names" else 4
    return load_recipe(name, [*words, f"data.bank={bank}", f"training.batch_size={n_train // 2}"])


def write_bank(root: Path, names: list[str], channels: int, size: tuple[int, int]) -> None:
    bank = FeatureBank(root, mode="a")
    for number, name in enumerate(names):
        steps = np.random.default_rng(number).random((20, channels, *size), dtype=np.float32)
        bank.write(name, steps, np.arange(20), fps=1.0)


def write_videos(root: Path, names: list[str]) -> None:
    root.mkdir()
    for number, name in enumerate(names):
        frames = np.random.default_rng(number).integers(0, 255, (12, 40, 48, 3), dtype=np.uint8)
        write_mp4(root / f"{name}.mp4", frames, fps=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", packaged_recipes())
def test_two_optimiser_steps(name: str, made: Path, tmp_path: Path) -> None:
    recipe = small(name, made)
    run = train(recipe, tmp_path / "run")
    with (run.logs / "part_1" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["step"] == "1"  # counted from 0
    assert np.isfinite(float(rows[-1]["train_loss"]))
    spec, arrays, pipeline = read_folder(run.model)
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert spec.timeception.n_layers == load_recipe(name).model.n_layers
    has_own_background = name == "gtea_segments"  # its annotations leave it out
    n_classes = (recipe.data.n_classes or 2) + has_own_background
    assert len(pipeline["classes"]) == spec.n_classes == n_classes


BACKBONES = {
    (s.name, s.endpoint): name
    for name in packaged_recipes()
    if (s := load_recipe(name).backbone) and s.name != "imported"
}


@pytest.mark.parametrize("name", sorted(BACKBONES.values()))
def test_backbones_make_what_the_recipes_say(name: str) -> None:
    told = load_recipe(name).backbone.name
    if told.startswith("hf:"):  # the hub's own configuration is that of the default
        pytest.importorskip("transformers")
        told = f"hf:{told.partition('/')[2].partition('-')[0]}"
    section = load_recipe(name, ["backbone.weights=random", f"backbone.name={told}"]).backbone
    backbone = make_backbone(section)  # compares channels and frames per segment
    side = section.crop or backbone.transform.crop
    height, width = backbone.map_size(side, side)
    assert section.map_size[0] <= height and section.map_size[1] <= width
    if load_recipe(name).published:
        assert section.map_size == (height, width) == (7, 7)
