"""Planted faults of recipes, models and folders of videos, and data without faults."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import oracle
from tests.doctor.made import N_STEPS, codes, make_recipe
from tests.tiny_data import square
from timeception.cli.app import main
from timeception.datasets.synthetic.generate import write_mp4
from timeception.doctor import diagnose
from timeception.files import sha256_of_file
from timeception.spec import PoolingSpec
from timeception.weights import write_folder


def test_a_recipe_without_faults(tmp_path: Path) -> None:
    assert list(diagnose([make_recipe(tmp_path)])) == []


def no_bank(recipe: dict[str, Any], rows: list[list[str]]) -> None:
    recipe["data"]["bank"] += "s"


def too_many_layers(recipe: dict[str, Any], rows: list[list[str]]) -> None:
    recipe["model"]["n_layers"] = 5


def unknown_groups(recipe: dict[str, Any], rows: list[list[str]]) -> None:
    recipe["model"]["n_groups"] = 3


def long_clips(recipe: dict[str, Any], rows: list[list[str]]) -> None:
    recipe["sampling"]["n_timesteps"] = 64


def class_only_in_test(recipe: dict[str, Any], rows: list[list[str]]) -> None:
    rows[-1][1] = rows[-2][1] = "c"


def video_in_both_splits(recipe: dict[str, Any], rows: list[list[str]]) -> None:
    rows.append([rows[0][0], rows[0][1], "test"])


def video_without_features(recipe: dict[str, Any], rows: list[list[str]]) -> None:
    rows.append(["v99.mp4", "a", "train"])
    recipe["data"]["skip_missing"] = True


def groups_apart(recipe: dict[str, Any], rows: list[list[str]]) -> None:
    recipe["data"]["group"] = r"v\d(?P<subject>\d)"


def no_column(recipe: dict[str, Any], rows: list[list[str]]) -> None:
    recipe["data"]["group"] = "camera"


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("no-bank", no_bank),
        ("recipe", too_many_layers),
        ("model", unknown_groups),
        ("short-videos", long_clips),
        ("empty-class", class_only_in_test),
        ("data", video_in_both_splits),
        ("left-out", video_without_features),
        ("group-leak", groups_apart),
        ("group", no_column),
    ],
)
def test_faults_of_a_recipe(tmp_path: Path, code: str, change: Callable) -> None:
    assert codes(make_recipe(tmp_path, change)) == {code}


def test_windows_longer_than_videos(tmp_path: Path) -> None:
    def use_windows(recipe: dict[str, Any], rows: list[list[str]]) -> None:
        lines = [f"{name},{label},0,2,{split}" for name, label, split in rows]
        (tmp_path / "timed.csv").write_text("\n".join(["video,label,start,end,split", *lines]))
        windows = {"length_steps": N_STEPS + 1, "stride_steps": 8}
        recipe["data"] |= {"kind": "timed", "source": str(tmp_path / "timed.csv")}
        recipe["data"]["windows"] = windows

    assert "window" in codes(make_recipe(tmp_path, use_windows))


def test_equal_files_on_both_sides(tmp_path: Path) -> None:
    same = {"v01": "one", "v11": "one"}
    assert codes(make_recipe(tmp_path, sources=same)) == {"duplicate-leak"}


def test_equal_files_on_one_side(tmp_path: Path) -> None:
    same = {"v01": "one", "v02": "one"}
    assert codes(make_recipe(tmp_path, sources=same)) == {"duplicate"}


def test_near_identical_features_on_both_sides(tmp_path: Path) -> None:
    def copy(videos: list[np.ndarray]) -> None:
        videos[11] = videos[1] + 0.01

    assert codes(make_recipe(tmp_path, features=copy)) == {"near-duplicate-leak"}


def test_a_recipe_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\nmodel: {layers: 3}\n")
    assert codes(tmp_path / "recipe.yaml") == {"recipe"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    spec = PoolingSpec(8, 2, hidden=4)
    pipeline = {
        "task": "single-label",
        "classes": ["a", "b"],
        "sampling": {"n_timesteps": 16, "map_size": None},
        "windows": None,
        "features": {},
    }
    write_folder(tmp_path / "model", spec, oracle.random_arrays(spec.parameter_shapes()), pipeline)
    return tmp_path / "model"


def test_a_model_without_faults(model: Path) -> None:
    assert codes(model) == set()


def test_a_model_cut_short(model: Path) -> None:
    (model / "config.json").write_text("{")
    assert codes(model) == {"model-file"}


def test_a_model_with_infinite_weights(tmp_path: Path) -> None:
    spec = PoolingSpec(8, 2, hidden=4)
    arrays = oracle.random_arrays(spec.parameter_shapes())
    arrays["output.bias"][0] = np.inf
    write_folder(tmp_path, spec, arrays)
    assert codes(tmp_path) == {"not-finite", "no-pipeline"}


def test_a_model_whose_backbone_has_moved(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    weights = {"source": str(model / "weights.pt")}
    config["pipeline"]["features"] = {"backbone": {"name": "r2d_152", "weights": weights}}
    (model / "config.json").write_text(json.dumps(config))
    assert codes(model) == {"weights-moved"}


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder per class, four videos each."""
    rng = np.random.default_rng(1)
    for number in range(8):
        folder = tmp_path / "videos" / ("left", "right")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        ground = rng.integers(0, 120, 3)
        frames = [square(10 + number, 2 + 2 * step, ground) for step in range(12)]
        write_mp4(folder / f"{number}.mp4", frames, fps=10)
    return tmp_path / "videos"


def test_videos_without_faults(videos: Path) -> None:
    assert codes(videos) == set()


def test_a_video_cut_short(videos: Path) -> None:
    path = videos / "left" / "0.mp4"
    path.write_bytes(path.read_bytes()[:200])
    assert len(codes(videos)) == 1


def test_equal_videos_of_different_classes(videos: Path) -> None:
    shutil.copy(videos / "left" / "0.mp4", videos / "right" / "copy.mp4")
    assert sha256_of_file(videos / "left" / "0.mp4") == sha256_of_file(
        videos / "right" / "copy.mp4"
    )
    assert codes(videos) == {"contradiction", "duplicate"}


def test_videos_of_different_frame_rates(videos: Path) -> None:
    frames = [square(9, step, np.zeros(3)) for step in range(30)]
    write_mp4(videos / "left" / "fast.mp4", frames, fps=60)
    assert codes(videos) == {"mixed-rates"}


def test_the_command(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(model)]) == 0
    assert "no findings" in capsys.readouterr().out
    (model / "config.json").unlink()
    (model / "videos.txt").write_text("")
    with (model.parent / "recipe.yaml").open("w") as file:
        file.write("name: 3\nmodels: {}\n")
    assert main(["doctor", str(model.parent / "recipe.yaml"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [advice["code"] for advice in found] == ["recipe"]
    assert set(found[0]) == {"code", "place", "problem", "cure"}
