"""Files that are damaged, cut short, protected or no videos: a clear line each, never silence."""

import logging

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.video.making import (
    HEIGHT,
    WIDTH,
    add_stream,
    encode,
    number_of,
    numbered_image,
    overwrite,
    packets_of,
    write_video,
)
from timeception.video import VideoError, VideoReader, probe
from timeception.video.files import missing_bytes

N_FRAMES = 40


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undamaged MP4 with pyramids of B-frames, its index in front, keyframes at 0, 10, ..."""
    path = tmp_path_factory.mktemp("damage") / "whole.mp4"
    options = {"bf": "3", "x264-params": "scenecut=0:b-pyramid=normal"}
    noise = np.random.default_rng(0).integers(0, 256, (N_FRAMES, HEIGHT // 2, WIDTH, 1))
    images = [numbered_image(number) for number in range(N_FRAMES)]
    for image, grain in zip(images, noise, strict=True):  # something to damage in every frame
        image[HEIGHT // 2 :] = grain
    write_video(path, options=options, images=images, container_options={"movflags": "faststart"})
    assert [place for place, packet in enumerate(packets_of(path)) if packet[3]] == [0, 10, 20, 30]
    return path


@pytest.fixture(scope="module")
def sound(whole):
    """The frames of the undamaged file."""
    with VideoReader(whole) as video:
        return video.read(range(N_FRAMES))


def damage_packet(whole, path, place):
    """Zero the body of one packet (its length field is kept)."""
    position, size, _, _ = packets_of(whole)[place]
    return overwrite(whole, path, position + 6, size - 6)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("place", range(11, 20))
def test_damage_in_the_middle(whole, sound, tmp_path, place, n_threads):
    path = damage_packet(whole, tmp_path / "hole.mp4", place)
    words = r"is damaged: cannot decode frame 1\d \(0.\d{3} s\) of 40. Download the file again"
    with VideoReader(path, n_threads=n_threads) as video:
        assert len(video) == N_FRAMES
        given = []
        with pytest.raises(VideoError, match=words):
            given.extend(image for _, image in video.frames())
        # Not even a frame that was predicted from the damaged one and is shown before it.
        assert 11 <= len(given) < 20
        np.testing.assert_array_equal(given, sound[: len(given)])
        # What does not need the damaged part is still given.
        kept = [35, 3, 20, 39]
        np.testing.assert_array_equal(video.read(kept), sound[kept])
        with pytest.raises(VideoError, match="cannot decode frame 1"):
            video.read([19])
        np.testing.assert_array_equal(video.read([25]), sound[[25]])


@pytest.mark.parametrize("place", [0, 11, 14, 20, 25])
def test_allowed_damage_leaves_frames_out_and_says_so(whole, sound, tmp_path, caplog, place):
    path = damage_packet(whole, tmp_path / "hole.mp4", place)
    times = [pts for _, _, pts, _ in packets_of(whole)]
    group = place // 10 * 10
    reached = sorted(sorted(times).index(pts) for pts in times[place : group + 10])
    expected = [number for number in range(N_FRAMES) if number not in reached]
    with VideoReader(path, allow_damaged=True) as video:
        np.testing.assert_array_equal(video.read(range(len(video))), sound[expected])
        np.testing.assert_array_equal(video.read([12, 3, 25]), sound[expected][[12, 3, 25]])
        first_seconds = expected[0] / 30
        seconds = np.array(expected) / 30 - first_seconds
        np.testing.assert_allclose(video.timestamps_seconds, seconds, atol=1e-6)
    assert (
        f"{len(reached)} of {N_FRAMES} frames are damaged or depend on damaged ones" in caplog.text
    )


def test_damage_that_cannot_be_traced(tmp_path):
    """With times that are guesses nobody can say which frames depend on the damaged one."""
    whole = write_video(tmp_path / "whole.avi", options={"bf": "3"})
    with VideoReader(whole, allow_damaged=True) as video:
        assert [number_of(image) for _, image in video.frames()] == list(range(N_FRAMES))
    path = damage_packet(whole, tmp_path / "hole.avi", 14)
    with pytest.raises(VideoError, match="is damaged: cannot decode frame"):
        VideoReader(path)
    with pytest.raises(VideoError, match="its times do not identify the intact frames"):
        VideoReader(path, allow_damaged=True)


def test_damaged_start(whole, tmp_path):
    path = damage_packet(whole, tmp_path / "head.mp4", 0)
    with pytest.raises(VideoError, match="is damaged: cannot decode"):
        VideoReader(path)
    with VideoReader(path, allow_damaged=True) as video:
        assert number_of(video.read([len(video) - 1])[0]) == 39


def test_nothing_decodes(whole, tmp_path):
    positions = [packet[0] for packet in packets_of(whole)]
    n_bytes = whole.stat().st_size - min(positions)
    path = overwrite(whole, tmp_path / "void.mp4", min(positions), n_bytes)
    with pytest.raises(VideoError, match="is damaged: cannot decode frame 0"):
        VideoReader(path)
    with pytest.raises(VideoError, match="has no frame that can be decoded"):
        VideoReader(path, allow_damaged=True)


CUT = [  # suffix, codec, container options
    (".mp4", "libx264", {"movflags": "faststart"}),
    (".mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    (".mkv", "libx264", {}),
    (".webm", "libvpx", {}),
    (".ts", "libx264", {}),
    (".avi", "mjpeg", {}),
]


@pytest.mark.parametrize("suffix, codec, options", CUT, ids=str)
def test_cut_short(tmp_path, caplog, suffix, codec, options):
    whole = write_video(tmp_path / f"whole{suffix}", codec=codec, container_options=options)
    assert missing_bytes(whole) == 0
    assert probe(whole).n_frames == N_FRAMES
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 7 // 10 - 1])
    with pytest.raises(
        VideoError, match=r"is cut short: \d+ bytes are missing at its end. Download"
    ):
        VideoReader(path)
    with VideoReader(path, allow_damaged=True) as video:
        numbers = [number_of(image) for _, image in video.frames()]
    assert numbers == sorted(set(numbers)) and 5 < len(numbers) < N_FRAMES
    assert "is cut short" in caplog.text


def test_cut_before_the_index(tmp_path):
    whole = write_video(tmp_path / "whole.mp4")
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(VideoError, match=r"without its index .* was cut short. Download"):
        VideoReader(path)


def test_encrypted(tmp_path):
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "00112233445566778899aabbccddeeff",
        "encryption_kid": "ffeeddccbbaa99887766554433221100",
    }
    path = write_video(tmp_path / "drm.mp4", 5, container_options=options)
    for allow_damaged in (False, True):
        with pytest.raises(VideoError, match=r"is encrypted \(DRM\).*without copy protection"):
            VideoReader(path, allow_damaged=allow_damaged)


@pytest.mark.parametrize("kind", [b"encv", b"drmi"])
def test_protected_track_without_side_data(tmp_path, kind):
    """A protected kind of track is named as such even where FFmpeg sees only a broken one."""
    whole = write_video(tmp_path / "whole.mp4", 5)
    data = whole.read_bytes()
    path = tmp_path / "drm.mp4"
    path.write_bytes(data.replace(b"avc1\0\0\0\0", kind + bytes(4)))
    with pytest.raises(VideoError, match=r"is encrypted \(DRM\)"):
        VideoReader(path)


def test_unknown_codec(tmp_path):
    data = write_video(tmp_path / "whole.mp4", 5).read_bytes()
    path = tmp_path / "odd.mp4"
    path.write_bytes(data.replace(b"avc1\0\0\0\0", b"zzzz" + bytes(4)))
    with pytest.raises(VideoError, match=r"codec .*FFmpeg cannot decode.*Re-encode"):
        VideoReader(path)


def write_sound(path, with_cover=False):
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        if with_cover:
            cover = add_stream(container, "mjpeg", {}, HEIGHT, WIDTH, "yuvj420p")
            cover.disposition = Disposition.attached_pic
            encode(container, cover, [numbered_image(1)])
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), "f4"), "fltp", "mono")
        silence.rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    return path


def test_sound_alone(tmp_path):
    with pytest.raises(VideoError, match=r"holds no video stream, only audio\. Pass a video"):
        VideoReader(write_sound(tmp_path / "sound.mp4"))


def test_sound_with_cover_picture(tmp_path):
    path = write_sound(tmp_path / "cover.mp4", with_cover=True)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(VideoError, match="holds no video stream, only audio"):
        VideoReader(path)


NO_VIDEOS = [
    ("empty.mp4", b"", r"is empty \(0 bytes\)"),
    ("notes.mp4", b"Not a video.\n" * 200, "is a text file, not a video"),
    ("umlaut.mp4", "ä".encode() * 1000 + b"\n", "is a text file, not a video"),
    ("list.mp4", b"ffconcat version 1.0\nfile other.mp4\n", "is a text file, not a video"),
    ("table.mp4", b"\xef\xbb\xbfpath,label\r\na.mp4,1\r\n", "is a text file, not a video"),
    ("zeros.mp4", bytes(5000), "is not a video that FFmpeg can read .* bytes 00 00 00 00 00 00"),
    (
        "archive.mp4",
        b"PK\x03\x04" + bytes(range(256)) * 8,
        "not a video .*begins with the bytes 50 4b",
    ),
]


@pytest.mark.parametrize("name, content, words", NO_VIDEOS, ids=[row[0] for row in NO_VIDEOS])
def test_no_video_at_all(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoError, match=words) as caught:
        VideoReader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert isinstance(caught.value, ValueError)
    assert caught.value.path == path and caught.value.problem and caught.value.advice


def test_no_file_at_all(tmp_path):
    with pytest.raises(VideoError, match=r"does not exist\. Check the path\."):
        probe(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="is a directory, not a video file"):
        probe(tmp_path)


def test_error_survives_a_process_boundary(tmp_path):
    """Workers send their errors by pickling them."""
    import pickle

    error = VideoError(tmp_path / "a.mp4", "is odd", "Look at it.")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == f"{tmp_path / 'a.mp4'}: is odd. Look at it."
    assert copy.path == error.path


def box(kind, length, wide=False):
    if wide:
        return (1).to_bytes(4, "big") + kind + length.to_bytes(8, "big")
    return length.to_bytes(4, "big") + kind


SEGMENT = b"\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67"

LENGTHS = [  # content, bytes missing
    (box(b"ftyp", 16) + bytes(8) + box(b"mdat", 1008) + bytes(1000), 0),
    (box(b"ftyp", 16) + bytes(8) + box(b"mdat", 1008) + bytes(900), 100),
    (box(b"ftyp", 16) + bytes(8) + box(b"mdat", 1016, wide=True) + bytes(990), 10),
    (box(b"ftyp", 16) + bytes(8) + box(b"mdat", 0) + bytes(100), 0),  # to the end
    (box(b"ftyp", 16) + bytes(8) + box(b"mdat", 8) + box(b"junk", 5000), 0),
    (box(b"ftyp", 16) + bytes(8) + box(b"moov", 8) + b"odd", 0),
    (SEGMENT + b"\x40\x64" + bytes(100), 0),
    (SEGMENT + b"\x40\x64" + bytes(30), 70),
    (SEGMENT + b"\x01" + b"\xff" * 7 + bytes(30), 0),  # live: length unknown
    (b"\x1a\x45\xdf\xa3\x84abcdWXYZ" + bytes(10), 0),
    (b"RIFF" + (104).to_bytes(4, "little") + b"AVI " + bytes(100), 0),
    (b"RIFF" + (104).to_bytes(4, "little") + b"AVI " + bytes(60), 40),
    (b"RIFF" + b"\xff" * 4 + b"AVI " + bytes(60), 0),  # length unknown
    ((b"RIFF" + (16).to_bytes(4, "little") + b"AVI " + bytes(12)) * 2, 0),
    ((b"RIFF" + (16).to_bytes(4, "little") + b"AVI " + bytes(12)) * 2 + b"junk", 0),
    ((b"G" + bytes(187)) * 5, 0),
    ((b"G" + bytes(187)) * 5 + b"G" + bytes(99), 88),
    ((bytes(4) + b"G" + bytes(187)) * 5 + bytes(2), 190),
    (b"any other bytes", 0),
    (b"", 0),
]


@pytest.mark.parametrize("content, n_bytes", LENGTHS)
def test_missing_bytes(tmp_path, content, n_bytes):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert missing_bytes(path) == n_bytes


def test_whole_files_warn_of_nothing(whole, caplog):
    with caplog.at_level(logging.DEBUG, "timeception"), VideoReader(whole) as video:
        video.read([39, 0, 15])
    assert not caplog.records
