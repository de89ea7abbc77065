"""The samplings of 2019 where a video is as long as asked, or one frame off: worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from timeception.features.segments import Segmenter2019, StrideSegmenter
from timeception.video import Transform
from timeception.video.sampling import (
    legacy_2019_frames,
    legacy_2019_segment_starts,
    segment_frames,
    segment_starts,
)

#: Frames, frames asked, starts. As long as asked or longer: n_frames over the segments, rounded
#: down. Shorter: n_frames - 8 over them.
STARTS = [
    (9, 32, [0, 0, 0, 0]),  # 1 / 4
    (11, 32, [0, 0, 0, 0]),  # 3 / 4
    (12, 32, [0, 1, 2, 3]),  # 4 / 4
    (30, 32, [0, 5, 10, 15]),  # 22 / 4
    (31, 32, [0, 5, 10, 15]),  # 23 / 4
    (32, 32, [0, 8, 16, 24]),  # as long as asked: 32 / 4
    (33, 32, [0, 8, 16, 24]),
    (35, 32, [0, 8, 16, 24]),
    (36, 32, [0, 9, 18, 27]),
    (15, 16, [0, 3]),  # 7 / 2
    (16, 16, [0, 8]),
    (17, 16, [0, 8]),
    (18, 16, [0, 9]),
    (9, 8, [0]),
]


@pytest.mark.parametrize(("n_frames", "asked", "starts"), STARTS)
def test_segments(n_frames: int, asked: int, starts: list[int]) -> None:
    assert legacy_2019_segment_starts(n_frames, asked).tolist() == starts


@pytest.mark.parametrize("asked", [16, 64, 256, 512, 1024])
def test_a_video_as_long_as_asked_is_taken_whole(asked: int) -> None:
    starts = legacy_2019_segment_starts(asked, asked)
    assert starts.tolist() == list(range(0, asked, 8))
    frames = segment_frames(starts, 8, asked)
    assert frames.ravel().tolist() == list(range(asked))
    assert legacy_2019_segment_starts(asked + 1, asked).tolist() == starts.tolist()
    step = (asked - 1 - 8) // (asked // 8)
    shorter = legacy_2019_segment_starts(asked - 1, asked)
    assert shorter.tolist() == [step * number for number in range(asked // 8)]


#: Frames, frames asked, which: number * n_frames / asked, rounded down.
FRAMES = [
    (3, 4, [0, 0, 1, 2]),
    (4, 4, [0, 1, 2, 3]),
    (5, 4, [0, 1, 2, 3]),
    (7, 4, [0, 1, 3, 5]),
    (8, 4, [0, 2, 4, 6]),
    (1, 4, [0, 0, 0, 0]),
    (4, 1, [0]),
]


@pytest.mark.parametrize(("n_frames", "asked", "frames"), FRAMES)
def test_frames(n_frames: int, asked: int, frames: list[int]) -> None:
    assert legacy_2019_frames(n_frames, asked).tolist() == frames


@pytest.mark.parametrize("asked", [32, 64, 128])
def test_frames_of_a_video_as_long_as_asked(asked: int) -> None:
    assert legacy_2019_frames(asked, asked).tolist() == list(range(asked))


def test_the_step_between_frames_is_a_float32() -> None:
    """So is its product with the frame's number, which is then rounded down."""
    for n_frames in range(1, 400):
        step = np.float32(n_frames / 96)
        expected = [int(np.float32(number) * step) for number in range(96)]
        assert legacy_2019_frames(n_frames, 96).tolist() == expected


@pytest.mark.parametrize(
    ("frames_per_segment", "n_frames", "expected"),
    [(8, 32, [0, 8, 16, 24]), (8, 31, [0, 5, 10, 15]), (1, 32, list(range(32)))],
)
def test_segmenters_choose_by_the_kind_of_network(
    frames_per_segment: int, n_frames: int, expected: list[int]
) -> None:
    """Segments of 8 for a video network, single frames for an image network."""
    segmenter = Segmenter2019(frames_per_segment, Transform(), 32)
    assert segmenter.starts(np.arange(n_frames) / 24).tolist() == expected
    plain = StrideSegmenter(frames_per_segment, Transform(), 5).starts(np.arange(n_frames) / 24)
    assert plain.tolist() == list(range(0, n_frames - frames_per_segment + 1, 5))


#: Frames, stride, length, starts: the last whole segment is kept, a shorter rest is not.
DENSE = [
    (7, 8, 8, [0]),
    (8, 8, 8, [0]),
    (9, 8, 8, [0]),
    (15, 8, 8, [0]),
    (16, 8, 8, [0, 8]),
    (17, 8, 8, [0, 8]),
    (11, 2, 8, [0, 2]),
    (12, 2, 8, [0, 2, 4]),
]


@pytest.mark.parametrize(("n_frames", "stride", "length", "starts"), DENSE)
def test_dense_segments(n_frames: int, stride: int, length: int, starts: list[int]) -> None:
    assert segment_starts(n_frames, stride, length).tolist() == starts
