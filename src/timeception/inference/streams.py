"""Scores of a stream while it plays, in memory that does not grow with its length.

A model of whole videos uses every timestep: after the last one, its scores equal those of all dense
features of the video at once. A model of windows scores each window when it is complete, as it does
for a file; the scores of the stream are the maxima over its windows.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from timeception import checks
from timeception.features.bank.store import timesteps_per_second
from timeception.features.extraction.settings import has_2019_segments
from timeception.features.maps import average_maps
from timeception.features.pipeline import BROKEN_VIDEO
from timeception.features.stream import FeatureStream, StreamFeatures
from timeception.inference.localizing import LocalizerScorer
from timeception.inference.predictor import Predictor, Scores, WindowScores
from timeception.inference.saved_model import SavedModel, TimelineModel, probabilities
from timeception.torch import StreamingClassifier, TimeceptionClassifier
from timeception.video import StreamSource

DEFAULT_INTERVAL_SECONDS = 10.0
_ROUNDING = 1e-9  # relative error of times, in intervals
MAX_SPACING_RATIO = 1.25  # beyond it, a notice says that timesteps differ from training


@dataclass(frozen=True)
class StreamUpdate:
    """State of a stream so far.

    Args:
        source: name of the stream.
        classes: in the order of the scores.
        seconds: time of the last frame read, from the first.
        n_timesteps: timesteps so far.
        scores: scores as if the video ended here; ``None`` before there are enough timesteps.
        evidence: output steps (windows, for a model of windows) completed since the last update,
            each with its scores.
        n_damaged: places so far where frames did not decode and were left out.
        timestep_seconds: mean time from one timestep to the next; ``None`` before the second.
        is_final: whether the stream has ended.
        error: reason of the end, if the stream was interrupted or too short.
    """

    source: str
    classes: tuple[str, ...]
    seconds: float
    n_timesteps: int
    scores: Scores | None
    evidence: tuple[WindowScores, ...]
    n_damaged: int
    timestep_seconds: float | None
    is_final: bool = False
    error: str | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the ``count`` classes with the highest scores; none before there are scores."""
        if self.scores is None:
            return []
        return WindowScores(0.0, self.seconds, self.scores).top(self.classes, count)

    def to_dict(self, top: int) -> dict[str, Any]:
        """Return the update for JSON."""
        return {
            "source": self.source,
            "seconds": self.seconds,
            "timesteps": self.n_timesteps,
            "scores": None if self.scores is None else dict(self.top(top)),
            "evidence": [step.to_dict(self.classes, 1) for step in self.evidence],
            "damaged": self.n_damaged,
            "final": self.is_final,
            "error": self.error,
        }


class VideoScorer:
    """Scores every timestep; the head of the model must have Timeception layers."""

    def __init__(self, model: SavedModel) -> None:
        self._model = model
        self._stream = StreamingClassifier(model.head)
        self.needed_timesteps = 2**model.head.spec.timeception.n_layers
        self._starts: deque[float] = deque()  # of output steps that are not complete yet
        self._end_seconds = 0.0
        self._final: Scores | None = None

    def push(self, part: StreamFeatures) -> list[WindowScores]:
        """Add the next timesteps; return the output steps that they complete."""
        indices = self._stream.n_timesteps + np.arange(len(part.features))
        self._starts.extend(part.start_seconds[indices % self.needed_timesteps == 0].tolist())
        self._end_seconds = float(part.end_seconds[-1])
        clip = torch.from_numpy(part.features).transpose(0, 1)[None]
        return self._evidence(self._stream.push(clip).logits)

    def scores(self) -> Scores | None:
        """Return the scores of all timesteps so far; ``None`` if there are too few."""
        if self._stream.n_timesteps < self.needed_timesteps:
            return None
        return self._final if self._final is not None else self._as_scores(self._stream.scores())[0]

    def finish(self) -> list[WindowScores]:
        """End the stream; return the output steps that waited for its end."""
        if self._stream.n_timesteps < self.needed_timesteps:
            return []
        logits, last = self._stream.finish()
        self._final = self._as_scores(logits)[0]
        return self._evidence(last.logits)

    def _evidence(self, logits: torch.Tensor) -> list[WindowScores]:
        steps = []
        for scores in self._as_scores(logits[0]):
            start = self._starts.popleft()
            end = self._starts[0] if self._starts else self._end_seconds
            steps.append(WindowScores(start, end, scores))
        return steps

    def _as_scores(self, logits: torch.Tensor) -> Scores:
        return probabilities(logits, self._model.is_multilabel).double().cpu().numpy()


