"""Small banks, recipes and models, with and without planted faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from timeception.doctor import diagnose
from timeception.features.bank import FeatureBank

N_VIDEOS, N_STEPS = 12, 24
RECIPE = {
    "name": "small",
    "sampling": {"n_timesteps": 16},
    "model": {"n_layers": 2, "n_groups": 1},
}


def codes(*paths: Path) -> set[str]:
    return {advice.code for advice in diagnose(paths)}


def split(number: int) -> str:
    return "test" if number >= 8 else "train"


def make_recipe(
    root: Path,
    change: Callable[[dict[str, Any], list[list[str]]], None] = lambda recipe, rows: None,
    features: Callable[[list[np.ndarray]], None] = lambda videos: None,
    sources: dict[str, str] | None = None,
) -> Path:
    """Write a bank, annotations and a recipe, each after a change."""
    rng = np.random.default_rng(0)
    videos = [np.cumsum(rng.normal(size=(N_STEPS, 8, 2, 2)), axis=0) for _ in range(N_VIDEOS)]
    features(videos)
    bank = FeatureBank(root / "bank", mode="a", dtype="float32")
    for number, steps in enumerate(videos):
        name = f"v{number:02d}"
        more = {"source": {"sha256": (sources or {}).get(name, name)}}
        starts = np.arange(len(steps)) * 8
        bank.write(name, steps.astype(np.float32), starts, 24.0, more)
    rows = [[f"v{n:02d}.mp4", "ab"[n % 2], split(n)] for n in range(N_VIDEOS)]
    data = {"kind": "csv", "source": str(root / "videos.csv"), "bank": str(root / "bank")}
    recipe = json.loads(json.dumps({**RECIPE, "data": data}))
    change(recipe, rows)
    lines = ["path,labels,split", *(",".join(row) for row in rows)]
    (root / "videos.csv").write_text("\n".join(lines) + "\n")
    (root / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    return root / "recipe.yaml"
