"""Prediction: from a video file, through the model's own backbone, to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception.clips.sampler import average_maps
from timeception.datasets.windows import step_edges_seconds, window_starts
from timeception.features.extraction.extract import VideoFeatures, features_through
from timeception.features.extraction.settings import extraction_settings, segmenter_of
from timeception.features.extractor import DEFAULT_PRECISION, FeatureExtractor
from timeception.features.segments import Segmenter
from timeception.inference.saved_model import SavedModel, load_saved
from timeception.video import VideoError
from timeception.video.sampling import sample_indices

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class WindowScores:
    """Scores of one window, in the order of the model's classes."""

    start_seconds: float
    end_seconds: float
    scores: Scores

    def top(self, classes: Sequence[str], count: int) -> list[tuple[str, float]]:
        """The ``count`` highest classes."""
        best = np.argsort(-self.scores, kind="stable")[:count]
        return [(classes[index], float(self.scores[index])) for index in best]

    def to_dict(self, classes: Sequence[str], top: int) -> dict[str, Any]:
        """The window as JSON holds it."""
        times = {"start_seconds": self.start_seconds, "end_seconds": self.end_seconds}
        return {**times, "scores": dict(self.top(classes, top))}


@dataclass(frozen=True)
class Prediction:
    """Scores of one video; of a model trained on windows, also those of each window.

    A video that could not be read has an ``error`` and no scores.
    """

    video: str
    classes: tuple[str, ...]
    scores: Scores = field(default_factory=lambda: np.zeros(0))
    windows: tuple[WindowScores, ...] = ()
    error: str | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """The ``count`` highest classes of the whole video."""
        return WindowScores(0.0, 0.0, self.scores).top(self.classes, count)

    def to_dict(self, top: int) -> dict[str, Any]:
        """The prediction as JSON holds it."""
        if self.error is not None:
            return {"video": self.video, "error": self.error}
        windows = [window.to_dict(self.classes, top) for window in self.windows]
        return {"video": self.video, "scores": dict(self.top(top)), "windows": windows}


class Predictor:
    """A saved model with its backbone, ready for video files.

    Args:
        model: head, classes, sampling and the settings of the bank it was trained on.
        backbone: the network that made that bank's features.
    """

    def __init__(self, model: SavedModel, backbone: Any) -> None:
        self.model, self.backbone = model, backbone

    @classmethod
    def load(cls, source: str | Path, *, weights: str | None = None) -> Predictor:
        """Load a run, a saved-model folder or a hub id, and make its backbone.

        Args:
            source: what to load.
            weights: backbone weights file, where the one used in training has moved.

        Raises:
            ValueError: if the model was trained on imported features, whose backbone is unknown,
                or if the backbone's weights are not those of training.
        """
        model = load_saved(source)
        return cls(model, model.backbone(weights))

    def __call__(self, video: str | Path, n_draws: int = 1) -> Prediction:
        """Score one video file; a file that cannot be read gives a prediction with an error."""
        classes = self.model.classes
        try:
            features = features_through(self._network, video, self._segmenter)
        except VideoError as error:
            return Prediction(str(video), classes, error=str(error))
        windows = self.score_windows(features, n_draws)
        scores = np.max([window.scores for window in windows], axis=0)
        return Prediction(str(video), classes, scores, tuple(windows))

    @cached_property
    def _network(self) -> FeatureExtractor:
        made = self.model.features
        precision = made.get("precision", DEFAULT_PRECISION)
        return FeatureExtractor(self.backbone, made["map_size"], precision=precision)

    @cached_property
    def _segmenter(self) -> Segmenter:
        made, precision = self.model.features, self._network.precision
        settings = extraction_settings(
            self.backbone, made["stride"], made["map_size"], precision, made.get("frames_2019")
        )
        return segmenter_of(settings)

    def score_windows(self, features: VideoFeatures, n_draws: int) -> list[WindowScores]:
        """Score each window of a video; the whole video is one where training had no windows."""
        n_steps = len(features.features)
        length, stride = self.model.window_steps or (n_steps, n_steps)
        if self.model.window_steps is None:  # the outer edges count; segments of 2019 may repeat
            edges = np.linspace(0.0, features.n_frames / features.fps, n_steps + 1)
        else:
            edges = step_edges_seconds(features.start_frames, features.fps)
        windows = []
        for start in window_starts(n_steps, length, stride).tolist():
            stop = min(start + length, n_steps)
            scores = np.mean(
                [
                    self.score_steps(features.features[start:stop], number)
                    for number in (range(n_draws) if n_draws > 1 else [None])
                ],
                axis=0,
            )
            windows.append(WindowScores(float(edges[start]), float(edges[stop]), scores))
        return windows

    def score_steps(self, steps: NDArray[Any], number: int | None = None) -> Scores:
        """Score one draw of a window's features (S, C, H, W); ``None`` is the equidistant one."""
        rng = None if number is None else np.random.default_rng(number)
        drawn = np.asarray(
            steps[sample_indices(len(steps), self.model.n_timesteps, rng)], dtype=np.float32
        )
        if self.model.map_size is not None:
            drawn = average_maps(drawn, self.model.map_size)
        return self.model.score(drawn[None])[0].astype(np.float64)
