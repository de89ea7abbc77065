"""Streams: what they are called, how they end, what is refused."""

import http.server
import os
import socket
import threading
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.making import (
    number_of,
    numbered_image,
    overwrite,
    packets_of,
    remux,
    write_video,
)
from timeception.video import FrameStream, StreamSource, VideoError, VideoReader

N_FRAMES = 40


@pytest.fixture(scope="module")
def ts(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("streams") / "a.ts", N_FRAMES)


def numbers(frames):
    return [number_of(frame.rgb()) for frame in frames]


@pytest.fixture
def tcp_server():
    """Gives a function that serves chunks of bytes once, and then waits or ends; its address."""
    stop = threading.Event()
    threads = []

    def serve(data, ends=True):
        listener = socket.create_server(("127.0.0.1", 0))

        def run():
            with listener, listener.accept()[0] as connection:
                connection.sendall(data)
                if not ends:
                    stop.wait(60)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    stop.set()
    for thread in threads:
        thread.join()


def test_a_file(ts):
    frames = FrameStream(StreamSource(str(ts)))
    assert numbers(frames) == list(range(N_FRAMES))
    assert (frames.n_frames, frames.n_damaged) == (N_FRAMES, 0)


def test_frames_equal_those_of_the_reader(ts):
    with VideoReader(ts) as video:
        expected, seconds = video.read(range(N_FRAMES)), video.timestamps_seconds
    frames = list(FrameStream(StreamSource(str(ts))))
    np.testing.assert_array_equal([frame.rgb() for frame in frames], expected)
    np.testing.assert_allclose([frame.seconds for frame in frames], seconds, atol=1e-4)


