"""What a recipe says of its data reaches the clips and targets: features, frames and times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.small_runs import CHANNELS, small_recipe, write_data
from timeception.clips.sampler import ClipSampler
from timeception.clips.task_data import read_task_data, read_video_task_data, timestep_seconds
from timeception.datasets.records import VideoRecord
from timeception.features.bank import FeatureBank
from timeception.recipes.recipe import build_recipe
from timeception.video import Transform

ROWS = [("a", "cut", "train"), ("b", "pour", "train"), ("c", "cut", "test")]


def test_maps_are_averaged_to_the_recipes_size(tmp_path: Path) -> None:
    root = write_data(tmp_path, ROWS)
    bank = FeatureBank(root / "bank", mode="a", settings={"made": "by hand"})
    maps = np.arange(4 * CHANNELS * 2 * 4, dtype=np.float32).reshape(4, CHANNELS, 2, 4)
    for name, _, _ in ROWS:
        bank.write(name, maps, np.arange(4) * 8, fps=8.0)
    assert read_task_data(small_recipe(root)).train.sampler.shape() == (4, CHANNELS, 2, 4)
    data = read_task_data(small_recipe(root, sampling__map_size=[1, 2]))
    expected = maps.reshape(4, CHANNELS, 2, 2, 2).mean(axis=(2, 4))[:, :, None]
    np.testing.assert_allclose(data.train.sampler.sample(0, None), expected)


def test_shuffling_and_seed_are_the_recipes(tmp_path: Path) -> None:
    root = write_data(tmp_path, ROWS, n_steps=12)
    ordered = read_task_data(small_recipe(root, sampling__n_timesteps=12)).train.sampler.sample(
        0, None
    )
    orders = set()
    for seed in range(3):
        sampling = {"n_timesteps": 12, "order": "shuffled"}
        recipe = small_recipe(root, sampling=sampling, seed=seed)
        clip = read_task_data(recipe).train.sampler.sample(0, None)
        rows = [int((ordered == step).all(axis=(1, 2, 3)).argmax()) for step in clip]
        assert sorted(rows) == list(range(12)) != rows
        orders.add(tuple(rows))
    assert len(orders) == 3


@pytest.mark.parametrize("megabytes", [0, 3])
def test_the_memory_for_frames_is_in_megabytes(clips: Path, megabytes: int) -> None:
    recipe = build_recipe(
        {
            "name": "pixels",
            "data": {
                "kind": "folder",
                "source": str(clips),
                "videos": str(clips),
                "split": {"train": ["*"]},
            },
            "backbone": {"name": "timm:test_resnet", "weights": "random", "stride_frames": 3},
            "sampling": {"n_timesteps": 4},
            "model": {"n_layers": 1},
            "training": {"scheme": "end_to_end"},
            "end_to_end": {"cache_megabytes": megabytes},
        }
    )
    store = read_video_task_data(recipe, Transform()).train.sampler.source
    assert (store.cache_bytes, store.stride_frames) == (megabytes * 2**20, 3)


def test_the_median_time_is_over_all_records(tmp_path: Path) -> None:
    """Windows of 1, 1, 9, 9 and 9 s: the later ones count as much as the first."""
    bank = FeatureBank(tmp_path, mode="a")
    bank.write("a", np.ones((10, 1, 1, 1)), np.arange(10), fps=1.0)
    records = tuple(VideoRecord("a", ("x",), steps=(0, n)) for n in (1, 1, 9, 9, 9))
    assert timestep_seconds(ClipSampler(bank, records, 3)) == 3.0
    assert timestep_seconds(ClipSampler(bank, records[::-1], 3)) == 3.0
    many = tuple(VideoRecord("a", ("x",), steps=(0, 2 + 4 * (n >= 300))) for n in range(1000))
    assert timestep_seconds(ClipSampler(bank, many, 2)) == 3.0  # a sample of them is enough


@pytest.mark.parametrize("center", [False, True])
def test_clips_of_training_are_centered_if_the_recipe_says_so(tmp_path: Path, center: bool) -> None:
    rows = [("a", "x", "train"), ("b", "y", "train")]
    recipe = small_recipe(write_data(tmp_path, rows), sampling__center=center)
    means = read_task_data(recipe).train.sampler.sample(0, 3).mean(axis=0)
    assert (np.abs(means).max() < 1e-6) == center


@pytest.mark.parametrize("share", ["test_fraction", "validation_fraction"])
def test_random_shares_divide_no_group(tmp_path: Path, share: str) -> None:
    names = [f"P{person}_{take}" for person in range(4) for take in range(6)]
    rows = [(name, "xy"[int(name[-1]) % 2], "") for name in names]
    root = write_data(tmp_path, rows)
    split = {share: 0.25}
    for seed in range(3):
        data = {"group": "(?P<person>P[0-9])_", "split": split | {"seed": seed}}
        recipe = small_recipe(root, **{f"data__{key}": value for key, value in data.items()})
        splits = read_task_data(recipe).splits.values()
        people = [{record.key[:2] for record in part.sampler.records} for part in splits]
        assert sorted(map(len, people)) == [1, 3] and not people[0] & people[1]
