"""Training requires the features of the recipe's backbone section; nothing differs silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.small_runs import small_recipe, write_data
from timeception.clips.task_data import check_bank, read_task_data
from timeception.features.bank import FeatureBank
from timeception.training.train import train

ROWS = [("a", "cut", "train"), ("b", "pour", "train")]
SETTINGS = {
    "kind": "extraction",
    "backbone": {"name": "i3d", "endpoint": "Mixed_5c", "weights": {"sha256": "0" * 64}},
    "stride": 4,
    "map_size": None,
    "precision": "fp32",
}
SECTION = {
    "name": "i3d",
    "endpoint": "Mixed_5c",
    "stride_frames": 4,
    "channels": 4,
    "map_size": [2, 2],
    "precision": "fp32",
}


def check(root: Path, settings: dict[str, Any], section: dict[str, Any], **changes: Any) -> None:
    write_data(root, ROWS)
    made = FeatureBank(root / "bank", mode="a", settings=settings, is_replaced=True)
    for video_id in made.video_ids:
        made.write(video_id, np.ones((4, 4, 2, 2)), np.arange(4), fps=8.0)
    recipe = small_recipe(root, backbone=section, **changes)
    check_bank(recipe, read_task_data(recipe))


def test_equal_features_pass(tmp_path: Path) -> None:
    check(tmp_path, SETTINGS, SECTION)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"endpoint": "Mixed_4f"}, "endpoint: Mixed_5c in the bank, Mixed_4f in the recipe's"),
        ({"stride_frames": 8}, "timesteps: every 4 frames (stride) in the bank, every 8 frames"),
        ({"stride_frames": None, "fps": 5.0}, "every 4 frames (stride) in the bank, 5 per second"),
        ({"precision": "bf16"}, "precision: fp32 in the bank, bf16 in the recipe's"),
        ({"map_size": [7, 7]}, "map size: 2x2 in the bank, 7x7 in the recipe's"),
        ({"channels": 1024}, "channels: 4 in the bank, 1024 in the recipe's"),
    ],
)
def test_each_difference_is_an_error(change: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        check(tmp_path, SETTINGS, {**SECTION, **change})
    assert line in str(caught.value) and str(caught.value).count(" in the bank, ") == 1
    assert "timeception extract VIDEOS" in str(caught.value)


def test_the_error_lists_every_difference(tmp_path: Path) -> None:
    section = {**SECTION, "channels": 8, "stride_frames": 2, "endpoint": "x", "map_size": [1, 1]}
    with pytest.raises(ValueError) as caught:
        check(tmp_path, SETTINGS, section)
    assert str(caught.value).count(" in the bank, ") == 4


def test_fields_that_the_recipe_leaves_out_fit_everything(tmp_path: Path) -> None:
    check(tmp_path, SETTINGS, {"name": "i3d", "stride_frames": 4})


def test_maps_that_sampling_averages_may_be_larger(tmp_path: Path) -> None:
    sampling = {"n_timesteps": 4, "map_size": [1, 1]}
    check(tmp_path, SETTINGS, {**SECTION, "map_size": [1, 1]}, sampling=sampling)


def test_segments_of_2019_have_no_stride(tmp_path: Path) -> None:
    check(tmp_path, {**SETTINGS, "frames_2019": 32}, {**SECTION, "stride_frames": 8})


def test_imported_banks_are_checked_for_channels_only(tmp_path: Path) -> None:
    settings = {"kind": "import", "fps": 1.0, "stride": 1}
    section = {**SECTION, "map_size": [7, 7], "stride_frames": 8}
    check(tmp_path / "a", settings, section)
    with pytest.raises(ValueError, match="channels: 4 in the bank, 5 in the recipe's backbone"):
        check(tmp_path / "b", settings, {**section, "channels": 5})


def test_training_stops_before_it_makes_a_run(tmp_path: Path) -> None:
    write_data(tmp_path, ROWS)
    recipe = small_recipe(tmp_path, backbone={"name": "i3d", "channels": 1024})
    with pytest.raises(ValueError, match="channels: 4 in the bank, 1024 in the recipe's backbone"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
