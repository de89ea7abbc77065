"""Frames by exact index, in every kind of file that can be made here."""

import json
import subprocess
import sys

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.video.making import (
    FPS,
    GOP,
    HEIGHT,
    KINDS,
    WIDTH,
    add_stream,
    encode,
    number_of,
    numbered_image,
    packets_of,
    remux,
    write_kind,
    write_video,
)
from timeception.video import VideoError, VideoReader, decoder_version, probe
from timeception.video.pixels import rgb_array
from timeception.video.source import VideoSource

N_FRAMES = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function that makes a kind of video, once."""
    folder, paths = tmp_path_factory.mktemp("videos"), {}

    def make(kind):
        if kind not in paths:
            paths[kind] = write_kind(folder, kind, N_FRAMES)
        return paths[kind]

    return make


def decode_plainly(path):
    """Every frame, decoded from the start by PyAV alone."""
    with av.open(str(path)) as container:
        return np.stack([rgb_array(frame) for frame in container.decode(video=0)])


@pytest.mark.parametrize("kind", KINDS)
def test_any_frame_equals_plain_decoding(made, kind):
    path = made(kind)
    everything = decode_plainly(path)
    assert [number_of(image) for image in everything] == list(range(N_FRAMES))
    rng = np.random.default_rng(0)
    orders = [np.arange(N_FRAMES), np.arange(N_FRAMES)[::-1], rng.integers(0, N_FRAMES, 30)]
    with VideoReader(path) as video:
        assert len(video) == video.info.n_frames == N_FRAMES
        for indices in orders:
            np.testing.assert_array_equal(video.read(indices), everything[indices])
        for index in rng.permutation(N_FRAMES)[:15]:  # each from another place
            np.testing.assert_array_equal(video.read([index])[0], everything[index])


@settings(deadline=None, max_examples=25)
@given(
    kind=st.sampled_from(["mp4_h264_b_frames", "ts_h264", "mkv_h264"]),
    reads=st.lists(st.lists(st.integers(0, N_FRAMES - 1), max_size=4), max_size=4),
)
def test_any_sequence_of_reads(made, kind, reads):
    with VideoReader(made(kind), n_threads=1) as video:
        for indices in reads:
            frames = video.read(indices)
            assert frames.shape == (len(indices), HEIGHT, WIDTH, 3)
            assert [number_of(image) for image in frames] == indices


@pytest.mark.parametrize("kind", ["mp4_h264_b_frames", "mp4_hevc_open_gop", "ts_h264", "webm_vp9"])
def test_seeking_decodes_little(made, kind, monkeypatch):
    decoded = []
    plain = VideoSource._decode
    monkeypatch.setattr(
        VideoSource,
        "_decode",
        lambda self, packets: plain(self, (decoded.append(packet) or packet for packet in packets)),
    )
    with VideoReader(made(kind), n_threads=1) as video:
        decoded.clear()
        assert number_of(video.read([N_FRAMES - 2])[0]) == N_FRAMES - 2
        assert len(decoded) < 2.5 * GOP
        decoded.clear()
        assert number_of(video.read([N_FRAMES - 1])[0]) == N_FRAMES - 1
        assert len(decoded) <= 1, "the next frame is read onward"


def test_number_of_threads_changes_nothing(made):
    path = made("mp4_h264_b_frames")
    reads = []
    for n_threads in (0, 1, 3):
        with VideoReader(path, n_threads=n_threads) as video:
            reads.append(video.read([31, 2, 17]))
    np.testing.assert_array_equal(reads[0], reads[1])
    np.testing.assert_array_equal(reads[0], reads[2])


def test_frames_streams_in_order(made):
    with VideoReader(made("mp4_h264_b_frames")) as video:
        pairs = [(index, number_of(image)) for index, image in video.frames([30, 3, 3, 12])]
        assert pairs == [(3, 3), (12, 12), (30, 30)]
        assert [index for index, _ in video.frames()] == list(range(N_FRAMES))
        one, other = video.frames(), video.frames([0, 25])
        turns = [next(one), next(other), next(one), next(other), next(one)]
        assert [number_of(image) for _, image in turns] == [0, 0, 1, 25, 2]
        assert list(video.frames([])) == []


@pytest.mark.parametrize("codec, pixel_format", [("libx264", "yuv420p"), ("png", "rgb24")])
def test_frames_are_the_callers_own(tmp_path, codec, pixel_format):
    path = write_video(tmp_path / "own.mov", 10, codec, pixel_format=pixel_format)
    with VideoReader(path) as video:
        _, image = next(video.frames([5]))
        assert image.flags.c_contiguous and image.flags.writeable
        image[:] = 0
        assert number_of(video.read([5])[0]) == 5


def test_info(made):
    info = probe(str(made("mp4_h264_b_frames")))
    assert (info.width, info.height, info.n_frames) == (WIDTH, HEIGHT, N_FRAMES)
    assert info.fps == FPS
    assert info.duration_seconds == pytest.approx(N_FRAMES / FPS)
    assert (info.codec, info.pixel_format, info.stream_index) == ("h264", "yuv420p", 0)
    assert info.rotation_degrees == 0
    assert info == VideoReader(made("mp4_h264_b_frames")).info


def test_one_frame(tmp_path):
    info = probe(write_video(tmp_path / "one.mp4", n_frames=1))
    assert info.n_frames == 1
    assert info.fps == FPS
    assert info.duration_seconds == pytest.approx(1 / FPS)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate(tmp_path, suffix):
    steps = [1, 2, 3, 1, 5] * 6
    pts = np.cumsum([4, *steps[1:]])
    path = write_video(tmp_path / f"vfr{suffix}", len(pts), options={"bf": "3"}, pts=pts.tolist())
    with VideoReader(path) as video:
        seconds = video.timestamps_seconds
        np.testing.assert_allclose(seconds, (pts - pts[0]) / FPS, atol=1e-3)
        assert video.info.fps == pytest.approx((len(pts) - 1) / seconds[-1])
        assert [number_of(image) for image in video.read([29, 7, 18])] == [29, 7, 18]


def test_times_that_say_nothing(tmp_path):
    """All times zero, as some exports write them: frames are counted, the header dates them."""
    path = write_video(tmp_path / "zero.mp4", 30, options={"bf": "0"})
    data = path.read_bytes()
    table = data.index(b"stts") + 8  # count of runs, then (frames, ticks) of each
    assert data[table : table + 8] == bytes([0, 0, 0, 1, 0, 0, 0, 30])
    path.write_bytes(data[: table + 8] + bytes(4) + data[table + 12 :])
    assert {pts for _, _, pts, _ in packets_of(path)} == {0}
    with VideoReader(path) as video:
        assert video.info.n_frames == 30
        assert video.info.fps == FPS
        np.testing.assert_allclose(video.timestamps_seconds, np.arange(30) / FPS)
        assert [number_of(image) for image in video.read([29, 4, 15])] == [29, 4, 15]


CORNERS = np.array([[1, 2], [3, 4]])  # upper left is 1, as stored

ORIENTATIONS = [  # turn counter-clockwise as PyAV writes it, mirrorings, rotation, upright corners
    ((0, False, False), 0, CORNERS),
    ((90, False, False), 270, np.rot90(CORNERS)),
    ((180, False, False), 180, np.rot90(CORNERS, 2)),
    ((-90, False, False), 90, np.rot90(CORNERS, -1)),
    ((0, True, False), 0, np.fliplr(CORNERS)),
    ((0, False, True), 180, np.flipud(CORNERS)),
    ((5, False, False), 0, CORNERS),
]


@pytest.mark.parametrize("written, rotation, upright", ORIENTATIONS, ids=str)
def test_frames_come_out_upright(tmp_path, written, rotation, upright):
    levels = np.kron(CORNERS * 50, np.ones((HEIGHT // 2, WIDTH // 2)))
    image = np.repeat(levels[..., None], 3, axis=2).astype(np.uint8)
    path = write_video(tmp_path / "turned.mp4", rotation=written, images=[image] * 3)
    with VideoReader(path) as video:
        info, frame = video.info, video.read([1])[0]
    assert info.rotation_degrees == rotation
    assert frame.shape == (info.height, info.width, 3)
    assert (info.height < info.width) == (rotation in (0, 180))
    rows, columns = [5, info.height - 5], [5, info.width - 5]
    np.testing.assert_allclose(frame[np.ix_(rows, columns)].mean(axis=2) / 50, upright, atol=0.2)


def write_two_streams(path):
    with av.open(str(path), "w") as container:
        streams = [
            add_stream(container, "libx264", {}, HEIGHT * size, WIDTH * size, "yuv420p")
            for size in (1, 2)
        ]
        streams[1].disposition = Disposition.default
        for size, stream in enumerate(streams, start=1):
            images = [numbered_image(n, HEIGHT * size, WIDTH * size) for n in range(8 * size)]
            encode(container, stream, images)
    return path


def test_several_streams(tmp_path):
    path = write_two_streams(tmp_path / "two.mp4")
    assert (probe(path).stream_index, probe(path).width) == (1, 2 * WIDTH)
    with VideoReader(path, stream=0) as video:
        assert (video.info.stream_index, video.info.width, len(video)) == (0, WIDTH, 8)
        assert number_of(video.read([7])[0]) == 7
    with pytest.raises(VideoError, match=r"has no video stream 5. Its video streams are: 0, 1."):
        VideoReader(path, stream=5)


def test_audio_beside_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        stream = add_stream(container, "libx264", {}, HEIGHT, WIDTH, "yuv420p")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), "f4"), "fltp", "mono")
        silence.rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
        encode(container, stream, [numbered_image(n) for n in range(12)])
    assert (probe(path).stream_index, probe(path).n_frames) == (1, 12)
    with pytest.raises(VideoError, match="has no video stream 0"):
        probe(path, stream=0)


def test_edit_list_hides_frames(tmp_path):
    source = write_video(tmp_path / "whole.mp4", 30, options={"bf": "2"})
    path = remux(source, tmp_path / "trimmed.mp4", shift_frames=14)
    with VideoReader(path) as video:
        assert len(video) == 16
        assert [number_of(image) for _, image in video.frames()] == list(range(14, 30))
        assert number_of(video.read([9])[0]) == 23
        assert video.timestamps_seconds[0] == 0


@pytest.mark.parametrize("options", [{}, {"x264-params": "intra-refresh=1:repeat-headers=1"}])
def test_piece_cut_out_of_a_broadcast(tmp_path, caplog, options):
    """What comes before the first keyframe cannot be shown by anybody; it is named, no error."""
    source = write_video(tmp_path / "whole.ts", options=options)
    path = remux(source, tmp_path / "piece.ts", keeps=lambda place: place >= 4)
    plain = [number_of(image) for image in decode_plainly(path)]
    assert plain[0] > 4 and plain[-1] == 39
    with VideoReader(path) as video:
        assert [number_of(image) for _, image in video.frames()] == plain
        assert number_of(video.read([len(video) - 3])[0]) == 37
    assert f"{36 - len(plain)} of 36 frames cannot be decoded and are left out" in caplog.text


def test_change_of_size(tmp_path):
    small = write_video(tmp_path / "small.h264", 6)
    large = write_video(tmp_path / "large.h264", 6, width=2 * WIDTH)
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with VideoReader(path) as video:
        assert number_of(video.read([5])[0]) == 5
        with pytest.raises(VideoError, match=r"changes size from 64 x 48 to 128 x 48 at frame 6 "):
            video.read([6])


@pytest.mark.parametrize(
    "indices, words",
    [
        ([40], r"frame_indices must lie in \[0, 40\), the frames of .*; got 40"),
        ([3, -1], r"frame_indices must lie in \[0, 40\), .*; got -1"),
        ([1.5], "frame_indices must be a sequence of whole numbers"),
        ([[1, 2]], "frame_indices must be a sequence of whole numbers"),
        (3, "frame_indices must be a sequence of whole numbers"),
        ([True], "frame_indices must be a sequence of whole numbers"),
    ],
)
def test_wrong_indices(made, indices, words):
    with VideoReader(made("mp4_h264_b_frames")) as video:
        with pytest.raises(ValueError, match=words):
            video.read(indices)
        with pytest.raises(ValueError, match=words):
            video.frames(indices)


def test_closed_reader(made):
    with VideoReader(made("mp4_h264_b_frames")) as video:
        video.read([3])
    with pytest.raises(VideoError, match="was closed"):
        video.read([3])
    video.close()


def test_odd_names(tmp_path):
    for name in ("a:b.mp4", "100% done %d.mp4", "ümläut 影片.mp4", "-x.mp4"):
        assert probe(write_video(tmp_path / name, 3)).n_frames == 3


def test_metadata_in_another_encoding(tmp_path):
    path = tmp_path / "title.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Kueche"
        stream = add_stream(container, "libx264", {}, HEIGHT, WIDTH, "yuv420p")
        encode(container, stream, [numbered_image(n) for n in range(3)])
    path.write_bytes(path.read_bytes().replace(b"Kueche", b"K\xfcche\x20"))
    assert probe(path).n_frames == 3


def test_decoder_version_names_the_libraries():
    assert decoder_version().startswith(f"PyAV {av.__version__} (libavcodec ")


def test_no_framework_is_imported():
    code = "import sys, json, timeception.video; print(json.dumps(list(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert not {"torch", "torchvision", "tensorflow"} & set(json.loads(result.stdout))
