"""Scores of a stream as it comes, in memory that does not grow with its length.

A model of whole videos takes every timestep: after the last one its scores are those of all dense
features of the video at once, with none drawn. A model of windows scores each window when it is
complete, from the same draw as for a file; the scores of the stream are the highest of its windows.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.sampler import average_maps
from timeception.features.extraction.settings import (
    extraction_settings,
    has_2019_segments,
    segmenter_of,
)
from timeception.features.extractor import DEFAULT_PRECISION, FeatureExtractor
from timeception.features.pipeline import BROKEN_VIDEO
from timeception.features.stream import FeatureStream, StreamFeatures
from timeception.inference.predictor import Predictor, Scores, WindowScores
from timeception.inference.saved_model import SavedModel
from timeception.torch import StreamingClassifier, TimeceptionClassifier
from timeception.video import StreamSource

DEFAULT_INTERVAL_SECONDS = 10.0
CLEARLY = 1.25  # timesteps are told to differ from training's by more than this factor


@dataclass(frozen=True)
class StreamUpdate:
    """What is known of a stream so far.

    Args:
        source: name of the stream.
        classes: in the order of the scores.
        seconds: time of the last frame looked at, since the first.
        n_timesteps: timesteps so far.
        scores: as if the video ended here; ``None`` before the first timesteps that give any.
        evidence: output steps (of a model of windows: windows) that became known since the last
            update, each with scores of its own.
        n_damaged: places so far where frames were left out, for they did not decode.
        timestep_seconds: mean time from one timestep to the next; ``None`` before the second.
        is_final: whether the stream has ended.
        error: why it did, if it broke off or was too short.
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
        """The ``count`` highest classes; none before there are scores."""
        if self.scores is None:
            return []
        return WindowScores(0.0, self.seconds, self.scores).top(self.classes, count)

    def to_dict(self, top: int) -> dict[str, Any]:
        """The update as JSON holds it."""
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


class Follower(Protocol):
    """Scores features as they come."""

    needed_timesteps: int

    def push(self, part: StreamFeatures) -> list[WindowScores]:
        """Take the next timesteps; give the evidence that becomes known."""

    def scores(self) -> Scores | None:
        """As if the stream ended here; ``None`` if that is too early."""

    def finish(self) -> list[WindowScores]:
        """End the stream; give the last evidence."""


class WholeFollower:
    """Every timestep through a ``StreamingClassifier``.

    Args:
        model: its head has Timeception layers.
    """

    def __init__(self, model: SavedModel) -> None:
        self._model = model
        self._stream = StreamingClassifier(model.head)
        self.needed_timesteps = self._step = 2**model.head.spec.timeception.n_layers
        self._starts: deque[float] = deque()  # of the output steps that are not known yet
        self._end_seconds = 0.0
        self._final: Scores | None = None

    def push(self, part: StreamFeatures) -> list[WindowScores]:
        """Take the next timesteps; give the output steps that become known."""
        indices = self._stream.n_timesteps + np.arange(len(part.features))
        self._starts.extend(part.start_seconds[indices % self._step == 0].tolist())
        self._end_seconds = float(part.end_seconds[-1])
        clip = torch.from_numpy(part.features).transpose(0, 1)[None]
        return self._told(self._stream.push(clip).logits)

    def scores(self) -> Scores | None:
        """Those of all timesteps so far."""
        if self._stream.n_timesteps < self.needed_timesteps:
            return None
        return self._final if self._final is not None else self._as_scores(self._stream.scores())[0]

    def finish(self) -> list[WindowScores]:
        """End the stream; give the output steps that waited for its end."""
        if self._stream.n_timesteps < self.needed_timesteps:
            return []
        logits, last = self._stream.finish()
        self._final = self._as_scores(logits)[0]
        return self._told(last.logits)

    def _told(self, logits: torch.Tensor) -> list[WindowScores]:
        told = []
        for scores in self._as_scores(logits[0]):
            start = self._starts.popleft()
            end = self._starts[0] if self._starts else self._end_seconds
            told.append(WindowScores(start, end, scores))
        return told

    def _as_scores(self, logits: torch.Tensor) -> NDArray[np.float64]:
        is_multilabel = self._model.is_multilabel
        probabilities = logits.sigmoid() if is_multilabel else logits.softmax(dim=-1)
        return probabilities.double().cpu().numpy()


class WindowFollower:
    """Every window, when its last timestep has come, through the model.

    Args:
        predictor: its model was trained on windows.
    """

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
        """Take the next timesteps; give the windows that they complete."""
        told = []
        for features, start, end in zip(
            part.features, part.start_seconds, part.end_seconds, strict=True
        ):
            self._kept.append(features)
            self._starts.append(float(start))
            self._end_seconds = float(end)
            self._n_steps += 1
            begun = self._n_steps - self._length
            if begun >= 0 and begun % self._stride == 0:
                told.append(self._score())
        return told

    def scores(self) -> Scores | None:
        """The highest of each class in all windows so far."""
        return self._highest

    def finish(self) -> list[WindowScores]:
        """Score the window that ends with the stream, if it is not among the others."""
        return [self._score()] if self._n_scored < self._n_steps else []

    def _score(self) -> WindowScores:
        scores = self._predictor.score_steps(np.stack(self._kept))
        self._highest = scores if self._highest is None else np.maximum(self._highest, scores)
        self._n_scored = self._n_steps
        return WindowScores(self._starts[0], self._end_seconds, scores)


