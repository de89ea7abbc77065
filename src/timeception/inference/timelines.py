"""Timelines: the score of every class at every timestep of a video, and the intervals in it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.files import write_text
from timeception.metrics.segments import segments_of

Floats = NDArray[np.float64]
#: One threshold for all classes, or one for each class by name.
Threshold = float | Mapping[str, float]

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class TimelineSegment:
    """An interval of one class; ``score`` is the mean over its timesteps."""

    label: str
    start_seconds: float
    end_seconds: float
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return the interval for JSON."""
        return {
            "label": self.label,
            "start_seconds": round(self.start_seconds, 3),
            "end_seconds": round(self.end_seconds, 3),
            "score": round(self.score, 4),
        }


@dataclass(frozen=True)
class Timeline:
    """Scores over time of one video.

    Args:
        video: name of the video.
        classes: names, in the order of the scores.
        scores: probabilities, (T, n_classes).
        start_seconds: start of each timestep, (T,).
        end_seconds: end of each timestep, (T,).
        is_multilabel: whether a timestep has any number of classes; otherwise it has one.
        is_trained_on_time: whether the model was trained to say when (a localizer); otherwise the
            scores are the evidence of a classifier.
        background: class of timesteps without an action, if there is one.
        thresholds: threshold of each class, tuned on validation data, if there are any.
        error: why the video could not be scored, or was interrupted.

    Example:
        >>> timeline = Timeline("v", ("cut", "pour"), np.array([[0.9, 0.2], [0.7, 0.6]]),
        ...                     np.array([0.0, 1.0]), np.array([1.0, 2.0]), True)
        >>> [(s.label, s.start_seconds, s.end_seconds) for s in timeline.segments(0.5)]
        [('cut', 0.0, 2.0), ('pour', 1.0, 2.0)]
    """

    video: str
    classes: tuple[str, ...]
    scores: Floats
    start_seconds: Floats
    end_seconds: Floats
    is_multilabel: bool
    is_trained_on_time: bool = False
    background: str | None = None
    thresholds: Mapping[str, float] | None = None
    error: str | None = None

    @classmethod
    def failed(cls, video: str, classes: tuple[str, ...], error: str) -> Timeline:
        """Return the timeline of a video that could not be scored."""
        empty = np.zeros(0)
        return cls(video, classes, np.zeros((0, len(classes))), empty, empty, True, error=error)

    def segments(self, threshold: Threshold | None = None) -> tuple[TimelineSegment, ...]:
        """Return the intervals, by start.

        With several classes per timestep, an interval is a run of timesteps whose score is at least
        the threshold. With one class per timestep, it is a run of timesteps with the same best
        class, the background excepted; a threshold drops those with a lower mean score.

        Args:
            threshold: one for all classes, or one per class. ``None`` uses those of the model, if
                it has any; else 0.5 with several classes per timestep, and none with one.

        Raises:
            ValueError: if a threshold does not lie in [0, 1], or a class has none.
        """
        given = self.thresholds if threshold is None else threshold
        found = list(self._runs(given) if self.is_multilabel else self._best(given))
        return tuple(sorted(found, key=lambda each: (each.start_seconds, each.label)))

    def limits(self, threshold: Threshold | None, default: float) -> list[float]:
        """Return the threshold of each class; ``default`` if there is none.

        Raises:
            ValueError: as ``segments``.
        """
        if threshold is None:
            return [default] * len(self.classes)
        if isinstance(threshold, Mapping):
            missing = [name for name in self.classes if name not in threshold]
            checks.require(not missing, "threshold", "be given for every class", missing[:5])
            limits = [float(threshold[name]) for name in self.classes]
        else:
            limits = [float(threshold)] * len(self.classes)
        wrong = [limit for limit in limits if not 0 <= limit <= 1]
        checks.require(not wrong, "threshold", "lie in [0, 1]", wrong[:1])
        return limits

    def _runs(self, threshold: Threshold | None) -> Iterator[TimelineSegment]:
        for column, limit in enumerate(self.limits(threshold, DEFAULT_THRESHOLD)):
            if self.classes[column] == self.background:
                continue
            above = (self.scores[:, column] >= limit).astype(np.int64)
            for _, start, stop in segments_of(above, background=0):
                yield self._segment(column, start, stop)

    def _best(self, threshold: Threshold | None) -> Iterator[TimelineSegment]:
        limits = self.limits(threshold, 0.0)
        ignored = None if self.background is None else self.classes.index(self.background)
        for column, start, stop in segments_of(self.scores.argmax(axis=1), ignored):
            segment = self._segment(column, start, stop)
            if segment.score >= limits[column]:
                yield segment

    def _segment(self, column: int, start: int, stop: int) -> TimelineSegment:
        return TimelineSegment(
            self.classes[column],
            float(self.start_seconds[start]),
            float(self.end_seconds[stop - 1]),
            float(self.scores[start:stop, column].mean()),
        )

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return one row per timestep: start, end, one score per class; write it to ``path``."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["start_seconds", "end_seconds", *self.classes])
        for start, end, row in zip(self.start_seconds, self.end_seconds, self.scores, strict=True):
            writer.writerow([f"{start:.3f}", f"{end:.3f}", *(f"{score:.4f}" for score in row)])
        return _written(text.getvalue(), path)

    def to_dict(self, threshold: Threshold | None = None) -> dict[str, Any]:
        """Return timesteps and intervals, for JSON."""
        if self.error is not None and not len(self.scores):
            return {"video": self.video, "error": self.error}
        return {
            "video": self.video,
            "classes": list(self.classes),
            "trained_on_time": self.is_trained_on_time,
            "start_seconds": [round(value, 3) for value in self.start_seconds.tolist()],
            "end_seconds": [round(value, 3) for value in self.end_seconds.tolist()],
            "scores": [[round(value, 4) for value in row] for row in self.scores.tolist()],
            "segments": [segment.to_dict() for segment in self.segments(threshold)],
            "error": self.error,
        }

    def to_json(self, path: str | Path | None = None, threshold: Threshold | None = None) -> str:
        """Return the JSON text of ``to_dict``; write it to ``path``."""
        return _written(json.dumps(self.to_dict(threshold), ensure_ascii=False) + "\n", path)

    def to_webvtt(self, path: str | Path | None = None, threshold: Threshold | None = None) -> str:
        """Return the intervals as subtitles that any player shows; write them to ``path``.

        Source: W3C, WebVTT: The Web Video Text Tracks Format; ``&``, ``<`` and ``>`` are escaped.
        """
        cues = ["WEBVTT"]
        for segment in self.segments(threshold):
            times = f"{_clock(segment.start_seconds)} --> {_clock(segment.end_seconds)}"
            label = " ".join(segment.label.split())
            for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
                label = label.replace(character, entity)
            cues.append(f"{times}\n{label} ({segment.score:.2f})")
        return _written("\n\n".join(cues) + "\n", path)