class WindowScorer:
    """Scores every window when it is complete; the model must have been trained on windows."""

    needed_timesteps = 1

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        length, self._stride = predictor.model.window_steps or (0, 0)
        self._kept: deque[NDArray[np.float32]] = deque(maxlen=length)
        self._starts: deque[float] = deque(maxlen=length)
        self._length, self._n_steps, self._n_scored = length, 0, 0
        self._end_seconds = 0.0
        self._highest: Scores | None = None

    def push(self, part: StreamFeatures) -> list[WindowScores]:
        """Add the next timesteps; return the windows that they complete."""
        windows, times = [], (part.start_seconds, part.end_seconds)
        for features, start, end in zip(part.features, *times, strict=True):
            self._kept.append(features)
            self._starts.append(float(start))
            self._end_seconds = float(end)
            self._n_steps += 1
            begun = self._n_steps - self._length
            if begun >= 0 and begun % self._stride == 0:
                windows.append(self._score())
        return windows

    def scores(self) -> Scores | None:
        """Return the maximum of each class over all windows so far; ``None`` before the first."""
        return self._highest

    def finish(self) -> list[WindowScores]:
        """Score the window that ends with the stream, if it was not scored yet."""
        return [self._score()] if self._n_scored < self._n_steps else []

    def _score(self) -> WindowScores:
        scores = self._predictor.score_steps(np.stack(self._kept))
        self._highest = scores if self._highest is None else np.maximum(self._highest, scores)
        self._n_scored = self._n_steps
        return WindowScores(self._starts[0], self._end_seconds, scores)


StreamScorer = VideoScorer | WindowScorer | LocalizerScorer


def stream_scorer(predictor: Predictor) -> StreamScorer:
    """Make the scorer that fits a model.

    Raises:
        ValueError: if the model needs whole videos at once.
    """
    if isinstance(predictor.model, TimelineModel):
        return LocalizerScorer(predictor.model)
    if predictor.model.window_steps is not None:
        return WindowScorer(predictor)
    head = predictor.model.head
    requirement = "have Timeception layers, or be trained on windows, to score over time"
    advice = "Predict without --stream and --timeline, or train with model.head=timeception."
    has_layers = isinstance(head, TimeceptionClassifier)
    checks.require(has_layers, "model", requirement, type(head).__name__, advice)
    advice = "It subtracts each video's mean over time, which is known at the end of the video."
    is_centered, name = predictor.model.is_centered, predictor.model.folder.name
    checks.require(not is_centered, "model", "be able to score streams", name, advice)
    return VideoScorer(predictor.model)


def stream_video(
    predictor: Predictor,
    source: StreamSource | str,
    *,
    stride: int | None = None,
    fps: float | None = None,
    interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
    batch_size: int | None = None,
    device: str | None = None,
    stop: threading.Event | None = None,
) -> Iterator[StreamUpdate]:
    """Score a stream while it plays.

    Args:
        predictor: the model and its backbone.
        source: the stream, or its location.
        stride: frames from one timestep to the next; ``None`` uses the model's.
        fps: timesteps per second, instead of ``stride``.
        interval_seconds: seconds of video from one update to the next.
        batch_size: maximum number of segments that the backbone takes at once; ``None`` chooses.
        device: device of the backbone; ``None`` uses a GPU if there is one.
        stop: event that ends the stream, set from any thread or a signal handler.

    Returns:
        Updates; the last one is final, and has an error if the stream was interrupted, could not
        be opened, or was too short.

    Raises:
        ValueError: if an argument is wrong, or the model cannot score streams.
    """
    checks.require(interval_seconds > 0, "interval_seconds", "be positive", interval_seconds)
    source = StreamSource(source) if isinstance(source, str) else source
    advice = "It samples clips by the length of the whole video, as in 2019."
    is_of_2019, name = has_2019_segments(predictor.model.features), predictor.model.folder.name
    checks.require(not is_of_2019, "model", "be able to score streams", name, advice)
    stop = stop or threading.Event()
    extractor = predictor.extractor(batch_size, device)
    features = FeatureStream(source, predictor.segmenter(stride, fps), extractor, stop)
    return _Scoring(predictor, features, interval_seconds, stop).updates()


