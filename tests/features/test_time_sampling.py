"""Sampling by time: videos of different frame rates look alike, from files and from streams."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.features.test_stream import CountedFrame
from tests.features.videos import files
from timeception.backbones import Backbone, create_backbone
from timeception.cli import main
from timeception.clips.video_store import VideoStore
from timeception.features import FeatureBank
from timeception.features.bank.inspection import inspect, statistics
from timeception.features.bank.store import MismatchError
from timeception.features.extraction.extract import extract, extract_features
from timeception.features.extraction.settings import extraction_settings, segmenter_of
from timeception.features.extractor import FeatureExtractor
from timeception.features.segments import FpsSegmenter
from timeception.features.stream import FeatureStream
from timeception.video import StreamSource, Transform

SECONDS = 2


def record(path: Path, times: list[Fraction]) -> Path:
    """One action, a picture that moves 40 pixels per second, seen at ``times``; lossless."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 20, 3), dtype=np.uint8)
    picture = coarse.repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 80, 24, "bgr0"
        for time in times:
            image = np.roll(picture, round(40 * time), axis=1)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = int(time * 30), Fraction(1, 30)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def at_rate(fps: int) -> list[Fraction]:
    return [Fraction(index, fps) for index in range(SECONDS * fps)]


#: At 30 frames per second in the first second, at 10 in the second one.
VARIABLE = at_rate(30)[:30] + at_rate(10)[10:]
CLIPS = {"slow": at_rate(10), "fast": at_rate(30), "variable": VARIABLE}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Matroska files, which round times to milliseconds."""
    root = tmp_path_factory.mktemp("clips")
    for name, times in CLIPS.items():
        record(root / f"{name}.mkv", times)
    return root


@pytest.mark.parametrize("name", list(CLIPS))
def test_videos_of_any_frame_rate_have_the_same_features(
    clips: Path, images: Backbone, name: str
) -> None:
    found = extract_features(clips / f"{name}.mkv", images, fps=5)
    expected = extract_features(clips / "slow.mkv", images, fps=5)
    assert len(found.features) == 5 * SECONDS
    np.testing.assert_allclose(found.features, expected.features, atol=1e-6)
    assert np.ptp(found.features, axis=0).max() > 0.1  # they move


def test_a_stride_counts_frames(clips: Path, images: Backbone) -> None:
    counts = [
        len(extract_features(clips / f"{name}.mkv", images, stride=2).features)
        for name in ("slow", "fast")
    ]
    assert counts == [10, 30]


def test_frames_repeat_where_the_video_has_fewer(clips: Path, images: Backbone) -> None:
    slow = extract_features(clips / "slow.mkv", images, fps=30)
    fast = extract_features(clips / "fast.mkv", images, fps=30)
    assert slow.start_frames.tolist()[:8] == [0, 0, 1, 1, 1, 2, 2, 2]
    assert len(slow.features) == 19 * 3 + 1  # up to the last frame, at 1.9 s
    assert len(fast.features) == 60
    np.testing.assert_allclose(slow.features[::3], fast.features[:58:3], atol=1e-6)


def test_segments_hold_successive_frames(clips: Path) -> None:
    segmenter = FpsSegmenter(8, Transform(resize=None, crop=16), 5.0)
    assert segmenter.starts(np.arange(60) / 30).tolist() == [0, 6, 12, 18, 24, 30, 36, 42, 48]
    assert segmenter.starts(np.arange(20) / 10).tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert segmenter.starts(np.arange(5) / 10).tolist() == [0]


@pytest.fixture(scope="module")
def bank(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureBank:
    root = tmp_path_factory.mktemp("bank")
    extract([clips], root, create_backbone("tiny_images"), fps=20)
    return FeatureBank(root)


def test_the_bank_records_the_rate(bank: FeatureBank) -> None:
    assert bank.settings["fps"] == 20.0 and "stride" not in bank.settings
    entry = bank["slow"]
    assert entry.provenance["fps"] == 20.0 and "stride" not in entry.provenance
    assert entry.fps == pytest.approx(10, rel=1e-3)


def test_times_of_the_bank_are_equally_spaced(bank: FeatureBank) -> None:
    for name in CLIPS:
        edges = bank.edges_seconds(name)
        np.testing.assert_allclose(edges, np.arange(bank.n_steps(name) + 1) / 20)


def test_the_bank_is_sound_and_counts_its_hours(
    bank: FeatureBank, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(bank, [clips]) == {}
    steps = sum(bank.n_steps(name) - 1 for name in CLIPS)
    assert statistics(bank)["hours"] == pytest.approx(steps / 20 / 3600)
    assert main(["bank", "stat", str(bank.root)]) == 0
    assert "every 0.05 s (20 fps)" in capsys.readouterr().out


def test_another_rate_or_a_stride_does_not_fit(bank: FeatureBank, clips: Path) -> None:
    images = create_backbone("tiny_images")
    with pytest.raises(MismatchError, match=r"fps: 20\.0 in the bank, 5\.0 asked for"):
        extract([clips], bank.root, images, fps=5)
    with pytest.raises(MismatchError, match="stride: absent in the bank, 8 asked for"):
        extract([clips], bank.root, images)
    assert extract([clips], bank.root, images, fps=20).done == []


def test_settings_without_fps_are_those_of_before(images: Backbone) -> None:
    settings = extraction_settings(images, 4)
    assert list(settings)[3] == "stride" and "fps" not in settings


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fps": 0.0}, "fps must be a positive number of timesteps per second; got 0"),
        ({"fps": float("nan")}, "fps must be a positive number"),
        ({"fps": True}, "fps must be a positive number"),
        ({"fps": 5, "stride": 2}, "stride must be left out with fps; got 2"),
        ({"fps": 5, "frames_2019": 64}, "frames_2019 must be left out with fps; got 64"),
    ],
)
def test_wrong_settings(options: dict[str, object], words: str, images: Backbone) -> None:
    with pytest.raises(ValueError, match=words):
        extraction_settings(images, **options)


@pytest.mark.parametrize("backbone", ["tiny_images", "tiny_videos"])
@pytest.mark.parametrize("fps", [0.4, 5, 7, 24, 50])
@pytest.mark.parametrize("name", list(CLIPS))
def test_a_stream_has_the_timesteps_of_the_file(
    clips: Path, backbone: str, fps: float, name: str
) -> None:
    network, path = create_backbone(backbone), clips / f"{name}.mkv"
    segmenter = segmenter_of(extraction_settings(network, fps=fps))
    stream = FeatureStream(
        StreamSource(str(path)), segmenter, FeatureExtractor(network, None, None, "cpu")
    )
    found = np.concatenate([part.features for part in stream])
    expected = extract_features(path, network, fps=fps).features
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(
    gaps=st.lists(st.floats(0.002, 0.5), max_size=60),
    fps=st.floats(0.3, 60),
    length=st.integers(1, 9),
)
def test_streamed_segments_equal_those_of_the_file(
    gaps: list[float], fps: float, length: int
) -> None:
    seconds = np.concatenate([[0.0], np.cumsum(gaps)])
    segmenter = FpsSegmenter(length, Transform(resize=None, crop=4), fps)
    frames = [CountedFrame(second) for second in seconds.tolist()]
    found = list(segmenter.stream(frames))  # type: ignore[arg-type]
    starts = segmenter.starts(seconds)
    assert [segment.start_seconds for segment in found] == seconds[starts].tolist()
    last = np.minimum(starts + length - 1, len(seconds) - 1)
    assert [segment.end_seconds for segment in found] == seconds[last].tolist()
    assert all(frame.n_converted <= 1 for frame in frames)


def test_a_segment_is_ready_when_its_last_frame_arrives() -> None:
    """Frames come at 0.0, 0.1, ... s; 1 / 4 s is nearest to the frame at 0.3 (ties: the later)."""
    n_read = 0

    def arriving() -> Iterator[CountedFrame]:
        nonlocal n_read
        for index in range(100):
            n_read += 1
            yield CountedFrame(index / 10)

    segmenter = FpsSegmenter(3, Transform(resize=None, crop=4), 4.0)
    segments = segmenter.stream(arriving())  # type: ignore[arg-type]
    read = []
    for start in (0, 3, 5, 8):
        segment = next(segments)
        assert segment.start_seconds == start / 10
        read.append(n_read)
    assert read == [3, 6, 8, 11]


def test_frames_between_segments_are_neither_kept_nor_converted() -> None:
    frames = [CountedFrame(index / 10) for index in range(1000)]
    segmenter = FpsSegmenter(1, Transform(resize=None, crop=4), 0.05)
    assert len(list(segmenter.stream(frames))) == 5  # type: ignore[arg-type]
    assert sum(frame.n_converted for frame in frames) == 5


def test_training_from_files_takes_the_segments_of_the_bank(clips: Path, bank: FeatureBank) -> None:
    paths = {name: clips / f"{name}.mkv" for name in CLIPS}
    store = VideoStore(clips, paths, 1, None, Transform(resize=None, crop=16), fps=20.0)
    for name in CLIPS:
        np.testing.assert_array_equal(store.starts(name), bank[name].start_frames)
        np.testing.assert_allclose(store.edges_seconds(name), bank.edges_seconds(name))


RECIPE = """
name: mine
data: {kind: csv, source: videos.csv, bank: bank}
backbone: {name: tiny_images, SPACING}
"""


def run(*words: object) -> int:
    return main(["extract", *map(str, words)])


def test_the_option_and_the_recipe(clips: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    cases = [
        ("fps: 5", [], ("fps", 5.0)),
        ("stride_frames: 3", ["--fps", "10"], ("fps", 10.0)),
        ("fps: 5", ["--stride", "3"], ("stride", 3)),
        ("fps: 5", ["--fps", "2.5"], ("fps", 2.5)),
        ("stride_frames: 3", ["--frames-2019", "8"], ("stride", 3)),
        ("fps: 5", ["--frames-2019", "8"], ("stride", 8)),
        ("fps: 5", ["--set", "backbone.fps=4"], ("fps", 4.0)),
    ]
    for number, (spacing, options, (key, value)) in enumerate(cases):
        recipe.write_text(RECIPE.replace("SPACING", spacing))
        out = tmp_path / str(number)
        assert run(clips, "--out", out, "--recipe", recipe, *options) == 0
        settings = FeatureBank(out).settings
        assert settings[key] == value
        assert ("fps" in settings) != ("stride" in settings)
    words = ["--out", tmp_path / "plain", "--backbone", "tiny_images", "--fps", "5"]
    assert run(clips, *words) == 0
    extract([clips], tmp_path / "called", create_backbone("tiny_images"), fps=5)
    assert files(tmp_path / "plain") == files(tmp_path / "called")


@pytest.mark.parametrize("other", [("--stride", "2"), ("--frames-2019", "8")])
def test_options_that_exclude_each_other(
    other: tuple[str, str], clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(clips, "--out", tmp_path / "bank", "--fps", "5", *other) == 2
    message = capsys.readouterr().err
    assert f"{other[0]}" in message and "--fps" in message and "not both" in message
    assert not (tmp_path / "bank").exists()
