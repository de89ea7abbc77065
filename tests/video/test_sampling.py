"""Index arithmetic: properties that hold for every video, and the samplings of 2019."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timeception.video.sampling import (
    legacy_2019_frames,
    legacy_2019_segment_starts,
    sample_indices,
    segment_frames,
    segment_starts,
    timed_segment_starts,
    timed_starts,
)

lengths = st.integers(1, 5000)
counts = st.integers(1, 300)


@given(n_frames=lengths, stride=st.integers(1, 64), length=st.integers(1, 64))
def test_dense_segments(n_frames, stride, length):
    starts = segment_starts(n_frames, stride, length)
    assert starts.dtype == np.int64
    assert starts[0] == 0
    assert np.all(np.diff(starts) == stride)
    frames = segment_frames(starts, length, n_frames)
    assert frames.shape == (len(starts), length)
    assert frames.min() == 0 and frames.max() <= n_frames - 1
    if n_frames >= length:
        assert np.all(np.diff(frames, axis=1) == 1), "whole segments only"
        assert starts[-1] + length <= n_frames < starts[-1] + stride + length, "and all of them"
    else:
        assert frames.tolist() == [[*range(n_frames), *[n_frames - 1] * (length - n_frames)]]


#: Frame rate, timesteps per second, frames: the frame nearest to each time, ties to the later one.
TIMED = [
    (30, 5, 30, [0, 6, 12, 18, 24]),
    (10, 5, 10, [0, 2, 4, 6, 8]),
    (30, 30, 4, [0, 1, 2, 3]),
    (25, 10, 14, [0, 3, 5, 8, 10, 13]),  # 0.1 s lies between 0.08 and 0.12
    (24, 10, 13, [0, 2, 5, 7, 10, 12]),  # 2.4, 4.8, 7.2, 9.6, 12 frames
    (10, 30, 4, [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]),  # frames repeat
    (10, 0.5, 45, [0, 20, 40]),
    (30000 / 1001, 5, 31, [0, 6, 12, 18, 24, 30]),
]


@pytest.mark.parametrize(("rate", "fps", "n_frames", "expected"), TIMED)
@pytest.mark.parametrize("digits", [15, 3])  # Matroska rounds times to milliseconds
def test_timed_starts_by_hand(rate, fps, n_frames, expected, digits):
    seconds = (np.arange(n_frames) / rate).round(digits)
    assert timed_segment_starts(seconds, fps, 1).tolist() == expected


@given(
    gaps=st.lists(st.floats(0, 0.5), max_size=80),
    fps=st.floats(0.1, 60),
    length=st.integers(1, 12),
)
def test_timed_segments_start_at_the_nearest_frame(gaps, fps, length):
    seconds = np.concatenate([[0.0], np.cumsum(gaps)])
    starts = timed_segment_starts(seconds, fps, length)
    assert starts.dtype == np.int64 and starts[0] == 0 and np.all(np.diff(starts) >= 0)
    last_start = len(seconds) - length
    if last_start < 0:
        assert starts.tolist() == [0]
        return
    assert starts[-1] <= last_start, "whole segments only"
    times = np.arange(len(starts)) / fps
    distances = np.abs(seconds - times[:, None]).min(axis=1)
    assert np.all(np.abs(seconds[starts] - times) <= distances + 0.0011), "the nearest frames"
    following = len(starts) / fps
    if following <= seconds[-1]:
        nearest = np.abs(seconds - following)
        assert nearest[: last_start + 1].min() >= nearest.min() - 0.0011, "and all of them"


@given(rate=st.integers(5, 60), times=st.integers(1, 6), n_seconds=st.integers(1, 20))
def test_a_rate_that_divides_the_frame_rate_is_a_stride(rate, times, n_seconds):
    n_frames = rate * times * n_seconds
    timed = timed_segment_starts(np.arange(n_frames) / (rate * times), rate, 1)
    np.testing.assert_array_equal(timed, segment_starts(n_frames, times, 1))


def test_timed_starts_read_no_further_than_needed():
    n_read = 0

    def seconds():
        nonlocal n_read
        for index in range(100):
            n_read += 1
            yield index / 10

    starts = timed_starts(seconds(), fps=3)
    assert [(next(starts), n_read) for _ in range(4)] == [(0, 1), (3, 5), (7, 8), (10, 11)]


@given(start=st.integers(0, 99), length=st.integers(1, 20))
def test_one_segment_equals_its_row(start, length):
    one = segment_frames(start, length, n_frames=100)
    assert one.shape == (length,)
    np.testing.assert_array_equal(one, segment_frames([start], length, n_frames=100)[0])
    np.testing.assert_array_equal(one, np.minimum(start + np.arange(length), 99))


def assert_all_repeat_evenly(indices, n_available):
    assert np.all(np.diff(indices) >= 0)
    repeats = np.bincount(indices, minlength=n_available)
    assert repeats.min() >= 1
    assert repeats.max() - repeats.min() <= 1


@given(n_available=lengths, n_timesteps=counts, seed=st.integers(0, 2**32))
def test_random_draw(n_available, n_timesteps, seed):
    indices = sample_indices(n_available, n_timesteps, np.random.default_rng(seed))
    assert indices.shape == (n_timesteps,) and indices.dtype == np.int64
    assert indices.min() >= 0 and indices.max() < n_available
    edges = [step * n_available // n_timesteps for step in range(n_timesteps + 1)]
    if n_available >= n_timesteps:
        assert np.all(np.diff(indices) > 0), "in order, none twice"
        assert all(
            low <= index < high for low, index, high in zip(edges, indices, edges[1:], strict=False)
        ), "one from each stratum"
    else:
        assert_all_repeat_evenly(indices, n_available)


@given(n_available=lengths, n_timesteps=counts)
def test_uniform_sampling(n_available, n_timesteps):
    indices = sample_indices(n_available, n_timesteps)
    assert indices.shape == (n_timesteps,) and indices.dtype == np.int64
    steps = set(np.diff(indices).tolist())
    assert steps <= {n_available // n_timesteps, -(-n_available // n_timesteps)}
    mirrored = n_available - 1 - indices[::-1]
    assert np.abs(indices - mirrored).max() <= 1, "centred, up to rounding"
    if n_available < n_timesteps:
        assert_all_repeat_evenly(indices, n_available)


def test_random_draw_reaches_every_segment_evenly():
    rng = np.random.default_rng(0)
    taken = np.bincount(
        np.concatenate([sample_indices(24, 8, rng) for _ in range(3000)]), minlength=24
    )
    assert np.abs(taken / 1000 - 1).max() < 0.15


def test_draws_differ_and_can_be_repeated():
    first, second = (sample_indices(1000, 32, np.random.default_rng(seed)) for seed in (1, 2))
    assert np.any(first != second)
    np.testing.assert_array_equal(first, sample_indices(1000, 32, np.random.default_rng(1)))


def numpy_starts_of_2019(n_frames, n_asked):
    """What the call of ``numpy.arange`` in the 2019 sampling gives."""
    n_segments = n_asked // 8
    if n_frames == n_asked:
        return np.arange(0, n_asked, 8)
    span = n_frames if n_frames > n_asked else n_frames - 8
    return np.arange(0, span, step=span / n_segments, dtype=int)


@given(n_frames=st.integers(9, 8000), n_asked=st.sampled_from([64, 256, 512, 1024]))
def test_legacy_segments_are_those_of_2019(n_frames, n_asked):
    starts = legacy_2019_segment_starts(n_frames, n_asked)
    assert starts.shape == (n_asked // 8,)
    np.testing.assert_array_equal(starts, numpy_starts_of_2019(n_frames, n_asked)[: n_asked // 8])
    assert starts[-1] + 8 <= n_frames


@given(n_frames=lengths, n_asked=st.sampled_from([32, 64, 128]))
def test_legacy_frames_are_those_of_2019(n_frames, n_asked):
    step = n_frames / n_asked
    numpy_of_2019 = np.arange(0, n_frames, step, dtype=np.float32).astype(np.int32)[:n_asked]
    frames = legacy_2019_frames(n_frames, n_asked)
    np.testing.assert_array_equal(frames, numpy_of_2019)
    assert frames.max() < n_frames


BAD = [
    (segment_starts, (0, 8, 8), "n_frames must be a whole number of at least 1; got 0"),
    (segment_starts, (10, 0, 8), "stride must be a whole number of at least 1; got 0"),
    (segment_starts, (10, 8, 2.5), "frames_per_segment must be a whole number"),
    (timed_segment_starts, ([], 5, 1), r"frame_seconds must be \(n_frames,\), at least one frame"),
    (timed_segment_starts, ([0.0], 0, 1), "fps must be a positive number of timesteps per second"),
    (timed_segment_starts, ([0.0], -1, 8), "fps must be a positive number of timesteps per second"),
    (timed_segment_starts, ([0.0], "5", 1), "fps must be a positive number"),
    (timed_segment_starts, ([0.0], 5, 0), "frames_per_segment must be a whole number"),
    (segment_frames, (10, 8, 10), r"start must hold frame indices in \[0, 10\); got 10"),
    (segment_frames, ([0, -1], 8, 10), r"start must hold frame indices in \[0, 10\)"),
    (segment_frames, (1.0, 8, 10), r"start must hold frame indices"),
    (segment_frames, (0, 0, 10), "frames_per_segment must be"),
    (sample_indices, (0, 8), "n_available must be a whole number of at least 1; got 0"),
    (sample_indices, (8, 0), "n_timesteps must be a whole number of at least 1; got 0"),
    (sample_indices, (8, True), "n_timesteps must be a whole number"),
    (legacy_2019_segment_starts, (100, 30), "n_frames_asked must be a multiple of 8; got 30"),
    (legacy_2019_segment_starts, (8, 256), "n_frames must be more than 8; got 8. The 2019"),
    (legacy_2019_frames, (0, 32), "n_frames must be a whole number of at least 1"),
]


@pytest.mark.parametrize("function, arguments, words", BAD)
def test_wrong_arguments(function, arguments, words):
    with pytest.raises(ValueError, match=words):
        function(*arguments)
