"""Features of a stream are those of the file, whatever the container, segments and rotation."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.features.videos import make_video
from tests.video.making import KINDS, write_kind, write_video
from timeception.backbones import Backbone, create_backbone
from timeception.features import stream as features
from timeception.features.extraction.extract import extract_features
from timeception.features.extraction.settings import extraction_settings, segmenter_of
from timeception.features.extractor import FeatureExtractor
from timeception.features.segments import Segmenter, StrideSegmenter, TimedSegment
from timeception.features.stream import FeatureStream
from timeception.video import FrameStream, StreamSource, Transform, VideoError, VideoReader


def stream_of(
    source: StreamSource | Path, backbone: Backbone, stride: int, batch_size: int | None = None
) -> FeatureStream:
    segmenter = segmenter_of(extraction_settings(backbone, stride))
    network = FeatureExtractor(backbone, None, batch_size, "cpu")
    made = StreamSource(str(source)) if isinstance(source, Path) else source
    return FeatureStream(made, segmenter, network)


def streamed(path: Path, backbone: Backbone, stride: int) -> tuple[np.ndarray, np.ndarray]:
    parts = list(stream_of(path, backbone, stride))
    features = np.concatenate([part.features for part in parts])
    return features, np.concatenate([part.start_seconds for part in parts])


def assert_same(path: Path, backbone: Backbone, stride: int) -> None:
    features, seconds = streamed(path, backbone, stride)
    expected = extract_features(path, backbone, stride=stride)
    np.testing.assert_allclose(features, expected.features, atol=1e-5, rtol=0)
    with VideoReader(path) as video:
        times = video.timestamps_seconds[expected.start_frames]
    np.testing.assert_allclose(seconds, times, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    assert_same(write_kind(tmp_path, kind, 40), create_backbone("tiny_images"), 3)


@pytest.mark.parametrize("stride", [1, 3, 8, 11])
@pytest.mark.parametrize("n_frames", [3, 8, 35])
def test_segments_that_overlap_touch_and_lie_apart(
    stride: int, n_frames: int, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mp4", n_frames)
    assert_same(path, create_backbone("tiny_videos"), stride)


@pytest.mark.parametrize("rotation", [(90, False, False), (180, False, True)])
def test_frames_are_upright(rotation: tuple[int, bool, bool], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "turned.mp4", rotation=rotation, images=list(noise))
    assert_same(path, create_backbone("tiny_images"), 2)


def test_few_segments_are_held_whatever_the_length(tmp_path: Path) -> None:
    """The decoder waits for the network."""
    stream = stream_of(
        StreamSource("testsrc=size=64x48", "lavfi"), create_backbone("tiny_images"), 1, 4
    )
    parts, n_computers = iter(stream), stream._network.n_computers
    for _ in range(50):
        next(parts)
    parts.close()
    held = 4 * n_computers * (1 + 2)  # computed, and decoded ahead
    assert stream.frames.n_frames <= 50 * 4 + held + 2
    assert not [thread for thread in threading.enumerate() if thread.name == "stream"]


def test_stop_ends_the_stream_where_it_is() -> None:
    backbone, stop = create_backbone("tiny_images"), threading.Event()
    segmenter = segmenter_of(extraction_settings(backbone, 1))
    source = StreamSource("testsrc=size=64x48", "lavfi")  # without end
    stream = FeatureStream(source, segmenter, FeatureExtractor(backbone, None, 4, "cpu"), stop)
    n_parts = 0
    for _ in stream:
        n_parts += 1
        if n_parts == 3:
            stop.set()
    assert 3 <= n_parts <= 3 + stream._network.n_computers  # what was being computed


def test_all_before_an_error_is_given(tmp_path: Path) -> None:
    options = {"movflags": "faststart"}  # the index stands in front
    whole = write_video(tmp_path / "a.mp4", 40, container_options=options)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 8 // 10])
    stream, n_steps = stream_of(cut, create_backbone("tiny_images"), 2), 0
    with pytest.raises(VideoError, match=r"cut\.mp4: is cut short: \d+ bytes are missing"):
        for part in stream:
            n_steps += len(part.features)
    assert 5 < n_steps < 20


def test_batches_come_in_order_whichever_is_ready_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stream_of(make_video(tmp_path / "a.mp4", 40), create_backbone("tiny_images"), 1, 4)
    stream._network.n_computers = 3
    slow, waits, compute, wait = (
        itertools.cycle((0.2, 0.0)),
        [],
        FeatureExtractor.__call__,
        features.wait,
    )

    def compute_slowly(self: FeatureExtractor, segments: np.ndarray) -> np.ndarray:
        time.sleep(next(slow))
        return compute(self, segments)

    def pause_after_two_batches(self: Segmenter, frames: FrameStream) -> Iterator[TimedSegment]:
        for number, segment in enumerate(segments(self, frames)):
            time.sleep(0.4 if number == 8 else 0)
            yield segment

    segments = Segmenter.stream
    monkeypatch.setattr(Segmenter, "stream", pause_after_two_batches)
    monkeypatch.setattr(FeatureExtractor, "__call__", compute_slowly)
    monkeypatch.setattr(features, "wait", lambda *given: waits.append(given) or wait(*given))
    starts = np.concatenate([part.start_seconds for part in stream])
    assert len(starts) == 40
    assert (np.diff(starts) > 0).all()
    assert 1 < len(waits) < 200  # it sleeps meanwhile


def test_a_stream_is_iterated_once(tmp_path: Path) -> None:
    stream = stream_of(make_video(tmp_path / "a.mp4", 8), create_backbone("tiny_images"), 2)
    assert list(stream)
    with pytest.raises(RuntimeError, match="can be iterated once: make a new one"):
        list(stream)


def test_frames_too_small_for_the_backbone(tmp_path: Path) -> None:
    backbone = create_backbone("tiny_images")
    backbone.transform = backbone.transform.replace(resize=None, crop=40)
    with pytest.raises(ValueError, match="sides of at least the crop"):
        list(stream_of(make_video(tmp_path / "a.mp4"), backbone, 2))


@dataclass
class CountedFrame:
    seconds: float
    n_converted: int = 0

    def rgb(self) -> np.ndarray:
        self.n_converted += 1
        return np.full((8, 8, 3), round(self.seconds), np.uint8)


@pytest.mark.parametrize(
    ("stride", "n_frames", "expected"),
    [
        (5, 13, [[0, 1, 2], [5, 6, 7], [10, 11, 12]]),
        (5, 12, [[0, 1, 2], [5, 6, 7]]),  # the last segment is not whole
        (2, 7, [[0, 1, 2], [2, 3, 4], [4, 5, 6]]),
        (2, 2, [[0, 1, 1]]),  # the last frame is repeated
        (2, 0, []),
    ],
)
def test_only_frames_of_segments_are_converted_and_each_once(
    stride: int, n_frames: int, expected: list[list[int]]
) -> None:
    frames = [CountedFrame(float(index)) for index in range(n_frames)]
    segmenter = StrideSegmenter(3, Transform(resize=None, crop=4), stride)
    found = list(segmenter.stream(frames))  # type: ignore[arg-type]
    assert [segment.frames[:, 0, 0, 0].tolist() for segment in found] == expected
    times = [(segment.start_seconds, segment.end_seconds) for segment in found]
    assert times == [(row[0], row[-1]) for row in expected]
    needed = {index for row in expected for index in row}
    begun = range((len(expected)) * stride, n_frames) if n_frames > 3 else ()
    assert all(frame.n_converted <= 1 for frame in frames)
    converted = {index for index, frame in enumerate(frames) if frame.n_converted}
    assert needed <= converted <= needed | set(begun)
