"""Scores over time: what the protocols of ``timeline_protocols`` measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.metrics.inputs import unique_names

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
#: Class index, start and end in seconds.
TimedClass = tuple[int, float, float]


@dataclass(frozen=True)
class VideoTimeline:
    """Scores and truth of one video.

    Args:
        video_id: name of the video.
        scores: (T, n_classes); T = 0 for a video without scores, which ranks last.
        targets: (T, n_classes), true where a class holds at the middle of a step.
        start_seconds: start of each step, (T,).
        end_seconds: end of each step, (T,).
        intervals: annotated actions.
        duration_seconds: length of the video.
    """

    video_id: str
    scores: Floats
    targets: Flags
    start_seconds: Floats
    end_seconds: Floats
    intervals: tuple[TimedClass, ...] = ()
    duration_seconds: float = 0.0

    def __post_init__(self) -> None:
        n_steps = len(self.scores)
        same = self.scores.shape == self.targets.shape and self.scores.ndim == 2
        where = f"targets of {self.video_id}"
        checks.require(same, where, f"have shape {self.scores.shape}", self.targets.shape)
        sizes = (self.start_seconds.shape, self.end_seconds.shape)
        checks.require(sizes == ((n_steps,),) * 2, f"times of {self.video_id}", "be (T,)", sizes)
        n_broken = int(np.isnan(self.scores).sum())
        checks.require(not n_broken, f"scores of {self.video_id}", "be numbers", f"{n_broken} NaN")

    def step_at(self, seconds: Floats) -> NDArray[np.int64]:
        """Return the step that contains each time; times outside belong to the nearest step."""
        found = np.searchsorted(self.start_seconds, seconds, side="right") - 1
        return np.asarray(found.clip(0, len(self.scores) - 1), dtype=np.int64)


@dataclass(frozen=True)
class Timelines:
    """Scores over time of a test set.

    Args:
        classes: names, in the order of the scores.
        videos: one entry per video.
        is_multilabel: whether a step can have none, one or several classes; otherwise one.
        background: name of the class that stands for no action, if there is one.
    """

    classes: tuple[str, ...]
    videos: tuple[VideoTimeline, ...]
    is_multilabel: bool
    background: str | None = None

    def __post_init__(self) -> None:
        unique_names(self.classes, len(self.classes))
        checks.require(bool(self.videos), "videos", "have at least one entry", "none")
        wrong = [v.video_id for v in self.videos if v.scores.shape[1] != len(self.classes)]
        checks.require(not wrong, "scores", f"have {len(self.classes)} columns", wrong[:5])
        if self.background is not None:
            checks.one_of("background", self.background, self.classes)

    @property
    def background_index(self) -> int | None:
        """Column of the background, if there is one."""
        return None if self.background is None else self.classes.index(self.background)

    def stacked(self) -> tuple[Floats, Flags]:
        """Return scores and targets of all steps, (sum of T, n_classes)."""
        scores = np.concatenate([video.scores for video in self.videos])
        targets = np.concatenate([video.targets for video in self.videos])
        checks.require(len(scores) > 0, "videos", "have at least one step", 0)
        return scores, targets

    def labels(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Return the predicted and the true class of each step, by video.

        Raises:
            ValueError: if a step does not have exactly one class.
        """
        found = []
        for video in self.videos:
            is_one = bool((video.targets.sum(axis=1) == 1).all())
            advice = "Such data are measured by per_frame_map."
            where = f"targets of {video.video_id}"
            checks.require(is_one, where, "have one class per step", "another number", advice)
            found.append((video.scores.argmax(axis=1), video.targets.argmax(axis=1)))
        return found