def follower(predictor: Predictor) -> Follower:
    """What scores a model's features as they come.

    Raises:
        ValueError: if the head takes whole videos at once.
    """
    if predictor.model.window_steps is not None:
        return WindowFollower(predictor)
    head = predictor.model.head
    checks.require(
        isinstance(head, TimeceptionClassifier),
        "model",
        "have Timeception layers, or be trained on windows, to take a stream",
        type(head).__name__,
        "Predict whole files without --stream, or train model.head=timeception.",
    )
    return WholeFollower(predictor.model)


def stream_video(
    predictor: Predictor,
    source: StreamSource | str,
    *,
    stride: int | None = None,
    interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
    batch_size: int | None = None,
    device: str | None = None,
    stop: threading.Event | None = None,
) -> Iterator[StreamUpdate]:
    """Score a stream as it comes.

    Args:
        predictor: the model and its backbone.
        source: the stream, or its location alone.
        stride: frames from one timestep to the next; ``None``: as the model's features were made.
        interval_seconds: from one update to the next, in seconds of the video.
        batch_size: segments that go through the backbone at once, at most; ``None`` chooses.
        device: where the backbone runs; ``None`` takes a GPU if there is one.
        stop: set it to end the stream where it is, from any thread or a signal handler.

    Returns:
        Updates; the last one is final, and names the error if the stream broke off, could not be
        opened, or was too short.

    Raises:
        ValueError: for wrong arguments, and for a model that cannot take a stream.
    """
    checks.require(interval_seconds > 0, "interval_seconds", "be positive", interval_seconds)
    source = StreamSource(source) if isinstance(source, str) else source
    made = predictor.model.features
    is_of_2019 = has_2019_segments(made)
    advice = "Its clips are chosen by the length of the whole video, as in 2019."
    checks.require(not is_of_2019, "model", "take a stream", predictor.model.folder.name, advice)
    stride = made["stride"] if stride is None else stride
    segmenter = segmenter_of(extraction_settings(predictor.backbone, stride, made["map_size"]))
    precision = made.get("precision", DEFAULT_PRECISION)
    network = FeatureExtractor(
        predictor.backbone, made["map_size"], batch_size, device, precision=precision
    )
    stop = stop or threading.Event()
    features = FeatureStream(source, segmenter, network, stop)
    return _Scoring(predictor, features, interval_seconds, stop).updates()


class _Scoring:
    """One stream on its way through a model."""

    def __init__(
        self,
        predictor: Predictor,
        features: FeatureStream,
        interval_seconds: float,
        stop: threading.Event,
    ) -> None:
        self._model, self._follower = predictor.model, follower(predictor)
        self._features, self._stop = features, stop
        self._interval = self._due = interval_seconds
        self._n_timesteps, self._seconds = 0, 0.0
        self._starts: list[float] = []  # of the first timestep and the last one
        self._evidence: list[WindowScores] = []

    def updates(self) -> Iterator[StreamUpdate]:
        error, batches = None, iter(self._features)
        while True:
            try:
                batch = next(batches, None)
            except BROKEN_VIDEO as broken:
                error, batch = str(broken), None
            if batch is None:
                break
            for part, is_due in self._parts(batch):
                self._push(part)
                if is_due:
                    yield self._update()
        self._evidence += self._follower.finish()
        if error is None and self._follower.scores() is None and not self._stop.is_set():
            needed = self._follower.needed_timesteps
            error = (
                f"{self._features.source.name}: has {self._n_timesteps} timesteps, and the first "
                f"scores need {needed}. Give a longer video, or a smaller --stride."
            )
        yield self._update(is_final=True, error=error)

    def _parts(self, batch: StreamFeatures) -> Iterator[tuple[StreamFeatures, bool]]:
        """A batch cut after each timestep at which an update is due."""
        first, n_steps = 0, len(batch.features)
        for index, end in enumerate(batch.end_seconds.tolist()):
            is_due = end >= self._due
            if is_due:
                self._due = (end // self._interval + 1) * self._interval
            if is_due or index + 1 == n_steps:
                yield batch[first : index + 1], is_due
                first = index + 1

    def _push(self, part: StreamFeatures) -> None:
        if self._model.map_size is not None:
            part = replace(part, features=average_maps(part.features, self._model.map_size))
        self._evidence += self._follower.push(part)
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
            scores=self._follower.scores(),
            evidence=evidence,
            n_damaged=self._features.frames.n_damaged,
            timestep_seconds=span / n_between if n_between > 0 else None,
            is_final=is_final,
            error=error,
        )


def spacing_notice(model: SavedModel, update: StreamUpdate, stride: int | None) -> str | None:
    """A sentence if a stream's timesteps lie clearly closer or wider than those of training.

    Args:
        model: knows the median time between the timesteps of a draw; older ones do not.
        update: of the stream, with at least two timesteps.
        stride: frames between timesteps, if other than the model's.

    Returns:
        What differs, and the stride that would not; ``None`` if nothing does, or nothing is known.
    """
    trained, streamed = model.timestep_seconds, update.timestep_seconds
    if trained is None or not streamed:
        return None
    if model.window_steps is not None:  # a draw is taken from each window
        streamed *= model.window_steps[0] / model.n_timesteps
    stride = stride or int(model.features["stride"])
    matching = max(1, round(stride * trained / streamed))
    if matching == stride or 1 / CLEARLY < trained / streamed < CLEARLY:
        return None
    return (
        f"timesteps are {streamed:.2f} s apart here, but were {trained:.2f} s apart in training "
        f"(median): scores may suffer. --stride {matching} comes closest."
    )
