"""Commands do not import TensorFlow or the clients of loggers that they do not use.

The imports take seconds, and TensorFlow's prints warnings.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from timeception.features.bank import FeatureBank

WORDS = [
    *("demo", "data.kind=csv", "data.source=videos.csv", "data.bank=bank", "backbone=null"),
    *("sampling.n_timesteps=4", "model.n_layers=1", "training.epochs=1"),
]
PROGRAM = """
import sys
from timeception.cli import main
assert main(sys.argv[1:]) == 0
unused = {"tensorflow", "tensorboard", "wandb", "mlflow", "optuna"}
assert not unused & set(sys.modules), unused & set(sys.modules)
"""


@pytest.mark.slow
def test_training_and_testing_in_pytorch(tmp_path: Path) -> None:
    bank = FeatureBank(tmp_path / "bank", mode="a")
    rows = [(f"v{n}", "ab"[n % 2], "test" if n > 3 else "train") for n in range(6)]
    for name, *_ in rows:
        bank.write(name, np.ones((8, 4, 1, 1)), np.arange(8) * 8, fps=24.0)
    lines = ["path,labels,split", *(f"{name}.mp4,{label},{split}" for name, label, split in rows)]
    (tmp_path / "videos.csv").write_text("\n".join(lines))
    for words in (["train", *WORDS, "--out", "run"], ["test", "run", "--draws", "1"]):
        command = [sys.executable, "-c", PROGRAM, *words]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert "absl" not in done.stderr and "oneDNN" not in done.stderr
    assert list(tmp_path.glob("run/logs/part_*/metrics.csv"))
