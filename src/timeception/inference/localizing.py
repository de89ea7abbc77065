"""Scores of every timestep by a localizer, while the video is read, in constant memory."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from timeception.features.stream import StreamFeatures
from timeception.inference.predictor import WindowScores
from timeception.inference.saved_model import TimelineModel
from timeception.spec.localizers import REFINEMENT_BLOCKS, LocalizerSpec

#: Timesteps that are scored at once.
CHUNK_TIMESTEPS = 512


def reach_timesteps(spec: LocalizerSpec) -> int:
    """Return how many timesteps on either side a score depends on, at most.

    It is a multiple of 2 ** n_layers, so that a part of a video that begins there is pooled as in
    the whole video.
    """
    refinements = spec.n_refinements * (2**REFINEMENT_BLOCKS - 1)
    reach: int = spec.timeception.receptive_field + refinements
    unit: int = 2**spec.timeception.n_layers
    return -(-reach // unit) * unit


class LocalizerScorer:
    """Scores timesteps as soon as all that they depend on has been read.

    The scores equal those of the whole video at once. Twice the reach and one chunk of features are
    kept, whatever the length of the video.
    """

    needed_timesteps = 1

    def __init__(self, model: TimelineModel, chunk_timesteps: int = CHUNK_TIMESTEPS) -> None:
        spec = model.head.spec
        unit = 2**spec.timeception.n_layers
        self._model, self._reach = model, reach_timesteps(spec)
        self._chunk = ceil(chunk_timesteps / unit) * unit
        self._features: list[NDArray[np.float32]] = []
        self._starts: list[float] = []  # of the timesteps that have no score yet
        self._end_seconds = 0.0
        self._first = 0  # timestep of the first kept feature
        self._next = 0  # first timestep without a score
        self._highest: NDArray[np.float64] | None = None

    def push(self, part: StreamFeatures) -> list[WindowScores]:
        """Add the next timesteps; return the scores that they complete."""
        self._features += list(part.features)
        self._starts += part.start_seconds.tolist()
        self._end_seconds = float(part.end_seconds[-1])
        found: list[WindowScores] = []
        while self._first + len(self._features) - self._next >= self._chunk + self._reach:
            found += self._score(self._chunk, self._next + self._chunk + self._reach)
        return found

    def finish(self) -> list[WindowScores]:
        """End the video; return the scores of the last timesteps."""
        n_timesteps = self._first + len(self._features)
        left = n_timesteps - self._next
        return self._score(left, n_timesteps) if left else []

    def scores(self) -> NDArray[np.float64] | None:
        """Return the highest score of each class so far."""
        return self._highest

    def _score(self, count: int, end: int) -> list[WindowScores]:
        part = np.stack(self._features[: end - self._first])
        scores = self._model.score_video(part)[self._next - self._first :][:count]
        starts, self._starts = self._starts[:count], self._starts[count:]
        ends = [*starts[1:], self._starts[0] if self._starts else self._end_seconds]
        self._next += count
        first = max(0, self._next - self._reach)
        self._features = self._features[first - self._first :]
        self._first = first
        highest = scores.max(axis=0)
        seen = self._highest
        self._highest = highest if seen is None else np.maximum(seen, highest)
        return [
            WindowScores(start, stop, row)
            for start, stop, row in zip(starts, ends, scores, strict=True)
        ]
