"""Clips of frames come from inside their window alone, at the steps that a bank would draw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.features.videos import make_video
from timeception.clips.sampler import ClipSampler, PrepareFrames
from timeception.clips.video_store import VideoStore
from timeception.datasets.records import VideoRecord
from timeception.video import Transform
from timeception.video.sampling import sample_indices

N_FRAMES, STRIDE = 60, 3
TRANSFORM = Transform(resize=20, crop=16, mean=(0.5,) * 3, std=(0.5,) * 3)


class Indices(VideoStore):
    """Gives the numbers of the frames in the place of the frames."""

    def read(self, video_id: str, indices: np.ndarray) -> np.ndarray:
        return indices


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "a.mp4", N_FRAMES)


def store_of(path: Path, frames_per_segment: int = 1, kind: type = Indices) -> VideoStore:
    return kind(path.parent, {"a": path}, frames_per_segment, STRIDE, TRANSFORM)


WINDOWS = [(0, 20), (0, 5), (7, 12), (15, 20), (3, 4), (10, None)]


@pytest.mark.parametrize("frames_per_segment", [1, 2])
@pytest.mark.parametrize(("start", "stop"), WINDOWS)
@pytest.mark.parametrize("n_timesteps", [4, 9])
def test_frames_lie_in_their_window(
    path: Path, frames_per_segment: int, start: int, stop: int | None, n_timesteps: int
) -> None:
    store = store_of(path, frames_per_segment)
    steps = np.arange(20)[start:stop]
    for seed in (None, *range(8)):
        rngs = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
        found = store.draw("a", n_timesteps, rngs[0], start=start, stop=stop)
        expected = steps[sample_indices(len(steps), n_timesteps, rngs[1])] * STRIDE
        np.testing.assert_array_equal(found, expected[:, None] + np.arange(frames_per_segment))
        assert found.min() >= steps[0] * STRIDE
        assert found.max() < steps[-1] * STRIDE + frames_per_segment


def test_the_whole_of_a_window_is_reached(path: Path) -> None:
    store, found = store_of(path), set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found |= set(store.draw("a", 2, rng, start=7, stop=12).ravel().tolist())
    assert found == {21, 24, 27, 30, 33}


def draws_of(path: Path, *windows: tuple[int, int], **more: object) -> ClipSampler:
    records = tuple(VideoRecord("a", ("x",), steps=window) for window in windows)
    store = store_of(path, kind=VideoStore)
    return ClipSampler(store, records, 3, PrepareFrames(store.transform), **more)


def test_records_draw_from_windows_of_their_own(path: Path) -> None:
    """Neighbouring windows of three steps, taken whole, are the video cut in two."""
    both = draws_of(path, (4, 7), (7, 10))
    whole = draws_of(path, (4, 10))
    frames = replace(whole, n_timesteps=6).sample(0, None)
    for number in (None, 0, 5):
        np.testing.assert_array_equal(both.sample(0, number), frames[:3])
        np.testing.assert_array_equal(both.sample(1, number), frames[3:])


def test_the_span_of_a_window(path: Path) -> None:
    assert draws_of(path, (4, 10)).span_seconds(0) == pytest.approx(6 * STRIDE / 12)
    assert draws_of(path, (0, 20)).span_seconds(0) == pytest.approx(N_FRAMES / 12)


@pytest.mark.parametrize("number", [None, 2])
def test_shuffled_segments_repeat(path: Path, number: int | None) -> None:
    ordered = draws_of(path, (4, 7), seed=1).sample(0, number)
    shuffled = {seed: draws_of(path, (4, 7), is_shuffled=True, seed=seed) for seed in range(8)}
    orders = set()
    for draws in shuffled.values():
        clip = draws.sample(0, number)
        np.testing.assert_array_equal(clip, draws.sample(0, number))
        equal = (clip[:, None] == ordered[None]).all(axis=(2, 3, 4))
        orders.add(tuple(equal.argmax(axis=1).tolist()))
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert len(orders) > 2
