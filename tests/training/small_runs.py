"""Tiny data and runs for worked examples: a few videos of four steps, heads with known values.

A pooling head on features of four channels can be worked out in a few lines of numpy; what
surrounds it (losses, optimisers, checkpoints, draws, scores) is the same for every head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import oracle
from timeception.features.bank import FeatureBank
from timeception.recipes.recipe import Recipe, build_recipe
from timeception.spec import LEAKY_SLOPE, PoolingSpec
from timeception.training.runs import Run
from timeception.weights import write_folder

CHANNELS, N_STEPS, HIDDEN = 4, 4, 6

#: For ``pytestmark``: what the frameworks themselves warn of.
FRAMEWORK_WARNINGS = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]


def write_data(
    root: Path,
    rows: Sequence[tuple[str, str, str]],
    *,
    n_steps: int = N_STEPS,
    seed: int = 0,
    are_equal: bool = False,
) -> Path:
    """A bank of random features and ``videos.csv``.

    Args:
        root: where to.
        rows: name, labels and split of each video.
        n_steps: steps of each video.
        seed: of the features.
        are_equal: whether all videos have the same features.
    """
    bank = FeatureBank(root / "bank", mode="a", settings={"made": "by hand"})
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(len(rows), n_steps, CHANNELS, 1, 1)).astype(np.float32)
    for number, (name, _, _) in enumerate(rows):
        steps = features[0 if are_equal else number]
        bank.write(name, steps, np.arange(n_steps) * 8, fps=8.0)
    lines = ["path,labels,split", *(f"{name}.mp4,{labels},{split}" for name, labels, split in rows)]
    (root / "videos.csv").write_text("\n".join(lines) + "\n")
    return root


def small_recipe(root: Path, **changes: object) -> Recipe:
    """A recipe on ``write_data``'s data; ``section__field=value`` changes one field of a section.

    Without dropout, and with clips that take every step of a video.
    """
    fields: dict[str, Any] = {
        "name": "small",
        "data": {"kind": "csv", "source": str(root / "videos.csv"), "bank": str(root / "bank")},
        "sampling": {"n_timesteps": N_STEPS},
        "model": {"head": "pooling", "hidden": HIDDEN, "dropout": [0.0, 0.0]},
        "training": {"epochs": 1, "batch_size": 4},
    }
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        fields[section] = {**fields.get(section, {}), leaf: value} if leaf else value
    return build_recipe(fields)


def head_spec_of(n_classes: int) -> PoolingSpec:
    """The head of ``small_recipe``."""
    return PoolingSpec(CHANNELS, n_classes, HIDDEN, (0.0, 0.0))


def saved_head(folder: Path, classes: Sequence[str], **pipeline: object) -> dict[str, np.ndarray]:
    """Save a head with random values; return them."""
    spec = head_spec_of(len(classes))
    arrays = oracle.random_arrays(spec.parameter_shapes())
    write_folder(folder, spec, arrays, {"classes": list(classes), **pipeline})
    return arrays


def finished_run(
    root: Path,
    recipe: Recipe,
    classes: Sequence[str],
    task: str,
    features: dict[str, Any] | None = None,
) -> Run:
    """A run that was never trained: the recipe, and a head with random values."""
    run = Run(root)
    root.mkdir(parents=True)
    run.recipe_file.write_text(recipe.with_absolute_paths().to_yaml())
    sampling = recipe.sampling.model_dump(mode="json")
    more = {"recipe": recipe.name, "task": task, "sampling": sampling}
    saved_head(run.model, classes, **more, windows=None, features=features or {"made": "by hand"})
    return run


def features_of(root: Path, names: Sequence[str]) -> np.ndarray:
    """The whole videos, (N, S, C)."""
    bank = FeatureBank(root / "bank")
    return np.stack([np.float64(bank[name].features)[:, :, 0, 0] for name in names])


def pooling_logits(
    arrays: dict[str, np.ndarray], videos: np.ndarray, *, is_training: bool, bn_eps: float = 1e-3
) -> np.ndarray:
    """Logits (N, n_classes) of the head on videos (N, S, C), in float64."""
    a = {name: np.float64(array) for name, array in arrays.items()}
    readout = np.concatenate([videos.mean(1), videos.max(1)], axis=1)
    x = readout @ a["hidden.weight"].T + a["hidden.bias"]
    mean = x.mean(0) if is_training else a["norm.running_mean"]
    variance = x.var(0) if is_training else a["norm.running_var"]
    x = (x - mean) / np.sqrt(variance + bn_eps) * a["norm.weight"] + a["norm.bias"]
    x = np.where(x > 0, x, LEAKY_SLOPE * x)
    return x @ a["output.weight"].T + a["output.bias"]


def cut_power(
    monkeypatch: pytest.MonkeyPatch, after: int, error: type[BaseException] = RuntimeError
) -> None:
    """Let the bank fail after a number of random draws: training stops there."""
    whole, numbers = FeatureBank.draw, iter(range(after))

    def draw(self: FeatureBank, video_id: str, n: int, rng: Any = None, **more: Any) -> np.ndarray:
        if rng is not None and next(numbers, None) is None:
            raise error("the power went out")
        return whole(self, video_id, n, rng, **more)

    monkeypatch.setattr(FeatureBank, "draw", draw)


def curve(run: Run, column: str) -> list[float]:
    """A column of the logs, over all parts of a training, where it has values."""
    return [float(row[column]) for rows in _logs(run) for row in rows if row.get(column)]


def _logs(run: Run) -> Iterator[list[dict[str, str]]]:
    from tests.order_recipe import table

    parts = list(run.logs.glob("part_*"))
    for number in range(1, len(parts) + 1):
        file = run.logs / f"part_{number}" / "metrics.csv"
        yield table(file) if file.exists() else []
