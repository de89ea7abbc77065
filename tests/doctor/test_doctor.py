"""Planted faults, which the doctor must find, beside clean data, on which it must be silent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from timeception.doctor import diagnose
from timeception.doctor.machine import check_codecs, check_disk, check_gpu, check_versions
from timeception.features.bank import FeatureBank

N_VIDEOS, SHAPE = 6, (24, 16, 1, 1)


def smooth(seed: int) -> np.ndarray:
    """Features that change slowly: a random walk."""
    steps = np.random.default_rng(seed).normal(size=SHAPE)
    return np.cumsum(steps, axis=0).astype(np.float32)


def make_bank(root: Path, change: Callable[[dict[str, np.ndarray]], None]) -> Path:
    videos = {f"video{seed}": smooth(seed) for seed in range(N_VIDEOS)}
    change(videos)
    bank = FeatureBank(root, mode="a", dtype="float32")
    for video_id, features in videos.items():
        bank.write(video_id, features, np.arange(len(features)) * 8, 24.0)
    return root


def plant_constant(videos: dict[str, np.ndarray]) -> None:
    videos["video1"] = np.repeat(videos["video1"][:1], SHAPE[0], axis=0)


def plant_range(videos: dict[str, np.ndarray]) -> None:
    videos["video2"] = videos["video2"] * 12


def plant_shuffled(videos: dict[str, np.ndarray]) -> None:
    order = np.random.default_rng(7).permutation(SHAPE[0])
    videos["video3"] = videos["video3"][order]


def plant_copy(videos: dict[str, np.ndarray]) -> None:
    videos["again"] = videos["video4"][:-1]


def codes(path: Path) -> set[str]:
    return {advice.code for advice in diagnose([path])}


def test_a_clean_bank(tmp_path: Path) -> None:
    assert codes(make_bank(tmp_path / "bank", lambda videos: None)) == set()


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("constant", plant_constant),
        ("value-range", plant_range),
        ("shuffled", plant_shuffled),
        ("duplicate", plant_copy),
    ],
)
def test_faults_of_a_bank(tmp_path: Path, code: str, change: Callable) -> None:
    assert codes(make_bank(tmp_path / "bank", change)) == {code}


def test_a_damaged_file(tmp_path: Path) -> None:
    root = make_bank(tmp_path / "bank", lambda videos: None)
    path = FeatureBank(root).path("video0")
    path.write_bytes(path.read_bytes()[:-40])
    assert codes(root) == {"bank-file"}


def test_faults_of_the_machine(tmp_path: Path) -> None:
    found = [
        *check_gpu(is_present=True, is_usable=False),
        *check_codecs(frozenset()),
        *check_disk(tmp_path, None),
        *check_disk(tmp_path, 1.0),
        *check_versions({"numpy": "0.1"}),
        *check_versions({"torch": "2.9.1+cpu"}),
    ]
    assert [advice.code for advice in found] == [
        "unused-gpu",
        "no-codec",
        "disk-unwritable",
        "slow-disk",
        "version",
        "broken-version",
    ]
    assert all(advice.cure for advice in found)


def test_unknown_paths(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PATH must exist"):
        list(diagnose([tmp_path / "nothing"]))
