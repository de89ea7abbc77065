"""Frames that a decoder gives but marks as corrupt: no file and no stream passes them on."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.making import number_of, numbered_image, packets_of, remux, write_video
from timeception.video import FrameStream, StreamSource, VideoError, VideoReader

N_FRAMES = 40
TS_PACKET_BYTES = 188
#: Suffix, codec and options of files whose decoders mark a frame with a wrong byte in it.
KINDS = {
    "mpeg2": (".ts", "mpeg2video", {"bf": "0", "b": "400k"}),
    "mpeg2_b_frames": (".ts", "mpeg2video", {"bf": "2", "b": "400k"}),
    "mpeg4": (".avi", "mpeg4", {"b": "400k"}),
}


@pytest.fixture(scope="module", params=KINDS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound file with keyframes at 0, 10, 20, 30, and something to damage in every frame."""
    suffix, codec, options = KINDS[request.param]
    noise = np.random.default_rng(0).integers(0, 256, (N_FRAMES, 24, 64, 1))
    images = [numbered_image(number) for number in range(N_FRAMES)]
    for image, grain in zip(images, noise, strict=True):
        image[24:] = grain
    path = tmp_path_factory.mktemp("corrupt") / f"{request.param}{suffix}"
    return write_video(path, N_FRAMES, codec, options, images=images)


