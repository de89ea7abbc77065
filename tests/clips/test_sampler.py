import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from timeception.clips.sampler import ClipSampler, epoch_order
from timeception.clips.task_data import timestep_seconds
from timeception.datasets.records import VideoRecord
from timeception.features.bank import FeatureBank
from timeception.features.maps import average_maps


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> FeatureBank:
    """One video whose step t holds the number t everywhere."""
    bank = FeatureBank(tmp_path_factory.mktemp("bank"), mode="a")
    steps = np.broadcast_to(np.arange(40.0)[:, None, None, None], (40, 2, 4, 6))
    bank.write("ramp", steps, np.arange(40), fps=1.0)
    return bank


def sampler(bank: FeatureBank, **changes: object) -> ClipSampler:
    settings = {"records": (VideoRecord("ramp", ("a",)),), "n_timesteps": 10, "seed": 3}
    return ClipSampler(bank, **{**settings, **changes})


def steps_of(features: np.ndarray) -> list[int]:
    return features[:, 0, 0, 0].astype(int).tolist()


def test_a_draw_depends_on_epoch_seed_and_record_alone(bank: FeatureBank) -> None:
    first = steps_of(sampler(bank).sample(0, 1))
    assert steps_of(sampler(bank).sample(0, 1)) == first
    assert steps_of(sampler(bank).sample(0, 2)) != first
    assert steps_of(sampler(bank, seed=4).sample(0, 1)) != first
    window = VideoRecord("ramp", ("a",), steps=(0, 40))
    assert steps_of(sampler(bank, records=(window,)).sample(0, 1)) != first


def test_random_draws_take_one_step_of_each_stratum(bank: FeatureBank) -> None:
    for epoch in range(5):
        assert [step // 4 for step in steps_of(sampler(bank).sample(0, epoch))] == list(range(10))


def test_windows_bound_the_draw(bank: FeatureBank) -> None:
    window = VideoRecord("ramp", ("a",), steps=(12, 32))
    for number in (None, 0, 1):
        drawn = steps_of(sampler(bank, records=(window,)).sample(0, number))
        assert min(drawn) >= 12 and max(drawn) < 32


def test_shuffling_permutes_the_same_steps(bank: FeatureBank) -> None:
    for number in (None, 5):
        ordered = steps_of(sampler(bank).sample(0, number))
        shuffled = steps_of(sampler(bank, is_shuffled=True).sample(0, number))
        assert shuffled != ordered
        assert sorted(shuffled) == ordered


def test_the_time_between_timesteps_is_the_median_over_records(bank: FeatureBank) -> None:
    windows = tuple(VideoRecord("ramp", ("a",), steps=s) for s in ((0, 4), (4, 12), (12, 40)))
    assert timestep_seconds(sampler(bank)) == 4.0  # 40 s in 10 timesteps
    assert timestep_seconds(sampler(bank, records=windows)) == 0.8
    assert sampler(bank, records=windows).span_seconds(2) == 28.0


def test_batches_cover_every_record_in_order(bank: FeatureBank) -> None:
    records = tuple(VideoRecord("ramp", ("a",), steps=(i, i + 10)) for i in range(5))
    made = sampler(bank, records=records)
    parts = list(made.batches(None, 2))
    assert [len(features) for _, features in parts] == [2, 2, 1]
    together = np.concatenate([features for _, features in parts])
    assert (together == np.stack([made.sample(i, None) for i in range(5)])).all()


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)), st.tuples(st.integers(1, 9), st.integers(1, 9))
)
def test_average_maps_equals_adaptive_pooling(size: tuple[int, int], to: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32)
    if to[0] > size[0] or to[1] > size[1]:
        with pytest.raises(ValueError, match="map_size must be at most"):
            average_maps(maps, to)
        return
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(maps), to).numpy()
    np.testing.assert_allclose(average_maps(maps, to), expected, atol=1e-5)


@given(st.integers(1, 70), st.integers(2, 32), st.integers(0, 5))
def test_epoch_order_visits_each_record_once(n_records: int, batch_size: int, epoch: int) -> None:
    order = epoch_order(n_records, batch_size, 0, epoch)
    assert len(set(order)) == len(order)
    assert set(order) <= set(range(n_records))
    has_single = n_records > 1 and n_records % batch_size == 1
    assert len(order) == n_records - has_single


def test_epoch_order_changes_with_the_epoch_and_the_seed() -> None:
    orders = [epoch_order(30, 8, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(30, 8, 1, 1).tolist() == orders[3]


def test_each_epoch_leaves_out_another_record() -> None:
    left_out = {(set(range(9)) - set(epoch_order(9, 4, 0, epoch))).pop() for epoch in range(40)}
    assert left_out == set(range(9))