class OpenIntervals:
    """Finds the intervals of a timeline while its timesteps arrive.

    Args:
        timeline: names the classes, the kind of scores and the thresholds; its scores do not count.
        threshold: as in ``Timeline.segments``.

    Example:
        >>> import dataclasses
        >>> empty = dataclasses.replace(Timeline.failed("v", ("cut",), ""), error=None)
        >>> found = OpenIntervals(empty)
        >>> [found.push(start, start + 1.0, np.array([score])) for start, score in
        ...  ((0.0, 0.9), (1.0, 0.7))], [s.end_seconds for s in found.push(2.0, 3.0, np.zeros(1))]
        ([[], []], [2.0])
    """

    def __init__(self, timeline: Timeline, threshold: Threshold | None = None) -> None:
        given = timeline.thresholds if threshold is None else threshold
        default = DEFAULT_THRESHOLD if timeline.is_multilabel else 0.0
        self._timeline, self._limits = timeline, timeline.limits(given, default)
        self._open: dict[int, tuple[float, float, list[float]]] = {}

    def push(self, start: float, end: float, scores: Floats) -> list[TimelineSegment]:
        """Add a timestep, scores (n_classes,); return the intervals that it closes."""
        timeline = self._timeline
        if timeline.is_multilabel:
            active = {c for c, limit in enumerate(self._limits) if scores[c] >= limit}
        else:
            active = {int(scores.argmax())}
        active = {c for c in active if timeline.classes[c] != timeline.background}
        closed = [self._close(c) for c in sorted(set(self._open) - active)]
        for c in active:
            first, _, values = self._open.get(c, (start, end, []))
            self._open[c] = first, end, [*values, float(scores[c])]
        return [segment for segment in closed if segment is not None]

    def finish(self) -> list[TimelineSegment]:
        """Return the intervals that are open at the end."""
        closed = [self._close(c) for c in sorted(self._open)]
        return [segment for segment in closed if segment is not None]

    def _close(self, column: int) -> TimelineSegment | None:
        start, end, values = self._open.pop(column)
        score = float(np.mean(values))
        if score < self._limits[column]:
            return None  # one class per timestep, and its mean is too low
        return TimelineSegment(self._timeline.classes[column], start, end, score)


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        write_text(Path(path), text)
    return text


def _clock(seconds: float) -> str:
    """Format a time as WebVTT does: hours, minutes, seconds and milliseconds.

    Example:
        >>> _clock(3661.5)
        '01:01:01.500'
    """
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds / 1000:06.3f}"
