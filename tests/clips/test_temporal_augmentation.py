"""Changes of training clips in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.small_runs import small_recipe, write_data
from timeception.clips.task_data import read_task_data
from timeception.clips.temporal_augmentation import TemporalAugmentation

OPTIONS = ({"speed": 0.5}, {"jitter_steps": 2.0}, {"drop": 0.3})


@given(
    n=st.integers(1, 200),
    speed=st.floats(0, 0.99),
    jitter=st.floats(0, 20),
    drop=st.floats(0, 0.99),
    seed=st.integers(0, 99),
)
def test_order_and_range(n: int, speed: float, jitter: float, drop: float, seed: int) -> None:
    chosen = TemporalAugmentation(speed, jitter, drop).indices(n, np.random.default_rng(seed))
    assert chosen.shape == (n,)
    assert (np.diff(chosen) >= 0).all()
    assert 0 <= chosen[0] <= chosen[-1] < n


def test_speed_keeps_the_ends_and_changes_the_middle() -> None:
    rng = np.random.default_rng(0)
    rows = np.array([TemporalAugmentation(speed=0.5).indices(101, rng) for _ in range(400)])
    assert (rows[:, 0] == 0).all()
    assert (rows[:, -1] == 100).all()
    assert 5 < rows[:, 50].std() < 20
    assert np.diff(rows).max() <= 3  # at most 1.5 / 0.5 times as fast as the mean, rounded


def test_jitter_has_the_deviation_asked_for() -> None:
    rng = np.random.default_rng(0)
    moved = [
        TemporalAugmentation(jitter_steps=0.5).indices(1001, rng) - np.arange(1001)
        for _ in range(20)
    ]
    inner = np.array(moved)[:, 10:-10]
    assert abs(inner.mean()) < 0.02
    assert 0.3 < inner.std() < 0.6  # sorting moves close neighbours back


def test_drop_repeats_the_step_before() -> None:
    chosen = TemporalAugmentation(drop=0.25).indices(10_000, np.random.default_rng(0))
    is_repeated = np.diff(chosen) == 0
    assert is_repeated.mean() == pytest.approx(0.25, abs=0.02)
    assert (chosen[1:][~is_repeated] == np.arange(1, 10_000)[~is_repeated]).all()


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_only_training_clips_change(options: dict[str, float], tmp_path: Path) -> None:
    rows = [("a", "x", "train"), ("b", "y", "train"), ("c", "x", "validation"), ("d", "y", "test")]
    root = write_data(tmp_path, rows, n_steps=64)
    sampling = {"sampling__n_timesteps": 64, "model__head": "pooling"}
    plain = read_task_data(small_recipe(root, **sampling), is_augmented=True)
    fields = {f"augmentation__{name}": value for name, value in options.items()}
    recipe = small_recipe(root, **sampling, **fields)
    data = read_task_data(recipe, is_augmented=True)

    def differs(split: str, clip_index: int | None) -> bool:
        clips = [each.split(split).sampler.sample(0, clip_index) for each in (data, plain)]
        return not np.array_equal(*clips)

    assert differs("train", 3)
    assert not differs("train", None)
    assert not differs("validation", None)
    assert not differs("test", 3)
    tested = read_task_data(recipe).train.sampler
    assert np.array_equal(tested.sample(0, 3), plain.train.sampler.sample(0, 3))
