"""Saved models: a run, a saved-model folder or a hub id becomes a head ready to score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception.spec import PoolingSpec
from timeception.training.runs import Run, find_run
from timeception.weights.folder import read_folder

Scorer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From features (N, T, C, H, W) to probabilities (N, n_classes)."""


@dataclass(frozen=True)
class SavedModel:
    """A trained head and what surrounds it."""

    score: Scorer
    pipeline: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return tuple(self.pipeline["classes"])

    @property
    def n_timesteps(self) -> int:
        """Timesteps of a draw."""
        return int(self.pipeline["sampling"]["n_timesteps"])

    @property
    def map_size(self) -> tuple[int, int] | None:
        """Size that the features' spatial maps are averaged to, if they are."""
        size = self.pipeline["sampling"]["map_size"]
        return (size[0], size[1]) if size else None

    @property
    def window_steps(self) -> tuple[int, int] | None:
        """Length and stride in bank steps of the windows of training, if it had any."""
        windows = self.pipeline["windows"]
        return (windows["length_steps"], windows["stride_steps"]) if windows else None

    @property
    def features(self) -> dict[str, Any]:
        """Settings of the bank that the head was trained on."""
        return dict(self.pipeline["features"])


def load_saved(source: str | Path) -> SavedModel:
    """Load a run's model, a saved-model folder or a hub id.

    Raises:
        ValueError: if there is none, or it was saved without its pipeline (class names, sampling).
    """
    from timeception.torch import PoolingClassifier, TimeceptionClassifier

    folder = find_run(source).model if Run(Path(source)).recipe_file.is_file() else source
    spec, arrays, pipeline = read_folder(folder)
    if pipeline is None:
        raise ValueError(
            f"model {source} was saved without its pipeline (class names, sampling, features). "
            "Save it by `timeception train`, or set model.pipeline before save_pretrained."
        )
    kind = PoolingClassifier if isinstance(spec, PoolingSpec) else TimeceptionClassifier
    head = kind.from_arrays(spec, arrays, pipeline)
    return SavedModel(scorer(head, pipeline["task"] == "multi-label"), pipeline)


def scorer(head: Any, is_multilabel: bool) -> Scorer:
    """Return a function from features (N, T, C, H, W) to probabilities, of a PyTorch head."""
    import torch

    head.eval()
    device = next(head.parameters()).device

    def score(features: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = head(torch.from_numpy(features).to(device).transpose(1, 2))
            scores = logits.sigmoid() if is_multilabel else logits.softmax(dim=1)
        return np.asarray(scores.float().cpu().numpy())

    return score
