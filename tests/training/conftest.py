"""Tiny data of two classes that only the order of time tells apart: a bank, and videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from timeception.datasets.synthetic.generate import write_mp4
from timeception.features.bank import FeatureBank

N_STEPS = 24


@pytest.fixture(scope="session")
def order_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bank`` and ``videos.csv``: rising and falling videos hold the same steps, reversed."""
    root = tmp_path_factory.mktemp("order")
    bank = FeatureBank(root / "bank", mode="a", settings={"made": "by hand"})
    rng = np.random.default_rng(0)
    rows = ["path,labels,split"]
    for number in range(24):
        label = ("falling", "rising")[number % 2]
        steps = np.zeros((N_STEPS, 8, 2, 2), dtype=np.float32)
        at = rng.integers(2, N_STEPS - 8)
        first, second = (0, 1) if label == "rising" else (1, 0)
        steps[at : at + 3, first] = 3.0
        steps[at + 3 : at + 6, second] = 3.0
        steps += rng.normal(0, 0.1, steps.shape)
        bank.write(f"v{number:02d}", steps, np.arange(N_STEPS) * 4, fps=8.0)
        rows.append(f"v{number:02d}.mp4,{label},{'test' if number >= 16 else 'train'}")
    (root / "videos.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight MP4 files, ``left/0.mp4`` to ``right/7.mp4``: a square that moves to one side."""
    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for number in range(8):
        label = ("left", "right")[number % 2]
        (root / label).mkdir(exist_ok=True)
        top, ground = rng.integers(8, 30), rng.integers(0, 120, 3)
        frames = [
            square(top, 2 + step if label == "right" else 62 - step, ground)
            for step in range(0, 60, 3)
        ]
        write_mp4(root / label / f"{number}.mp4", frames, fps=10)
    return root


def square(top: int, left: int, ground: np.ndarray) -> np.ndarray:
    """A bright square on a dark frame of 48 x 80 pixels."""
    frame = np.tile(ground.astype(np.uint8), (48, 80, 1))
    frame[top : top + 14, left : left + 14] = (250, 220, 30)
    return frame
