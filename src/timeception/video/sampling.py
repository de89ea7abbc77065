"""Choose frames and segments of a video: pure index arithmetic.

A segment is a run of successive frames that a video backbone takes at once. A feature bank stores
segments at a fixed stride in frames (``segment_starts``) or at a fixed rate in time
(``timed_segment_starts``); a clip is a sample of them (``sample_indices``). ``legacy_2019_*``
reproduce the sampling of the 2019 code.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from math import isfinite

import numpy as np
import numpy.typing as npt

from timeception import checks

IndexArray = npt.NDArray[np.int64]

#: Containers round times (Matroska: to a millisecond); a frame this much early is on time.
TIME_TOLERANCE_SECONDS = 1e-3

LEGACY_SEGMENT_FRAMES = 8  # the 2019 recipe fed I3D eight successive frames at a time


def segment_starts(n_frames: int, stride: int, frames_per_segment: int) -> IndexArray:
    """First frames of all whole segments of a video, ``stride`` frames apart, at least one.

    Frames after the last whole segment are left out. A video shorter than one segment has one
    segment, which starts at 0 and repeats the last frame (see ``segment_frames``).

    Args:
        n_frames: frames in the video.
        stride: frames from one start to the next. Segments overlap if it is smaller than
            ``frames_per_segment``.
        frames_per_segment: frames that the backbone takes at once.

    Raises:
        ValueError: if an argument is not a whole number of at least 1.

    Example:
        >>> segment_starts(30, stride=8, frames_per_segment=8)
        array([ 0,  8, 16])
        >>> segment_starts(5, stride=8, frames_per_segment=8)
        array([0])
    """
    checks.positive_int("n_frames", n_frames)
    checks.positive_int("stride", stride)
    checks.positive_int("frames_per_segment", frames_per_segment)
    last_start = max(0, n_frames - frames_per_segment)
    return np.arange(0, last_start + 1, stride, dtype=np.int64)


def timed_starts(frame_seconds: Iterable[float], fps: float) -> Iterator[int]:
    """The frame nearest to each time 0, 1 / fps, 2 / fps, ..., as soon as it is known.

    A frame is chosen when the first frame at or after the time has been read: that frame, or the
    one before it if that is nearer. If both are equally near, the later one is chosen. Frames
    repeat where the video has fewer than ``fps`` per second. No time lies after the last frame.

    Args:
        frame_seconds: times of successive frames, never descending, the first at 0; read only as
            far as needed.
        fps: timesteps per second.

    Returns:
        Frame indices, never descending.

    Raises:
        ValueError: if ``fps`` is not a positive number.

    Example:
        >>> list(timed_starts([0.0, 0.1, 0.2, 0.3, 0.4], fps=5))  # every second frame at 10 fps
        [0, 2, 4]
        >>> list(timed_starts([0.0, 0.1, 0.2], fps=20))  # twice the frame rate
        [0, 1, 1, 2, 2]
        >>> list(timed_starts([0.0, 0.1, 0.9, 1.0], fps=2))  # variable frame rate: 0.5 s is at 0.9
        [0, 2, 3]
    """
    check_fps(fps)
    frames = enumerate(frame_seconds)
    before, at = (0, 0.0), next(frames, None)
    for step in itertools.count():
        due = step / fps
        while at is not None and at[1] < due - TIME_TOLERANCE_SECONDS:
            before, at = at, next(frames, None)
        if at is None:
            return
        is_before_nearer = due - before[1] < at[1] - due - TIME_TOLERANCE_SECONDS
        yield before[0] if is_before_nearer else at[0]


def timed_segment_starts(
    frame_seconds: npt.ArrayLike, fps: float, frames_per_segment: int
) -> IndexArray:
    """First frames of all whole segments of a video, ``1 / fps`` seconds apart.

    Segment k starts at the frame nearest to the time k / fps (see ``timed_starts``), so videos of
    different frame rates have segments at the same times. The frames of a segment are successive.
    Segments that begin too late to be whole are left out; a video shorter than one segment has
    one segment, as with ``segment_starts``.

    Args:
        frame_seconds: time of each frame since the first one, (n_frames,), never descending.
        fps: segments per second. Starts repeat where the video has fewer frames per second.
        frames_per_segment: frames that the backbone takes at once.

    Returns:
        Starts, never descending, at least one.

    Raises:
        ValueError: if there are no frames, ``fps`` is not a positive number, or
            ``frames_per_segment`` is not a whole number of at least 1.

    Example:
        >>> timed_segment_starts(np.arange(30) / 30, fps=5, frames_per_segment=1)
        array([ 0,  6, 12, 18, 24])
        >>> timed_segment_starts(np.arange(10) / 10, fps=5, frames_per_segment=1)
        array([0, 2, 4, 6, 8])
        >>> timed_segment_starts(np.arange(30) / 30, fps=5, frames_per_segment=8)
        array([ 0,  6, 12, 18])
    """
    seconds = np.asarray(frame_seconds, dtype=np.float64)
    is_row = seconds.ndim == 1 and seconds.size > 0
    checks.require(is_row, "frame_seconds", "be (n_frames,), at least one frame", seconds.shape)
    checks.positive_int("frames_per_segment", frames_per_segment)
    last_start = len(seconds) - frames_per_segment
    if last_start < 0:
        check_fps(fps)
        return np.zeros(1, dtype=np.int64)
    starts = itertools.takewhile(lambda s: s <= last_start, timed_starts(seconds.tolist(), fps))
    return np.fromiter(starts, dtype=np.int64)


def check_fps(fps: float) -> float:
    """Return timesteps per second, as a float.

    Raises:
        ValueError: if it is not a positive, finite number.
    """
    is_number = isinstance(fps, int | float) and not isinstance(fps, bool)
    is_rate = is_number and isfinite(fps) and fps > 0
    checks.require(is_rate, "fps", "be a positive number of timesteps per second", fps)
    return float(fps)


def segment_frames(
    start: int | npt.ArrayLike, frames_per_segment: int, n_frames: int
) -> IndexArray:
    """Frame indices of the segment or segments that begin at ``start``.

    The last frame is repeated beyond the end of the video.

    Args:
        start: first frame, or an array of first frames; each in [0, n_frames).
        frames_per_segment: frames in one segment.
        n_frames: frames in the video.

    Returns:
        Frame indices in [0, n_frames), of shape (..., frames_per_segment) for ``start`` (...).

    Raises:
        ValueError: if a start lies outside the video or a length is below 1.

    Example:
        >>> segment_frames(3, frames_per_segment=4, n_frames=5)
        array([3, 4, 4, 4])
    """
    checks.positive_int("frames_per_segment", frames_per_segment)
    checks.positive_int("n_frames", n_frames)
    starts = np.asarray(start)
    is_inside = starts.dtype.kind in "iu" and bool(np.all((starts >= 0) & (starts < n_frames)))
    checks.require(is_inside, "start", f"hold frame indices in [0, {n_frames})", start)
    frames: IndexArray = starts.astype(np.int64)[..., None] + np.arange(frames_per_segment)
    return frames.clip(max=n_frames - 1)


def sample_indices(
    n_available: int, n_timesteps: int, rng: np.random.Generator | None = None
) -> IndexArray:
    """Sample ``n_timesteps`` of ``n_available`` segments, spread over all of them, in order.

    Random sampling divides the segments into ``n_timesteps`` strata whose sizes differ by at most
    one, and takes one segment from each. Uniform sampling takes the segments at the centres of
    ``n_timesteps`` equal intervals. Neither repeats a segment if there are enough; otherwise every
    segment is taken and indices repeat evenly.

    Args:
        n_available: segments to choose from.
        n_timesteps: segments to take.
        rng: for random sampling; ``None`` samples uniformly.

    Returns:
        Segment indices (n_timesteps,) in [0, n_available), never descending.

    Raises:
        ValueError: if a count is not a whole number of at least 1.

    Example:
        >>> sample_indices(9, 3)
        array([1, 4, 7])
        >>> sample_indices(3, 6)
        array([0, 0, 1, 1, 2, 2])
        >>> sample_indices(9, 3, np.random.default_rng(0))
        array([2, 4, 7])

    Source: the 2019 recipe sampled new segments every epoch and tested on uniform samples, without
        giving details; the strata are our choice.
    """
    checks.positive_int("n_available", n_available)
    checks.positive_int("n_timesteps", n_timesteps)
    if rng is None:
        centres: IndexArray = np.arange(1, 2 * n_timesteps, 2, dtype=np.int64) * n_available
        return centres // (2 * n_timesteps)
    edges = np.arange(n_timesteps + 1, dtype=np.int64) * n_available // n_timesteps
    first = edges[:-1]
    last = np.maximum(edges[1:] - 1, first)
    return rng.integers(first, last, dtype=np.int64, endpoint=True)


def legacy_2019_segment_starts(n_frames: int, n_frames_asked: int) -> IndexArray:
    """Segment starts as chosen by the 2019 code for I3D, to reproduce its features.

    ``n_frames_asked / 8`` segments of 8 frames start at equal steps from frame 0: over the whole
    video, or over ``n_frames - 8`` if it is shorter than ``n_frames_asked``, so that its segments
    overlap. The step is rounded down to a whole number, like in the 2019 call of ``numpy.arange``.
    The consequences are reproduced too: the end of the video may be left out, and if the step is
    below 1, all segments are the first one. For anything but reproduction, use ``segment_starts``
    with ``sample_indices``.

    Args:
        n_frames: frames in the video; more than 8.
        n_frames_asked: frames of the clip in the recipe (256, 512, 1024); a multiple of 8.

    Returns:
        First frames (n_frames_asked // 8,), ascending; every segment lies inside the video.

    Raises:
        ValueError: if the video has 8 frames or fewer, or ``n_frames_asked`` is no multiple of 8.

    Example:
        >>> legacy_2019_segment_starts(100, 32)
        array([ 0, 25, 50, 75])
        >>> legacy_2019_segment_starts(20, 32)
        array([0, 3, 6, 9])

    Source: the 2019 implementation's sampling for I3D on Charades.
    """
    checks.positive_int("n_frames_asked", n_frames_asked)
    length = LEGACY_SEGMENT_FRAMES
    is_whole = n_frames_asked % length == 0
    checks.require(is_whole, "n_frames_asked", f"be a multiple of {length}", n_frames_asked)
    checks.positive_int("n_frames", n_frames)
    advice = "The 2019 sampling is undefined for shorter videos; "
    advice += "use segment_starts and sample_indices."
    checks.require(n_frames > length, "n_frames", f"be more than {length}", n_frames, advice)
    n_segments = n_frames_asked // length
    span = n_frames if n_frames >= n_frames_asked else n_frames - length
    return np.arange(n_segments, dtype=np.int64) * (span // n_segments)


def legacy_2019_frames(n_frames: int, n_frames_asked: int) -> IndexArray:
    """Frame indices as chosen by the 2019 code for the 2D-ResNet, to reproduce its features.

    Frames lie at equal steps of ``n_frames / n_frames_asked`` from frame 0, rounded down after the
    multiplication in float32. They repeat if the video is shorter than ``n_frames_asked``.

    Args:
        n_frames: frames in the video.
        n_frames_asked: frames of the clip in the recipe (32, 64, 128).

    Returns:
        Frame indices (n_frames_asked,) in [0, n_frames), never descending.

    Raises:
        ValueError: if a count is not a whole number of at least 1.

    Example:
        >>> legacy_2019_frames(10, 4)
        array([0, 2, 5, 7])

    Source: the 2019 implementation's sampling for the 2D-ResNet on Charades.
    """
    checks.positive_int("n_frames", n_frames)
    checks.positive_int("n_frames_asked", n_frames_asked)
    step = np.float32(n_frames / n_frames_asked)
    return (np.arange(n_frames_asked, dtype=np.float32) * step).astype(np.int64)
