"""Prediction: a video file through the model's backbone and head to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception.datasets.windows import step_edges_seconds, window_starts
from timeception.features.bank.store import timesteps_per_second
from timeception.features.extraction.extract import VideoFeatures, features_through
from timeception.features.extraction.settings import extraction_settings, segmenter_of
from timeception.features.extractor import DEFAULT_PRECISION, FeatureExtractor
from timeception.features.maps import average_maps
from timeception.features.segments import Segmenter
from timeception.inference.saved_model import SavedModel, load_saved
from timeception.video import VideoError
from timeception.video.sampling import sample_indices

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class WindowScores:
    """Scores of one window of time, in the order of the model's classes."""

    start_seconds: float
    end_seconds: float
    scores: Scores

    def top(self, classes: Sequence[str], count: int) -> list[tuple[str, float]]:
        """Return the ``count`` classes with the highest scores."""
        best = np.argsort(-self.scores, kind="stable")[:count]
        return [(classes[index], float(self.scores[index])) for index in best]

    def to_dict(self, classes: Sequence[str], top: int) -> dict[str, Any]:
        """Return the window for JSON."""
        times = {"start_seconds": self.start_seconds, "end_seconds": self.end_seconds}
        return {**times, "scores": dict(self.top(classes, top))}


@dataclass(frozen=True)
class Prediction:
    """Scores of one video, and of each of its windows if the model was trained on windows.

    A video that cannot be read has an ``error`` and no scores.
    """

    video: str
    classes: tuple[str, ...]
    scores: Scores = field(default_factory=lambda: np.zeros(0))
    windows: tuple[WindowScores, ...] = ()
    error: str | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the ``count`` classes with the highest scores in the whole video."""
        return WindowScores(0.0, 0.0, self.scores).top(self.classes, count)

    def to_dict(self, top: int) -> dict[str, Any]:
        """Return the prediction for JSON."""
        if self.error is not None:
            return {"video": self.video, "error": self.error}
        windows = [window.to_dict(self.classes, top) for window in self.windows]
        return {"video": self.video, "scores": dict(self.top(top)), "windows": windows}


class Predictor:
    """Scores video files with a saved model and the backbone that made its training features."""

    def __init__(self, model: SavedModel, backbone: Any) -> None:
        self.model, self.backbone = model, backbone

    @classmethod
    def load(cls, source: str | Path, *, weights: str | None = None) -> Predictor:
        """Load a run, a saved-model folder or a hub id, and create its backbone.

        ``weights`` is the weights file of the backbone, if it has moved since training.

        Raises:
            ValueError: if the model was trained on imported features, whose backbone is unknown,
                or if the weights are not those of training.
        """
        model = load_saved(source)
        return cls(model, model.backbone(weights))

    def __call__(self, video: str | Path, n_draws: int = 1) -> Prediction:
        """Score one video file; if it cannot be read, the prediction has an error."""
        classes = self.model.classes
        try:
            features = features_through(self._extractor, video, self.segmenter())
        except VideoError as error:
            return Prediction(str(video), classes, error=str(error))
        windows = self.score_windows(features, n_draws)
        scores = np.max([window.scores for window in windows], axis=0)
        return Prediction(str(video), classes, scores, tuple(windows))

    def extractor(
        self, batch_size: int | None = None, device: str | None = None
    ) -> FeatureExtractor:
        """Make an extractor with the settings of training; arguments as in ``FeatureExtractor``."""
        made = self.model.features
        size, precision = made["map_size"], made.get("precision", DEFAULT_PRECISION)
        return FeatureExtractor(self.backbone, size, batch_size, device, precision=precision)

    def segmenter(self, stride: int | None = None, fps: float | None = None) -> Segmenter:
        """Make a segmenter with the settings of training, or with another stride or rate."""
        made = self.model.features
        if stride is None and fps is None:
            stride, fps = made.get("stride"), timesteps_per_second(made)
        size, frames = made["map_size"], made.get("frames_2019")
        return segmenter_of(
            extraction_settings(self.backbone, stride, size, frames_2019=frames, fps=fps)
        )

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        return self.extractor()

    def score_windows(self, features: VideoFeatures, n_draws: int) -> list[WindowScores]:
        """Score each window of a video; without windows in training, the video is one window."""
        n_steps = len(features.features)
        length, stride = self.model.window_steps or (n_steps, n_steps)
        if self.model.window_steps is None:  # only the ends matter; segments of 2019 may overlap
            edges = np.linspace(0.0, features.n_frames / features.fps, n_steps + 1)
        else:
            rate = timesteps_per_second(self.model.features)
            starts, fps = features.start_frames, features.fps
            edges = step_edges_seconds(starts, fps, timesteps_per_second=rate)
        clip_indices = range(n_draws) if n_draws > 1 else [None]
        windows = []
        for start in window_starts(n_steps, length, stride).tolist():
            stop = min(start + length, n_steps)
            steps = features.features[start:stop]
            scores = np.mean([self.score_steps(steps, index) for index in clip_indices], axis=0)
            windows.append(WindowScores(float(edges[start]), float(edges[stop]), scores))
        return windows

    def score_steps(self, steps: NDArray[Any], clip_index: int | None = None) -> Scores:
        """Score one clip of a window's features (S, C, H, W); ``None`` is the uniform clip."""
        rng = None if clip_index is None else np.random.default_rng(clip_index)
        indices = sample_indices(len(steps), self.model.n_timesteps, rng)
        drawn = np.asarray(steps[indices], dtype=np.float32)
        if self.model.map_size is not None:
            drawn = average_maps(drawn, self.model.map_size)
        scores: Scores = self.model.score(drawn[None])[0].astype(np.float64)
        return scores
