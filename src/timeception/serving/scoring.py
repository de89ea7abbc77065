"""Scores of uploaded videos, a limited number at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import TimelineModel
from timeception.inference.timelines import Timeline
from timeception.inference.video_timelines import video_features_timeline
from timeception.serving.limits import Limits, RefusedError, check_video
from timeception.video import VideoError


@dataclass(frozen=True)
class Scored:
    """Scores of one video.

    Args:
        scores: score of each class in the whole video; for a localizer, the highest over time.
        timeline: scores over time; without timesteps if the model cannot say when.
        note: why there is no timeline.
    """

    scores: dict[str, float]
    timeline: Timeline
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the answer of the HTTP API."""
        has_times = len(self.timeline.scores) > 0
        when = self.timeline.to_dict() if has_times else None
        if when is not None:
            when.pop("video")
        return {"scores": self.scores, "timeline": when, "note": self.note}


class BusyError(RuntimeError):
    """Too many videos wait."""


@dataclass
class VideoService:
    """Scores videos with one model; the limits hold for the page and the API together.

    Args:
        predictor: model and backbone.
        limits: what is accepted.
    """

    predictor: Predictor
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._slots = threading.Semaphore(self.limits.n_workers)
        self._lock, self._n_inside = threading.Lock(), 0

    def score(self, path: Path) -> Scored:
        """Score a video file, after those that came before.

        Raises:
            RefusedError: if the limits or the decoder refuse it.
            BusyError: if too many videos wait.
        """
        with self._turn():
            check_video(path, self.limits)
            try:
                return self._score(path)
            except VideoError:
                text = "This video is damaged: it cannot be decoded to its end. Convert it first."
                raise RefusedError(text) from None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._lock:
            if self._n_inside >= self.limits.n_workers + self.limits.max_waiting:
                raise BusyError("Too many videos are waiting. Try again in a minute.")
            self._n_inside += 1
        try:
            with self._slots:
                yield
        finally:
            with self._lock:
                self._n_inside -= 1

    def _score(self, path: Path) -> Scored:
        predictor, classes = self.predictor, self.predictor.model.classes
        if isinstance(predictor.model, TimelineModel):
            timeline = replace(predictor.timeline(path), video="video")  # no path of the server
            if timeline.error is not None:
                text = "This video is damaged, or too short for the model."
                raise RefusedError(text)
            highest = timeline.scores.max(axis=0).tolist()
            return Scored(dict(zip(classes, highest, strict=True)), timeline)
        features = predictor.video_features(path)
        try:
            timeline = video_features_timeline(predictor, features, video="video")
        except ValueError:  # the kind of network: see inference.streams.stream_scorer
            timeline = Timeline.failed("video", classes, "This model cannot say when.")
        prediction = predictor.predict_video_features("video", features)
        scores = dict(prediction.top(len(classes)))
        return Scored(scores, timeline, timeline.error or "")
