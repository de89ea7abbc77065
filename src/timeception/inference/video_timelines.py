"""Timelines of video files, of banks and of features, by any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception.datasets.windows import step_edges_seconds
from timeception.features.bank import BankError, FeatureBank
from timeception.features.bank.store import timesteps_per_second
from timeception.features.comparison import has_times
from timeception.features.extraction.jobs import VideoFeatures
from timeception.features.maps import average_maps
from timeception.features.stream import StreamFeatures
from timeception.inference.predictor import Predictor, WindowScores
from timeception.inference.saved_model import SavedModel, TimelineModel
from timeception.inference.streams import StreamUpdate, stream_scorer, stream_video
from timeception.inference.timelines import Timeline
from timeception.video import StreamSource

_NO_INTERVAL = 1e9  # seconds: one update, at the end
_BATCH = 256  # timesteps of a bank that are scored at once


def video_timeline(
    predictor: Predictor, video: str | Path, *, device: str | None = None
) -> tuple[Timeline, StreamUpdate]:
    """Score every timestep of a video file while it is read, in constant memory.

    Returns:
        The timeline, and the last state of the stream. A video that cannot be read, breaks off or
        is too short has an ``error``.

    Raises:
        ValueError: if the model has no backbone, or cannot say when.
    """
    steps: list[WindowScores] = []
    for update in stream_video(
        predictor,
        StreamSource(str(video)),
        interval_seconds=_NO_INTERVAL,
        device=device,
    ):
        steps += update.evidence
    return _timeline(predictor.model, str(video), steps, update.error), update


def bank_timeline(predictor: Predictor, bank: FeatureBank, video_id: str) -> Timeline:
    """Score every timestep of a video of a bank; a damaged one has an ``error``."""
    try:
        entry = bank[video_id]
    except BankError as error:
        return Timeline.failed(video_id, predictor.model.classes, str(error))
    starts, fps = entry.start_frames, entry.fps if has_times(bank.settings) else None
    rate = timesteps_per_second(bank.settings)
    edges = step_edges_seconds(starts, fps or 1.0, timesteps_per_second=rate)
    return features_timeline(predictor, entry.features, edges, video=video_id)


def video_features_timeline(
    predictor: Predictor, features: VideoFeatures, *, video: str = "video"
) -> Timeline:
    """Score every timestep of features from ``Predictor.video_features``, with a classifier.

    Raises:
        ValueError: if the model cannot say when.
    """
    rate = timesteps_per_second(predictor.model.features)
    edges = step_edges_seconds(features.start_frames, features.fps, timesteps_per_second=rate)
    return features_timeline(predictor, features.features, edges, video=video)


def features_timeline(
    predictor: Predictor,
    features: NDArray[Any],
    edges: NDArray[np.float64] | None = None,
    *,
    video: str = "features",
) -> Timeline:
    """Score every timestep of features.

    Args:
        predictor: the model.
        features: all timesteps of the video.
        edges: start of each timestep and end of the last one, in seconds; ``None`` counts
            timesteps, unless training sampled by time.
        video: name of the timeline.

    Shape:
        features: (S, C, H, W); edges: (S + 1,).

    Raises:
        ValueError: if channels or maps are not those of training, or the model cannot say when.
    """
    model = predictor.model
    predictor.check_shape(video, features.shape)
    if edges is None:
        edges = np.arange(len(features) + 1) / (timesteps_per_second(model.features) or 1.0)
    stride = model.stride_steps if isinstance(model, TimelineModel) else 1
    chosen = np.arange(0, len(features), stride)
    starts = edges[:-1][chosen]
    ends = np.append(starts[1:], edges[-1])
    scorer, steps = stream_scorer(predictor), list[WindowScores]()
    for first in range(0, len(chosen), _BATCH):
        part = chosen[first : first + _BATCH]
        values = np.asarray(features[part], dtype=np.float32)
        if model.map_size is not None:
            values = average_maps(values, model.map_size)
        times = starts[first : first + _BATCH], ends[first : first + _BATCH]
        steps += scorer.push(StreamFeatures(values, *times))
    steps += scorer.finish()
    error = None
    if not steps:
        needed = scorer.needed_timesteps
        error = f"{video} has {len(chosen)} timesteps, but scores require {needed}."
    return _timeline(model, video, steps, error)


def _timeline(
    model: SavedModel, video: str, steps: Sequence[WindowScores], error: str | None
) -> Timeline:
    if not steps:
        return Timeline.failed(video, model.classes, error or f"{video} has no timesteps")
    edges, scores = _without_overlap(steps)
    return replace(
        empty_timeline(model, video),
        scores=scores,
        start_seconds=edges[:-1],
        end_seconds=edges[1:],
        error=error,
    )


def empty_timeline(model: SavedModel, video: str) -> Timeline:
    """Return a timeline of a model without timesteps."""
    return Timeline(
        video,
        model.classes,
        np.zeros((0, len(model.classes))),
        np.zeros(0),
        np.zeros(0),
        model.is_multilabel,
        isinstance(model, TimelineModel),
        model.pipeline.get("background"),
        model.pipeline.get("thresholds"),
    )


def _without_overlap(
    steps: Sequence[WindowScores],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return edges (T + 1,) and scores (T, n_classes) of steps that may be overlapping windows.

    Each stretch between two starts has the mean score of the windows that cover it.
    """
    starts = np.array([step.start_seconds for step in steps])
    ends = np.array([step.end_seconds for step in steps])
    scores = np.array([step.scores for step in steps])
    edges = np.unique(starts)
    length = float(np.median(np.diff(edges))) if len(edges) > 1 else 0.0
    # a stream ends with the start of its last frame
    last = ends.max() if ends.max() > edges[-1] else edges[-1] + length
    ends[ends >= ends.max()] = last
    edges = np.append(edges, last)
    middles = (edges[:-1] + edges[1:]) / 2
    covers = (starts <= middles[:, None]) & (middles[:, None] < ends)
    return edges, covers @ scores / np.maximum(covers.sum(axis=1, keepdims=True), 1)