def test_a_last_frame_may_be_shown_for_long(tmp_path):
    path = tmp_path / "slides.mp4"
    with av.open(str(path), "w") as container:
        slides = container.add_stream("libx264", rate=Fraction(1, 3))
        slides.height, slides.width, slides.pix_fmt = 64, 96, "yuv420p"
        for number in range(6):
            image = numbered_image(number, 64, 96)
            container.mux(slides.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(slides.encode())
    frames = list(FrameStream(StreamSource(str(path))))
    assert numbers(frames) == list(range(6))
    assert frames[-1].seconds == pytest.approx(15)


def test_a_named_pipe(ts, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(ts.read_bytes(),))
    writer.start()
    assert numbers(FrameStream(StreamSource(str(path)))) == list(range(N_FRAMES))
    writer.join()


def test_an_address(ts, tcp_server):
    source = StreamSource(tcp_server(ts.read_bytes()))
    assert numbers(FrameStream(source)) == list(range(N_FRAMES))


def test_http(ts):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    handler = partial(Quiet, directory=str(ts.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert numbers(FrameStream(StreamSource(f"{address}/a.ts"))) == list(range(N_FRAMES))
        with pytest.raises(VideoError, match=r"/no\.ts: cannot be opened \(.*404"):
            list(FrameStream(StreamSource(f"{address}/no.ts")))
        server.shutdown()


def test_a_format_and_options():
    source = StreamSource("color=red", "lavfi", {"graph": "testsrc=size=64x48:duration=1:rate=5"})
    assert len(list(FrameStream(source))) == 5


def test_times_of_a_stream_without_any(tmp_path):
    path = write_video(tmp_path / "a.h264", 10, options={"bf": "0"})
    seconds = [frame.seconds for frame in FrameStream(StreamSource(str(path)))]
    assert seconds == pytest.approx([number / 30 for number in range(10)])


def test_a_step_back_in_time_is_passed_over(tmp_path):
    """Two pieces of MPEG-TS, one after the other, as where a broadcast begins anew."""
    piece = write_video(tmp_path / "a.ts", 20, options={"bf": "0"}).read_bytes()
    (tmp_path / "two.ts").write_bytes(piece + piece)
    frames = list(FrameStream(StreamSource(str(tmp_path / "two.ts"))))
    assert numbers(frames) == [*range(20), *range(20)]
    seconds = np.array([frame.seconds for frame in frames])
    np.testing.assert_allclose(np.diff(seconds), 1 / 30, atol=1e-3)


def test_damage_is_left_out_and_counted(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (N_FRAMES, 24, 64, 1))
    images = [numbered_image(number) for number in range(N_FRAMES)]
    for image, grain in zip(images, noise, strict=True):
        image[24:] = grain
    options = {"movflags": "frag_keyframe+empty_moov"}
    whole = write_video(tmp_path / "a.mp4", images=images, container_options=options)
    position, size, _, _ = packets_of(whole)[14]
    path = overwrite(whole, tmp_path / "b.mp4", position, size)
    frames = FrameStream(StreamSource(str(path)))
    given = numbers(frames)
    assert frames.n_damaged >= 1
    assert len(given) < N_FRAMES
    assert given[-10:] == list(range(30, 40))  # it goes on after the next keyframe


def test_a_gap_in_mpegts_is_damage(ts, tmp_path):
    data = ts.read_bytes()
    middle = len(data) // 188 // 2 * 188
    path = tmp_path / "gap.ts"
    path.write_bytes(data[:middle] + data[middle + 188 * 5 :])
    frames = FrameStream(StreamSource(str(path)))
    list(frames)
    assert frames.n_damaged >= 1


def test_a_stream_joined_late_is_not_damaged(ts, tmp_path):
    """It begins with its first keyframe."""
    path = remux(ts, tmp_path / "late.ts", keeps=lambda place: place > 12)
    frames = FrameStream(StreamSource(str(path)))
    given = numbers(frames)
    assert given == list(range(given[0], N_FRAMES)) and given[0] > 12
    assert frames.n_damaged == 0
    with VideoReader(path) as video:
        assert len(video) == len(given)


def test_a_change_of_size_ends_the_stream(tmp_path):
    options = {"bf": "0"}
    small = write_video(tmp_path / "a.ts", 12, options=options).read_bytes()
    large = write_video(tmp_path / "b.ts", 12, options=options, height=96, width=128).read_bytes()
    (tmp_path / "both.ts").write_bytes(small + large)
    given = []
    with pytest.raises(VideoError, match="changes size from 64 x 48 to 128 x 96"):
        given.extend(FrameStream(StreamSource(str(tmp_path / "both.ts"))))
    assert len(given) == 12


def test_an_end_before_the_declared_one(ts, tmp_path):
    """The header of an AVI file counts frames that its damaged list does not reach."""
    whole = write_video(tmp_path / "a.avi", 90, "mpeg4", {"b": "400k"})
    position, _, _, _ = packets_of(whole)[20]
    size = whole.stat().st_size - position
    path = overwrite(whole, tmp_path / "b.avi", position, size, byte=0xFF)
    with pytest.raises(VideoError, match=r"ends at 0\.\d s, though it declares 3\.0 s"):
        list(FrameStream(StreamSource(str(path))))


def test_a_device_that_has_no_frame_yet_is_asked_again(ts, monkeypatch):
    """Some devices answer 'try again' where others wait."""
    refusals = [3]
    demux = av.container.InputContainer.demux

    class Busy:
        def __init__(self, container):
            self._container = container

        def __getattr__(self, name):
            return getattr(self._container, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._container.close()

        def demux(self, video):
            for packet in demux(self._container, video):
                yield packet
                if refusals[0] and packet.pts is not None:
                    refusals[0] -= 1
                    raise av.BlockingIOError(11, "Resource temporarily unavailable")

    opened = av.open
    monkeypatch.setattr(av, "open", lambda *a, **k: Busy(opened(*a, **k)))
    assert numbers(FrameStream(StreamSource(str(ts)))) == list(range(N_FRAMES))
    assert refusals == [0]


@pytest.mark.parametrize(
    ("location", "input_format", "words"),
    [
        ("/nowhere/a.mp4", None, r"/nowhere/a\.mp4: does not exist"),
        ("/dev/video99", "v4l2", r"/dev/video99: cannot be opened \(No such file"),
        ("rtsp://me:secret@127.0.0.1:9/x", None, r"rtsp://me:\*\*\*@127\.0\.0\.1:9/x: cannot be"),
        ("tcp://127.0.0.1:9", None, r"tcp://127\.0\.0\.1:9: cannot be opened \(Connection refused"),
        ("/dev/null", None, r"/dev/null: .*input-format"),
        ("nonsense://x", None, r"nonsense://x: cannot be opened \(Protocol not found"),
        (__file__, None, "is a text file"),
        ("anullsrc", "lavfi", "holds no video stream"),
    ],
)
def test_what_cannot_be_opened(location, input_format, words):
    if input_format == "v4l2" and "video4linux2,v4l2" not in av.formats_available:
        pytest.skip("this FFmpeg has no v4l2")
    with pytest.raises(VideoError, match=words) as caught:
        list(FrameStream(StreamSource(location, input_format)))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input_format": "v4l3"}, "input_format must be a format that this FFmpeg can read"),
        ({"timeout_seconds": -1.0}, "timeout_seconds must be 0 or more; got -1"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds must be 0 or more; got nan"),
    ],
)
def test_wrong_sources(fields, words):
    with pytest.raises(ValueError, match=words):
        StreamSource("a", **fields)


@pytest.mark.parametrize(
    ("source", "path", "name"),
    [
        (StreamSource("-"), None, "standard input"),
        (StreamSource("a b.mp4"), Path("a b.mp4"), "a b.mp4"),
        (StreamSource("a:b@c.mp4"), Path("a:b@c.mp4"), "a:b@c.mp4"),
        (StreamSource("/dev/video0", "mpegts"), None, "/dev/video0"),
        (StreamSource("rtsp://cam/1"), None, "rtsp://cam/1"),
        (StreamSource("rtsp://a:b@cam:8/1?c"), None, "rtsp://a:***@cam:8/1?c"),
        (StreamSource("rtsp://a:b#c/d@cam/1"), None, "rtsp://a:***@cam/1"),
        (StreamSource("rtsp://[cam/1"), None, "rtsp://[cam/1"),
    ],
)
def test_names(source, path, name):
    assert (source.path, source.name) == (path, name)