def flip(whole: Path, path: Path, places: list[int]) -> Path:
    """A copy with one wrong byte in each of the packets."""
    data = bytearray(whole.read_bytes())
    for place in places:
        position, size, _, _ = packets_of(whole)[place]
        inside = position + size // 2
        if path.suffix == ".ts":  # packets of the container stand in between
            inside = (position // TS_PACKET_BYTES + 1) * TS_PACKET_BYTES + 100
        data[inside] ^= 0xFF
    path.write_bytes(data)
    return path


def marks(path: Path) -> list[bool]:
    """Which of the frames FFmpeg marks, in order of presentation."""
    with av.open(str(path)) as container:
        return [frame.is_corrupt for frame in container.decode(video=0)]


def sound_frames(whole: Path) -> np.ndarray:
    with VideoReader(whole) as video:
        return video.read(range(N_FRAMES))


@pytest.mark.parametrize("place", [5, 11, 14, 20])
def test_files_give_none(whole: Path, tmp_path: Path, place: int) -> None:
    path = flip(whole, tmp_path / f"flipped{whole.suffix}", [place])
    marked = marks(path)
    assert (len(marked), sum(marked)) == (N_FRAMES, 1)
    first, expected = marked.index(True), sound_frames(whole)
    if path.suffix == ".avi":  # its frames are counted by decoding, so it is seen at once
        with pytest.raises(VideoError, match=f"is damaged: cannot decode frame {first}"):
            VideoReader(path)
        return
    with VideoReader(path) as video:
        given = []
        with pytest.raises(VideoError, match=f"cannot decode frame {first} "):
            given.extend(image for _, image in video.frames())
        assert len(given) <= first
        np.testing.assert_array_equal(given, expected[: len(given)])
        with pytest.raises(VideoError, match=f"cannot decode frame {first} "):
            video.read([first])
        after = [number for number in (35, 39) if number // 10 > first // 10]
        np.testing.assert_array_equal(video.read(after), expected[after])


def test_files_read_with_damage_leave_them_out(whole: Path, tmp_path: Path) -> None:
    path = flip(whole, tmp_path / f"flipped{whole.suffix}", [14])
    first, expected = marks(path).index(True), sound_frames(whole)
    with VideoReader(path, allow_damaged=True) as video:
        given = [image.tobytes() for image in video.read(range(len(video)))]
    sound = [image.tobytes() for image in expected]
    assert sound[first] not in given
    assert set(given) < set(sound)
    assert given[-10:] == sound[-10:]  # a later group of pictures is whole


@pytest.mark.parametrize("places", [[5], [11], [5, 25], [11, 14, 21]])
def test_streams_leave_them_out_and_count_them(
    whole: Path, tmp_path: Path, places: list[int]
) -> None:
    path = flip(whole, tmp_path / f"flipped{whole.suffix}", places)
    marked = marks(path)
    assert sum(marked) == len(places)
    frames = FrameStream(StreamSource(str(path)))
    given = [frame.rgb() for frame in frames]
    assert (frames.n_frames, frames.n_damaged) == (N_FRAMES - len(places), len(places))
    assert len(given) == N_FRAMES - len(places)
    expected = sound_frames(whole)[: marked.index(True)]
    np.testing.assert_array_equal(given[: len(expected)], expected)
    np.testing.assert_array_equal(given[-5:], sound_frames(whole)[-5:])


def test_sound_streams_count_none(whole: Path) -> None:
    frames = FrameStream(StreamSource(str(whole)))
    assert len(list(frames)) == N_FRAMES
    assert (frames.n_frames, frames.n_damaged) == (N_FRAMES, 0)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MPEG-TS that begins at frame 13, so that frames come from the next keyframe on."""
    folder = tmp_path_factory.mktemp("joined")
    noise = np.random.default_rng(0).integers(0, 256, (N_FRAMES, 24, 64, 1))
    images = [numbered_image(number) for number in range(N_FRAMES)]
    for image, grain in zip(images, noise, strict=True):
        image[24:] = grain
    _, codec, options = KINDS["mpeg2"]
    whole = write_video(folder / "whole.ts", N_FRAMES, codec, options, images=images)
    return remux(whole, folder / "joined.ts", keeps=lambda place: place >= 13)


def with_gap(path: Path, target: Path, place: int) -> Path:
    """A copy that lacks one packet of MPEG-TS, inside the picture of that place."""
    data = bytearray(path.read_bytes())
    start = (packets_of(path)[place][0] // TS_PACKET_BYTES + 1) * TS_PACKET_BYTES
    del data[start : start + TS_PACKET_BYTES]
    target.write_bytes(data)
    return target


def counts(path: Path) -> tuple[int, int, int]:
    """The first frame's number, how many there are, and how many places were damaged."""
    frames = FrameStream(StreamSource(str(path)))
    numbers = [number_of(frame.rgb()) for frame in frames]
    assert frames.n_frames == len(numbers)
    return numbers[0], len(numbers), frames.n_damaged


def test_damage_before_the_first_frame_is_not_counted(joined: Path, tmp_path: Path) -> None:
    first, n_frames, n_damaged = counts(joined)
    assert (first + n_frames, n_damaged) == (N_FRAMES, 0)
    n_before = first - 13
    assert n_before > 2
    path = with_gap(joined, tmp_path / "gap.ts", 1)
    with av.open(str(path)) as container:
        assert sum(packet.is_corrupt for packet in container.demux(video=0)) == 1
    assert counts(path) == (first, n_frames, 0)


def test_a_first_frame_that_is_corrupt_is_not_given(joined: Path, tmp_path: Path) -> None:
    """The stream begins with the one after it, and counts from there."""
    first, n_frames, _ = counts(joined)
    path = with_gap(joined, tmp_path / "gap.ts", first - 13)
    assert marks(path)[0]
    assert counts(path) == (first + 1, n_frames - 1, 0)


def test_damage_after_the_first_frame_is_counted(joined: Path, tmp_path: Path) -> None:
    first, n_frames, _ = counts(joined)
    path = flip(joined, tmp_path / "flipped.ts", [20])
    assert counts(path) == (first, n_frames - 1, 1)
    both = with_gap(path, tmp_path / "both.ts", 1)
    assert counts(both) == (first, n_frames - 1, 1)


def test_every_place_is_counted(joined: Path, tmp_path: Path) -> None:
    first, n_frames, _ = counts(joined)
    path = flip(joined, tmp_path / "flipped.ts", [18, 20, 22])
    assert counts(path) == (first, n_frames - 3, 3)
