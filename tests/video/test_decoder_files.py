"""Real files that decoders trip on; they are not part of the project."""

import json

import av
import numpy as np
import pytest

from timeception.video import VideoError, VideoReader, probe
from timeception.video.pixels import Orientation, rgb_array

# name: width, height, frames, fps, rotation, codec, pixel format, stream
FILES = {
    "av1_video.mkv": (640, 360, 125, 25, 0, "av1", "yuv420p", 0),
    "bt709_full_range.mp4": (1280, 720, 30, 30, 0, "h264", "yuvj420p", 0),
    "flipping_a_pancake.mkv": (426, 240, 310, 30, 0, "h264", "yuv420p", 0),
    "h264_10bits.mp4": (200, 200, 30, 30, 0, "h264", "yuv420p10le", 0),
    "h265_10bits.mp4": (200, 200, 30, 30, 0, "hevc", "yuv420p10le", 0),
    "h265_video.mp4": (128, 128, 10, 10, 0, "hevc", "yuv420p", 0),
    "nasa_13013.mp4": (480, 270, 390, 30000 / 1001, 0, "h264", "yuv420p", 3),
    "unordered.mov": (50, 50, 4, 32, 0, "h264", "yuv420p", 0),
    "video_0.mov": (568, 320, 3, 30, 0, "h264", "yuv420p", 0),
    "video_90.mov": (320, 568, 3, 30, 90, "h264", "yuv420p", 0),
    "video_180.mov": (568, 320, 3, 30, 180, "h264", "yuv420p", 0),
    "video_270.mov": (320, 568, 3, 30, 270, "h264", "yuv420p", 0),
}


def decode_plainly(path, stream_index):
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams[stream_index]))
    return [Orientation.of_frame(frame).apply(rgb_array(frame)) for frame in frames]


@pytest.mark.parametrize("name", FILES)
def test_file(shared, name):
    width, height, n_frames, fps, rotation, codec, pixel_format, stream = FILES[name]
    with VideoReader(shared / "data" / "decoder" / name) as video:
        info = video.info
        assert (info.width, info.height, info.n_frames) == (width, height, n_frames)
        assert info.fps == pytest.approx(fps, rel=1e-4)
        assert info.duration_seconds == pytest.approx(n_frames / fps, abs=0.05)
        assert (info.rotation_degrees, info.codec) == (rotation, codec)
        assert (info.pixel_format, info.stream_index) == (pixel_format, stream)
        everything = decode_plainly(video.path, stream)
        assert len(everything) == n_frames
        rng = np.random.default_rng(0)
        for index in [n_frames - 1, 0, *rng.integers(0, n_frames, 5)]:
            np.testing.assert_array_equal(video.read([index])[0], everything[index])


def test_times_of_every_frame(shared):
    """Against a list of the frames that another decoder made."""
    path = shared / "data" / "decoder" / "nasa_13013.mp4"
    rows = json.loads(path.with_name(f"{path.name}.stream3.all_frames_info.json").read_text())
    with VideoReader(path, stream=3) as video:
        assert len(video) == len(rows)
        expected = [float(row["pts_time"]) for row in rows]
        np.testing.assert_allclose(video.timestamps_seconds, expected, atol=1e-6)
    assert (probe(path, stream=0).width, probe(path, stream=0).stream_index) == (320, 0)


def test_corrupted_file(shared):
    path = shared / "data" / "decoder" / "corrupted.mp4"
    with VideoReader(path) as video:
        given = []
        with pytest.raises(VideoError, match=r"cannot decode frame \d+ \(\d.\d{3} s\) of 50"):
            given.extend(image for _, image in video.frames())
    assert 20 < len(given) < 30
    with VideoReader(path, allow_damaged=True) as video:
        assert len(video) == len(given)
        np.testing.assert_array_equal(video.read(range(len(video))), given)


def test_frame_list_is_no_video(shared):
    path = shared / "data" / "decoder" / "nasa_13013.mp4.stream3.all_frames_info.json"
    with pytest.raises(VideoError, match="is a text file"):
        probe(path)


@pytest.mark.parametrize("name", ["up_1", "carret_16", "del_5"])
def test_recordings_whose_times_are_all_zero(shared, name):
    path = shared / "data" / "egogestar" / "videos" / f"testvideo_{name}.mp4"
    with VideoReader(path) as video:
        assert (video.info.width, video.info.height) == (256, 192)
        assert 17 <= len(video) <= 216
        assert 9.9 <= video.info.fps <= 30.1
        everything = decode_plainly(path, 0)
        assert len(everything) == len(video)
        picks = [len(video) - 1, 3, 10]
        np.testing.assert_array_equal(video.read(picks), [everything[index] for index in picks])