class _Scoring:
    """Scores one stream and makes its updates."""

    def __init__(
        self, predictor: Predictor, features: FeatureStream, interval: float, stop: threading.Event
    ) -> None:
        self._model, self._scorer = predictor.model, stream_scorer(predictor)
        self._features, self._stop = features, stop
        self._interval = self._due = interval  # in seconds
        self._n_timesteps, self._seconds = 0, 0.0
        self._starts: list[float] = []  # of the first timestep and the last one
        self._evidence: list[WindowScores] = []

    def updates(self) -> Iterator[StreamUpdate]:
        error, batches = None, iter(self._features)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                break
            except BROKEN_VIDEO as broken:
                error = str(broken)
                break
            for part, is_due in self._parts(batch):
                self._push(part)
                if is_due:
                    yield self._update()
        self._evidence += self._scorer.finish()
        if error is None and self._scorer.scores() is None and not self._stop.is_set():
            needed = self._scorer.needed_timesteps
            error = (
                f"{self._features.source.name} has {self._n_timesteps} timesteps, but scores "
                f"require {needed}. Use a longer video, or a smaller --stride or a larger --fps."
            )
        yield self._update(is_final=True, error=error)

    def _parts(self, batch: StreamFeatures) -> Iterator[tuple[StreamFeatures, bool]]:
        """Cut a batch after each timestep at which an update is due."""
        first, n_steps = 0, len(batch.features)
        for index, end in enumerate(batch.end_seconds.tolist()):
            is_due = end >= self._due - _ROUNDING * self._interval
            if is_due:
                n_past = math.floor(end / self._interval + _ROUNDING)
                self._due = (n_past + 1) * self._interval
            if is_due or index + 1 == n_steps:
                yield batch[first : index + 1], is_due
                first = index + 1

    def _push(self, part: StreamFeatures) -> None:
        if self._model.map_size is not None:
            part = replace(part, features=average_maps(part.features, self._model.map_size))
        self._evidence += self._scorer.push(part)
        self._n_timesteps += len(part.features)
        self._seconds = float(part.end_seconds[-1])
        self._starts = [*self._starts[:1], *part.start_seconds[[0, -1]].tolist()]

    def _update(self, is_final: bool = False, error: str | None = None) -> StreamUpdate:
        evidence, self._evidence = tuple(self._evidence), []
        n_between = self._n_timesteps - 1
        span = self._starts[-1] - self._starts[0] if n_between > 0 else 0.0
        return StreamUpdate(
            source=self._features.source.name,
            classes=self._model.classes,
            seconds=self._seconds,
            n_timesteps=self._n_timesteps,
            scores=self._scorer.scores(),
            evidence=evidence,
            n_damaged=self._features.frames.n_damaged,
            timestep_seconds=span / n_between if n_between > 0 else None,
            is_final=is_final,
            error=error,
        )


def spacing_notice(
    model: SavedModel, update: StreamUpdate, stride: int | None, fps: float | None = None
) -> str | None:
    """Return a notice if a stream's timesteps are much closer or wider apart than in training.

    It names the stride or rate that comes closest. ``stride`` and ``fps`` are those of the stream;
    ``None`` is the model's. Without a record of training, or of two timesteps, there is no notice.
    """
    trained, streamed = model.timestep_seconds, update.timestep_seconds
    if trained is None or not streamed:
        return None
    if model.window_steps is not None:  # a clip is sampled from each window
        streamed *= model.window_steps[0] / model.n_timesteps
    if 1 / MAX_SPACING_RATIO < trained / streamed < MAX_SPACING_RATIO:
        return None
    if stride is None:
        fps = fps or timesteps_per_second(model.features)
    if fps is not None:
        matching = f"--fps {fps * streamed / trained:.3g}"
    else:
        stride = stride or int(model.features["stride"])
        matching = f"--stride {max(1, round(stride * trained / streamed))}"
        if matching == f"--stride {stride}":
            return None
    return (
        f"timesteps are {streamed:.2f} s apart here, but were {trained:.2f} s apart in training "
        f"(median): scores may suffer. {matching} comes closest."
    )
