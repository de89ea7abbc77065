"""Video files as segments: memory that keeps to its budget, frames as the backbone takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.features.videos import make_video
from timeception.clips import video_store
from timeception.clips.sampler import ClipSampler, PrepareFrames
from timeception.clips.video_store import VideoStore
from timeception.datasets.records import VideoRecord
from timeception.video import Transform, VideoReader

N_FRAMES, STRIDE = 24, 4
TRANSFORM = Transform(resize=20, crop=16, mean=(0.5,) * 3, std=(0.25,) * 3)
WIDTH = 20 * 32 // 24
VIDEO_BYTES = N_FRAMES // STRIDE * 20 * WIDTH * 3  # of the frames that clips take


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("videos")
    return {
        name: make_video(root / f"{name}.mp4", N_FRAMES, seed=seed)
        for seed, name in enumerate("abc")
    }


def store_of(paths: dict[str, Path], cache_bytes: int = 0, **changes: object) -> VideoStore:
    fields = {"frames_per_segment": 1, "stride_frames": STRIDE, "transform": TRANSFORM}
    return VideoStore(Path(), paths, cache_bytes=cache_bytes, **{**fields, **changes})


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded, in order."""
    seen: list[str] = []

    class Spy(VideoReader):
        def __init__(self, path: Path) -> None:
            seen.append(path.stem)
            super().__init__(path)

    monkeypatch.setattr(video_store, "VideoReader", Spy)
    return seen


@pytest.mark.parametrize(("n_kept", "spare"), [(0, -1), (1, 0), (2, -1), (2, 0), (3, 0)])
def test_memory_holds_the_videos_that_fit_together(
    paths: dict[str, Path], opened: list[str], n_kept: int, spare: int
) -> None:
    """One byte too few for a video leaves it out; what is kept is decoded once.

    A file is also opened once to index it.
    """
    store = store_of(paths, n_kept * VIDEO_BYTES + spare)
    n_kept -= spare < 0 < n_kept
    for _ in range(3):
        for name in paths:
            store.draw(name, 3)
    counts = [opened.count(name) for name in paths]
    assert counts == [1 + 1] * n_kept + [1 + 3] * (3 - n_kept)


def test_segments_lie_inside_the_video(paths: dict[str, Path]) -> None:
    for length, n_segments in ((1, 6), (4, 6), (5, 5), (8, 5), (9, 4)):
        store = store_of(paths, frames_per_segment=length)
        starts = store.starts("a")
        assert starts.tolist() == [STRIDE * n for n in range(n_segments)]
        assert starts[-1] + length <= N_FRAMES
        assert len(store.edges_seconds("a")) == n_segments + 1


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("cache_bytes", [0, 10 * VIDEO_BYTES])
def test_a_clip_is_the_transform_of_its_frames(
    paths: dict[str, Path], order: str, cache_bytes: int
) -> None:
    transform = TRANSFORM.replace(channel_order=order)
    store = store_of(paths, cache_bytes, transform=transform)
    sampler = ClipSampler(store, (VideoRecord("b", ("x",)),), 6, PrepareFrames(transform))
    with VideoReader(paths["b"]) as video:
        frames = np.stack([frame for _, frame in video.frames(range(0, N_FRAMES, STRIDE))])
    expected = transform(frames).transpose(1, 0, 2, 3)
    np.testing.assert_allclose(sampler.sample(0, None), expected, atol=1e-6)


def test_a_file_that_does_not_open_is_tried_once(
    paths: dict[str, Path], tmp_path: Path, opened: list[str]
) -> None:
    (tmp_path / "no.mp4").write_text("no video at all")
    store = store_of(paths | {"no": tmp_path / "no.mp4"})
    for _ in range(2):
        assert "a" in store and "no" not in store and "nowhere" not in store
    assert sorted(opened) == ["a", "no"]
    assert store.video_ids == ("a", "b", "c", "no")
    assert list(store.failures) == ["no"] and "no.mp4" in store.failures["no"]["error"]
