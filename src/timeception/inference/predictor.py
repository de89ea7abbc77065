"""Prediction: a video file, or features of a video, to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.sampler import PrepareFeatures
from timeception.datasets.windows import step_edges_seconds, window_starts
from timeception.features.bank import BankError, FeatureBank
from timeception.features.bank.store import timesteps_per_second
from timeception.features.comparison import has_times
from timeception.features.extraction.extract import VideoFeatures, features_through
from timeception.features.extraction.settings import extraction_settings, segmenter_of
from timeception.features.extractor import DEFAULT_PRECISION, FeatureExtractor
from timeception.features.segments import Segmenter
from timeception.inference.model_features import check_model_bank, in_channels_of, map_size_of
from timeception.inference.saved_model import SavedModel, TimelineModel, load_model
from timeception.video import VideoError
from timeception.video.sampling import sample_indices

if TYPE_CHECKING:
    from timeception.inference.timelines import Timeline

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

    A video that cannot be read has an ``error`` and no scores. The ``time_unit`` of windows is
    ``"seconds"``, or ``"steps"`` for features whose times are unknown.
    """

    video: str
    classes: tuple[str, ...]
    scores: Scores = field(default_factory=lambda: np.zeros(0))
    windows: tuple[WindowScores, ...] = ()
    error: str | None = None
    time_unit: str = "seconds"

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the ``count`` classes with the highest scores in the whole video."""
        return WindowScores(0.0, 0.0, self.scores).top(self.classes, count)

    def to_dict(self, top: int) -> dict[str, Any]:
        """Return the prediction for JSON."""
        if self.error is not None:
            return {"video": self.video, "error": self.error}
        windows = [window.to_dict(self.classes, top) for window in self.windows]
        if self.time_unit != "seconds":
            windows = [
                {key.replace("_seconds", f"_{self.time_unit}"): value for key, value in w.items()}
                for w in windows
            ]
        return {"video": self.video, "scores": dict(self.top(top)), "windows": windows}


class Predictor:
    """Scores video files with a saved model and its backbone, or features with the model alone.

    Args:
        model: the saved model.
        backbone: the network that made the features of training; ``None`` scores features only.
        device: device of the backbone; ``None`` uses a GPU if there is one.
    """

    def __init__(self, model: SavedModel, backbone: Any = None, device: str | None = None) -> None:
        self.model, self.backbone, self.device = model, backbone, device

    @classmethod
    def load(
        cls, source: str | Path, *, weights: str | None = None, device: str | None = None
    ) -> Predictor:
        """Load a run, a saved-model folder or a hub id, and create its backbone.

        Args:
            source: the model.
            weights: weights file of the backbone, if it has moved since training.
            device: device of backbone and head; ``None`` uses a GPU, if there is one, for the
                backbone, and the CPU for the head.

        Raises:
            ValueError: if the model was trained on imported features, whose backbone is unknown,
                or if the weights are not those of training.
        """
        model = load_model(source, device)
        return cls(model, model.backbone(weights), device)

    @classmethod
    def for_features(cls, source: str | Path, device: str | None = None) -> Predictor:
        """Load a run, a saved-model folder or a hub id, to score features; needs no backbone.

        Example:
            Score every video of a bank with a model of imported features::

                predictor = Predictor.for_features("runs/mine")
                bank = FeatureBank("banks/mine")
                predictor.check_bank(bank)
                predictions = [predictor.predict_bank(bank, video_id) for video_id in bank]
        """
        return cls(load_model(source, device), device=device)

    def __call__(self, video: str | Path, n_draws: int = 1) -> Prediction:
        """Score one video file; if it cannot be read, the prediction has an error.

        Raises:
            ValueError: if the predictor has no backbone.
        """
        self._require_classifier()
        try:
            features = self.video_features(video)
        except VideoError as error:
            return Prediction(str(video), self.model.classes, error=str(error))
        return self._prediction(str(video), features, n_draws)

    def video_features(self, video: str | Path) -> VideoFeatures:
        """Compute the features of one video file as training saw them.

        Raises:
            ValueError: if the predictor has no backbone.
            VideoError: if the video cannot be read.
        """
        advice = "Load it with Predictor.load."
        checks.require(self.backbone is not None, "predictor", "have a backbone", None, advice)
        return features_through(self._extractor, video, self.segmenter())

    def predict_video_features(
        self, video: str | Path, features: VideoFeatures, n_draws: int = 1
    ) -> Prediction:
        """Score one video whose features were computed with ``video_features``."""
        self._require_classifier()
        return self._prediction(str(video), features, n_draws)

    def predict_features(
        self,
        features: NDArray[Any],
        *,
        video: str = "features",
        start_frames: NDArray[np.int64] | None = None,
        fps: float | None = None,
        n_draws: int = 1,
    ) -> Prediction:
        """Score the features of one video, as training saw them.

        Args:
            features: all timesteps of the video.
            video: name of the prediction.
            start_frames: first frame of each timestep, (S,).
            fps: frames per second of the video; without both, the times of windows are in steps,
                unless training sampled by time.
            n_draws: number of random clips whose scores are averaged; 1 scores the uniform clip.

        Shape:
            features: (S, C, H, W); H = W = 1 for features without maps.

        Raises:
            ValueError: if channels or maps are not those of training.

        Example:
            >>> features = np.zeros((64, 1024, 1, 1), dtype=np.float32)
            >>> predictor = Predictor.for_features("runs/mine")  # doctest: +SKIP
            >>> predictor.predict_features(features).top(2)  # doctest: +SKIP
            [('stir', 0.71), ('pour', 0.24)]
        """
        self._require_classifier()
        self.check_shape(video, features.shape)
        unit = "seconds"
        if start_frames is None or fps is None:
            rate = timesteps_per_second(self.model.features)  # these are spaced as in training
            start_frames, fps = np.arange(len(features)), rate or 1.0
            unit = "seconds" if rate else "steps"
        made = VideoFeatures(features, start_frames, fps, n_frames=_end_frame(start_frames))
        return self._prediction(video, made, n_draws, unit)

    def predict_bank(self, bank: FeatureBank, video_id: str, n_draws: int = 1) -> Prediction:
        """Score one video of a bank; if its file is damaged, the prediction has an error.

        Raises:
            ValueError: if the bank does not hold the video, or its features have other channels
                or maps than those of training.
        """
        try:
            entry = bank[video_id]
        except BankError as error:
            return Prediction(video_id, self.model.classes, error=str(error))
        starts, fps = entry.start_frames, entry.fps if has_times(bank.settings) else None
        rate = timesteps_per_second(bank.settings)
        if rate is not None:  # the first frames of steps may repeat
            starts, fps = np.arange(len(starts)), rate
        return self.predict_features(
            entry.features, video=video_id, start_frames=starts, fps=fps, n_draws=n_draws
        )

    def timeline(self, video: str | Path) -> Timeline:
        """Score every timestep of a video file; see ``inference.timelines.Timeline``.

        A localizer was trained to say when. From a classifier, a timeline is the evidence of each
        output step.

        Raises:
            ValueError: if the predictor has no backbone, or the model cannot say when.

        Example:
            >>> predictor = Predictor.load("runs/mine")  # doctest: +SKIP
            >>> predictor.timeline("video.mp4").segments()[0].label  # doctest: +SKIP
            'pour'
        """
        from timeception.inference.video_timelines import video_timeline

        return video_timeline(self, video, device=self.device)[0]

    def _require_classifier(self) -> None:
        is_classifier = not isinstance(self.model, TimelineModel)
        advice = "It scores timesteps: call timeline, or pass --timeline."
        where = f"model {self.model.folder}"
        checks.require(is_classifier, where, "be a classifier", "a localizer", advice)

    def check_bank(self, bank: FeatureBank) -> None:
        """Check that a bank's features are of the kind that the model was trained on.

        Raises:
            ValueError: if they differ in weights, endpoint, spacing of timesteps,
                precision, channels or maps; the error lists both sides of every difference.
        """
        check_model_bank(self.model, bank)

    @property
    def in_channels(self) -> int:
        """Channels of the features that the model takes."""
        return in_channels_of(self.model)

    def check_shape(self, video: str, shape: tuple[int, ...]) -> None:
        """Check that features (S, C, H, W) are those that the model takes.

        Raises:
            ValueError: if channels or maps are not those of training.
        """
        what = f"features of {video!r}"
        is_whole = len(shape) == 4 and min(shape) >= 1
        checks.require(is_whole, what, "have the shape (S, C, H, W), none of them 0", shape)
        advice = "Check --axes; or these features are of another backbone."
        wanted = self.in_channels
        checks.require(shape[1] == wanted, what, f"have {wanted} channels", shape[1], advice)
        size = map_size_of(self.model)
        if size is not None and self.model.map_size is None:
            maps, advice = tuple(shape[2:]), "Average them with `timeception bank resize`."
            checks.require(maps == size, what, f"have maps of {size[0]}x{size[1]}", maps, advice)

    def _prediction(
        self, video: str, features: VideoFeatures, n_draws: int, unit: str = "seconds"
    ) -> Prediction:
        windows = self.score_windows(features, n_draws)
        scores = np.max([window.scores for window in windows], axis=0)
        return Prediction(video, self.model.classes, scores, tuple(windows), time_unit=unit)

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
            if isinstance(self.model, TimelineModel):  # it uses every k-th timestep
                stride = stride and int(stride) * self.model.stride_steps
                fps = fps and fps / self.model.stride_steps
        size, frames = made["map_size"], made.get("frames_2019")
        return segmenter_of(
            extraction_settings(self.backbone, stride, size, frames_2019=frames, fps=fps)
        )

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        return self.extractor(device=self.device)

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
        prepare = PrepareFeatures(self.model.map_size, self.model.is_centered)
        drawn = prepare(steps[indices], rng)
        scores: Scores = self.model.score(drawn[None])[0].astype(np.float64)
        return scores


def _end_frame(starts: NDArray[np.int64]) -> int:
    """Frame after the last timestep, as long as the median of the others."""
    return int(starts[-1] + (np.median(np.diff(starts)) if len(starts) > 1 else 1))
