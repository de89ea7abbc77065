"""A tiny bank of two classes that only the order of time tells apart."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from timeception.features.bank import FeatureBank

# Where this module exists, TensorBoard does not import TensorFlow, which it would only do if that
# happens to be installed, for nothing that is used here.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))

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
