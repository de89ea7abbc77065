"""Frames that nothing depends on are left out of decoding, and nothing else changes."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.video.making import (
    HEIGHT,
    numbered_image,
    overwrite,
    packets_of,
    write_kind,
    write_video,
)
from timeception.video import VideoError, VideoReader
from timeception.video.h264_nonreference import is_disposable
from timeception.video.source import VideoSource

N_FRAMES = 40
PYRAMID = {"bf": "3", "x264-params": "scenecut=0:b-pyramid=normal:b-adapt=0"}
LEAVES_OUT = ["mp4_h264_b_frames", "mp4_h264_open_gop", "mkv_h264"]


def slice_of(first_byte, length_bytes=4):
    return (3).to_bytes(length_bytes, "big") + bytes([first_byte, 7, 7])


FREE, NEEDED, KEYFRAME, SUPPLEMENT, DELIMITER = 0x01, 0x41, 0x65, 0x06, 0x09


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([FREE], True),
        ([SUPPLEMENT, FREE, FREE], True),
        ([DELIMITER, FREE], True),
        ([NEEDED], False),
        ([KEYFRAME], False),
        ([FREE, NEEDED], False),
        ([SUPPLEMENT], False),
        ([0x00], False),  # a byte that damage has zeroed
        ([0x81], False),  # the bit that must be zero
        ([], False),
    ],
)
@pytest.mark.parametrize("length_bytes", [1, 2, 4])
def test_a_packet_is_known_by_its_units(units, expected, length_bytes):
    packet = b"".join(slice_of(unit, length_bytes) for unit in units)
    assert is_disposable(memoryview(packet), length_bytes) is expected


@pytest.mark.parametrize(
    "packet", [b"\0\0\0\x09\x01\0", b"\0\0\0\0", b"\0\0", slice_of(FREE) + b"\0"]
)
def test_broken_packets_are_the_decoders(packet):
    assert not is_disposable(memoryview(packet), 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An MP4 whose every other frame is predicted from, and none from the others."""
    path = tmp_path_factory.mktemp("disposable") / "whole.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (N_FRAMES, HEIGHT // 2, 64, 1))
    images = [numbered_image(number) for number in range(N_FRAMES)]
    for image, grain in zip(images, noise, strict=True):
        image[HEIGHT // 2 :] = grain
    return write_video(path, options=PYRAMID, images=images)


@pytest.fixture(scope="module")
def sound(whole):
    with VideoReader(whole) as video:
        return video.read(range(N_FRAMES))


@pytest.fixture
def decoded(monkeypatch):
    """Times of the packets that the decoder saw."""
    seen, plain = [], VideoSource._decode
    monkeypatch.setattr(
        VideoSource,
        "_decode",
        lambda self, packets: plain(self, (seen.append(p.pts) or p for p in packets)),
    )
    return seen


@pytest.mark.parametrize("kind", LEAVES_OUT)
@pytest.mark.parametrize("stride", [2, 3, 8])
def test_frames_are_the_same_and_fewer_are_decoded(tmp_path, decoded, kind, stride):
    path = write_kind(tmp_path, kind, N_FRAMES)
    with VideoReader(path, n_threads=1) as video:
        everything = video.read(range(N_FRAMES))
        n_all = len(decoded)
        decoded.clear()
        found = dict(video.frames(range(0, N_FRAMES, stride)))
        assert len(decoded) < n_all
    assert list(found) == list(range(0, N_FRAMES, stride))
    for index, image in found.items():
        np.testing.assert_array_equal(image, everything[index])


@pytest.mark.parametrize("kind", ["ts_h264", "mp4_hevc_open_gop", "avi_h264", "webm_vp9"])
def test_nothing_is_left_out_where_that_is_not_certain(tmp_path, decoded, kind):
    path = write_kind(tmp_path, kind, N_FRAMES)
    counts = []
    for indices in (range(N_FRAMES), [*range(0, N_FRAMES, 4), N_FRAMES - 1]):
        with VideoReader(path, n_threads=1) as video:
            decoded.clear()
            list(video.frames(indices))
            counts.append(len(decoded))
    assert counts[0] == counts[1] > N_FRAMES / 2  # opening has decoded the first ones


@settings(deadline=None, max_examples=60)
@given(
    reads=st.lists(st.lists(st.integers(0, N_FRAMES - 1), max_size=6), min_size=1, max_size=5),
    n_threads=st.sampled_from([1, 2]),
)
def test_any_sequence_of_reads(whole, sound, reads, n_threads):
    with VideoReader(whole, n_threads=n_threads) as video:
        for indices in reads:
            np.testing.assert_array_equal(video.read(indices), sound[indices])


@settings(deadline=None, max_examples=40)
@given(
    plans=st.lists(st.sets(st.integers(0, N_FRAMES - 1), min_size=1), min_size=2, max_size=3),
    turns=st.lists(st.integers(0, 2), max_size=40),
)
def test_readers_that_take_turns(whole, sound, plans, turns):
    """Each wants other frames; what one has left out another still gets."""
    with VideoReader(whole, n_threads=1) as video:
        streams = [video.frames(sorted(plan)) for plan in plans]
        for turn in turns:
            for index, image in islice(streams[turn % len(streams)], 1):
                np.testing.assert_array_equal(image, sound[index])


def of_frames(whole):
    """Place in the file of every frame, and whether it is disposable."""
    packets = packets_of(whole)
    times = sorted(packet[2] for packet in packets)
    data = whole.read_bytes()
    places = {}
    for position, size, pts, _ in packets:
        free = is_disposable(memoryview(data)[position : position + size], 4)
        places[times.index(pts)] = (position, size, free)
    return places


def test_damage_where_nothing_depends_on_it(whole, sound, tmp_path):
    places = of_frames(whole)
    index = next(i for i in range(11, 19) if places[i][2])
    position, size, _ = places[index]
    path = overwrite(whole, tmp_path / "hole.mp4", position + 6, size - 6)
    wanted = [i for i in range(N_FRAMES) if i != index]
    with VideoReader(path, n_threads=1) as video:
        np.testing.assert_array_equal(video.read(wanted[::3]), sound[wanted[::3]])
        with pytest.raises(VideoError, match=f"cannot decode frame {index} "):
            video.read([index - 1, index])


@pytest.mark.parametrize("start", [4, 6])  # the unit's first byte, or what comes after it
def test_damage_that_others_depend_on_is_reported(whole, sound, tmp_path, start):
    places = of_frames(whole)
    index = next(i for i in range(12, 18) if not places[i][2])
    position, size, _ = places[index]
    path = overwrite(whole, tmp_path / "hole.mp4", position + start, size - start)
    with VideoReader(path, n_threads=1) as video:
        np.testing.assert_array_equal(video.read([0, 5, 9]), sound[[0, 5, 9]])
        with pytest.raises(VideoError, match="is damaged: cannot decode frame 1"):
            video.read([5, 19])
        np.testing.assert_array_equal(video.read([21, 39]), sound[[21, 39]])
