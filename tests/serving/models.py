"""A small model, and a service with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from timeception.features.extraction.jobs import VideoFeatures
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import SavedModel
from timeception.serving.limits import Limits
from timeception.serving.scoring import VideoService
from timeception.torch import TimeceptionClassifier

ATTACK = "<img src=x onerror=alert(1)><script>alert(2)</script>"
CLASSES = ("rest", ATTACK)


class ColourPredictor(Predictor):
    """A predictor whose features of a video are random, one timestep per frame."""

    def video_features(self, video: str | Path) -> VideoFeatures:
        from timeception.video import VideoReader

        with VideoReader(video) as reader:
            n_frames, fps = reader.info.n_frames, reader.info.fps
            reader.read([n_frames - 1])
        steps = np.random.default_rng(0).normal(size=(n_frames, 8, 1, 1)).astype(np.float32)
        return VideoFeatures(steps, np.arange(n_frames), fps, n_frames)


def service(**limits: Any) -> VideoService:
    head = TimeceptionClassifier(8, 2, n_layers=2, n_groups=1, hidden=4).eval()
    pipeline = {
        "task": "multi-label",
        "classes": list(CLASSES),
        "sampling": {"n_timesteps": 16, "map_size": None},
        "windows": None,
        "features": {"stride": 1},
    }
    model = SavedModel(head, pipeline, Path("model"))
    return VideoService(ColourPredictor(model, SimpleNamespace()), Limits(**limits))
