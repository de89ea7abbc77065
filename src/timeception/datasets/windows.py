"""Windows over videos, each labelled by the timed actions in it.

Pure arithmetic on steps of the feature bank. A window has the split of its video, so that no video
has windows in two splits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timeception import checks
from timeception.datasets.records import TimedDataset, TimedVideo, VideoDataset, VideoRecord

Edges = NDArray[np.float64]


def step_edges_seconds(
    start_frames: ArrayLike,
    fps: float,
    stride_frames: int | None = None,
    *,
    timesteps_per_second: float | None = None,
) -> Edges:
    """Return the start time of every step of a video, and the end time of the last one.

    A step ends where the next one starts. The last one has the median length of the others. Steps
    that were sampled by time start at equal distances, whatever their first frames.

    Args:
        start_frames: First frame of each step, shape (S,); increasing, unless sampled by time.
        fps: Frames per second.
        stride_frames: Length of the step in a video with only one; ``None`` is one frame.
        timesteps_per_second: Rate of steps that were sampled by time.

    Shape:
        (S,) -> (S + 1,)

    Example:
        >>> step_edges_seconds([0, 8, 16], fps=4.0).tolist()
        [0.0, 2.0, 4.0, 6.0]
        >>> step_edges_seconds([0, 1, 1, 2], fps=1.0, timesteps_per_second=2.0).tolist()
        [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    starts = np.asarray(start_frames, dtype=np.float64)
    checks.require(starts.ndim == 1 and starts.size > 0, "start_frames", "be (S,)", starts.shape)
    if timesteps_per_second is not None:
        return np.arange(len(starts) + 1) / timesteps_per_second
    lengths = np.diff(starts)
    checks.require(bool((lengths > 0).all()), "start_frames", "increase", starts.tolist()[:8])
    checks.require(fps > 0, "fps", "be positive", fps)
    last = float(np.median(lengths)) if lengths.size else float(stride_frames or 1)
    return np.append(starts, starts[-1] + last) / fps


def window_starts(n_steps: int, length_steps: int, stride_steps: int) -> NDArray[np.int64]:
    """Return the first step of each window over ``n_steps`` steps.

    Windows start at 0, ``stride_steps``, 2 ``stride_steps``, ... If they leave steps at the end
    uncovered, one more window ends with the video. A video shorter than a window is one window.

    Example:
        >>> window_starts(10, 4, 3).tolist(), window_starts(11, 4, 3).tolist()
        ([0, 3, 6], [0, 3, 6, 7])
        >>> window_starts(3, 4, 3).tolist()
        [0]
    """
    checks.positive_int("n_steps", n_steps)
    checks.positive_int("length_steps", length_steps)
    checks.positive_int("stride_steps", stride_steps)
    last = max(0, n_steps - length_steps)
    starts = np.arange(0, last + 1, stride_steps, dtype=np.int64)
    return starts if starts[-1] == last else np.append(starts, last)


def make_windows(
    dataset: TimedDataset,
    edges_seconds: Mapping[str, Edges],
    length_steps: int,
    stride_steps: int,
    min_overlap_steps: float = 0.0,
) -> VideoDataset:
    """Cut every video into windows.

    A window has a class if the union of the class's intervals covers more than 0 and at least
    ``min_overlap_steps`` steps of it. Windows without a class are kept.

    Args:
        dataset: Videos with timed actions.
        edges_seconds: ``step_edges_seconds`` of each video, by video id.
        length_steps: Length of a window, in steps.
        stride_steps: Steps between the starts of two successive windows.
        min_overlap_steps: Minimum overlap; may be fractional.

    Returns:
        Multi-label data; each record has ``steps`` and the seconds that they span.

    Raises:
        ValueError: If a video has no steps, or an action starts after its video's last step.

    Example:
        >>> from timeception.datasets.records import Interval
        >>> video = TimedVideo("a", (Interval("cut", 0, 2), Interval("pour", 2, 6)), "train")
        >>> data = TimedDataset("kitchen", ("cut", "pour"), (video,))
        >>> edges = {"a": step_edges_seconds(range(6), fps=1)}
        >>> [(r.steps, r.labels) for r in make_windows(data, edges, 3, 3).records]
        [((0, 3), ('cut', 'pour')), ((3, 6), ('pour',))]
    """
    overlap_ok = 0 <= min_overlap_steps <= length_steps
    checks.require(overlap_ok, "min_overlap_steps", "lie in [0, length_steps]", min_overlap_steps)
    missing = [name for name in dataset.video_ids if name not in edges_seconds]
    advice = "Extract these videos, or remove them from the annotations."
    checks.require(not missing, f"{dataset.name}: videos", "be in the bank", missing[:5], advice)
    records: list[VideoRecord] = []
    enough = max(min_overlap_steps - _EPSILON_STEPS, _EPSILON_STEPS)
    for video in dataset.videos:
        edges = np.asarray(edges_seconds[video.video_id], dtype=np.float64)
        spans = _spans_steps(video, edges)
        n_steps = len(edges) - 1
        for start in window_starts(n_steps, length_steps, stride_steps).tolist():
            stop = min(start + length_steps, n_steps)
            present = [n for n in spans if _covered_steps(spans[n], start, stop) >= enough]
            labels = tuple(sorted(present, key=dataset.classes.index))
            where = (video.split, float(edges[start]), float(edges[stop]), video.path)
            records.append(VideoRecord(video.video_id, labels, *where, steps=(start, stop)))
    return VideoDataset(dataset.name, dataset.classes, tuple(records), is_multilabel=True)


_EPSILON_STEPS = 1e-6  # a smaller overlap is a rounding error


def _spans_steps(video: TimedVideo, edges: Edges) -> dict[str, NDArray[np.float64]]:
    """Disjoint (start, stop) spans of each label in fractional steps, shape (n, 2)."""
    late = [i for i in video.intervals if i.start_seconds >= edges[-1]]
    advice = f"The video's features end at {edges[-1]:.2f} s; are the times in seconds?"
    checks.require(not late, f"actions of {video.video_id}", "start within it", late[:2], advice)
    spans: dict[str, list[list[float]]] = {}
    positions = np.arange(len(edges), dtype=np.float64)
    for interval in sorted(video.intervals, key=lambda i: i.start_seconds):
        times = [interval.start_seconds, interval.end_seconds]
        start, stop = np.interp(times, edges, positions).tolist()
        merged = spans.setdefault(interval.label, [])
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], stop)
        else:
            merged.append([start, stop])
    return {label: np.asarray(merged) for label, merged in spans.items()}


def _covered_steps(spans: NDArray[np.float64], start: int, stop: int) -> float:
    inside = np.minimum(spans[:, 1], stop) - np.maximum(spans[:, 0], start)
    return float(np.maximum(inside, 0).sum())
