"""Shuffled clips: the same steps in an order of the record's own, which repeats."""

from __future__ import annotations

import numpy as np
import pytest

from timeception.clips.sampler import ClipSampler
from timeception.datasets.records import VideoRecord
from timeception.features.bank import FeatureBank

RECORDS = tuple(VideoRecord(f"ramp{number}", ("a",)) for number in range(3))
N_STEPS, N_TIMESTEPS = 40, 10


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> FeatureBank:
    """Three videos whose step t holds the number t everywhere."""
    bank = FeatureBank(tmp_path_factory.mktemp("bank"), mode="a")
    steps = np.broadcast_to(np.arange(float(N_STEPS))[:, None, None, None], (N_STEPS, 2, 2, 2))
    for record in RECORDS:
        bank.write(record.video_id, steps, np.arange(N_STEPS), fps=1.0)
    return bank


def order(bank: FeatureBank, index: int, number: int | None, seed: int = 3) -> list[int]:
    draws = ClipSampler(bank, RECORDS, N_TIMESTEPS, is_shuffled=True, seed=seed)
    return draws.sample(index, number)[:, 0, 0, 0].astype(int).tolist()


@pytest.mark.parametrize("number", [None, 0, 7])
def test_the_order_repeats(bank: FeatureBank, number: int | None) -> None:
    first = order(bank, 0, number)
    assert [order(bank, 0, number) for _ in range(3)] == [first] * 3
    assert first != sorted(first)


@pytest.mark.parametrize("number", [None, 0, 7])
def test_the_order_is_the_records_and_the_seeds_own(bank: FeatureBank, number: int | None) -> None:
    orders = [order(bank, index, number) for index in range(3)]
    orders += [order(bank, 0, number, seed) for seed in (4, 5)]
    assert len({tuple(steps) for steps in orders}) == 5


def test_equidistant_clips_hold_the_equidistant_steps(bank: FeatureBank) -> None:
    assert sorted(order(bank, 1, None)) == list(range(2, 40, 4))
    assert {step // 4 for step in order(bank, 1, 5)} == set(range(10))


def test_epochs_differ(bank: FeatureBank) -> None:
    assert len({tuple(order(bank, 0, epoch)) for epoch in range(6)}) == 6


def test_each_epoch_has_an_order_of_its_own(bank: FeatureBank) -> None:
    """Clips of all steps, so that nothing but the order can differ."""
    sampler = ClipSampler(bank, RECORDS, N_STEPS, is_shuffled=True, seed=3)
    orders = [sampler.sample(0, number)[:, 0, 0, 0].astype(int).tolist() for number in range(4)]
    assert all(sorted(steps) == list(range(N_STEPS)) for steps in orders)
    assert len({tuple(steps) for steps in orders}) == 4


def test_batches_are_shuffled_alike(bank: FeatureBank) -> None:
    draws = ClipSampler(bank, RECORDS, N_TIMESTEPS, is_shuffled=True, seed=3)
    for number in (None, 2):
        together = np.concatenate([clips for _, clips in draws.batches(number, 2)])
        found = together[:, :, 0, 0, 0].astype(int).tolist()
        assert found == [order(bank, index, number) for index in range(3)]
