"""One process against several with the same global batch: time, and differences of the results.

    python benchmarks/devices.py [--devices 2] [--clips 64] [--epochs 3]

Trains Timeception on random features, without dropout, in processes started by the command line.
Prints the seconds of each, imports included, and the largest differences of losses and weights.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from timeception.features.bank import FeatureBank
from timeception.recipes.recipe import build_recipe

CHANNELS, N_STEPS, MAP = 256, 64, 4


def write_data(root: Path, n_clips: int) -> None:
    """Write a bank of random features and its annotations."""
    bank, rng = FeatureBank(root / "bank", mode="a", dtype="float32"), np.random.default_rng(0)
    rows = ["path,labels,split"]
    for number in range(n_clips):
        features = rng.normal(size=(N_STEPS, CHANNELS, MAP, MAP)).astype(np.float32)
        bank.write(f"v{number}", features, np.arange(N_STEPS) * 8, 8.0)
        rows.append(f"v{number}.mp4,{'ab'[number % 2]},train")
    (root / "videos.csv").write_text("\n".join(rows) + "\n")


def run(root: Path, devices: int, epochs: int) -> tuple[float, Path]:
    """Train in a number of processes; return the seconds and the run folder."""
    recipe = build_recipe(
        {
            "name": f"devices_{devices}",
            "data": {"kind": "csv", "source": f"{root}/videos.csv", "bank": f"{root}/bank"},
            "sampling": {"n_timesteps": N_STEPS},
            "model": {"n_layers": 3, "dropout": [0.0, 0.0]},
            "training": {
                "epochs": epochs,
                "batch_size": 16,
                "devices": devices,
                "optimizer": "sgd",
                "learning_rate": 1e-3,  # large steps would amplify the rounding of sums
            },
        }
    )
    path, out = root / f"{devices}.yaml", root / f"run_{devices}"
    path.write_text(recipe.to_yaml())
    words = [sys.executable, "-m", "timeception", "train", str(path), "--out", str(out)]
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start, out


def losses(folder: Path) -> np.ndarray:
    """Training loss of each epoch."""
    rows = csv.DictReader((folder / "logs" / "part_1" / "metrics.csv").read_text().splitlines())
    return np.array([float(row["train_loss"]) for row in rows if row["train_loss"]])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--devices", 2), ("--clips", 64), ("--epochs", 3)):
        parser.add_argument(name, type=int, default=default)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_data(root, words.clips)
        (alone, one), (shared, several) = (
            run(root, devices, words.epochs) for devices in (1, words.devices)
        )
        first, second = (load_file(each / "model" / "model.safetensors") for each in (one, several))
        weights = max(float(np.abs(first[name] - second[name]).max()) for name in first)
        print(f"one process: {alone:.1f} s; {words.devices} processes: {shared:.1f} s")
        print(f"ratio: {alone / shared:.2f}")
        print(f"largest difference of losses: {np.abs(losses(one) - losses(several)).max():.2e}")
        print(f"largest difference of weights: {weights:.2e}")


if __name__ == "__main__":
    main()
