"""Small videos that the tests make themselves; every frame shows its own number."""

from fractions import Fraction

import av
import numpy as np
import pytest

HEIGHT, WIDTH = 48, 64
N_BITS = 6  # a row of black and white squares spells a frame's number
GOP = 10
FPS = 30

#: Name -> file suffix, codec and its options: what differs between kinds of file.
KINDS = {
    "mp4_h264_b_frames": (".mp4", "libx264", {"bf": "3"}),
    "mp4_h264_open_gop": (".mp4", "libx264", {"x264-params": "open-gop=1:bframes=3"}),
    "mp4_h264_intra_refresh": (".mp4", "libx264", {"x264-params": "intra-refresh=1"}),
    "mp4_h264_interlaced": (".mp4", "libx264", {"x264-params": "interlaced=1"}),
    "mp4_hevc_open_gop": (".mp4", "libx265", {"x265-params": "open-gop=1:bframes=3:log-level=0"}),
    "mkv_h264": (".mkv", "libx264", {"bf": "3"}),
    "ts_h264": (".ts", "libx264", {"bf": "3"}),
    "ts_mpeg2": (".ts", "mpeg2video", {"bf": "2", "b": "400k"}),
    "avi_h264": (".avi", "libx264", {"bf": "3"}),
    "avi_mpeg4": (".avi", "mpeg4", {"b": "400k"}),
    "avi_mjpeg": (".avi", "mjpeg", {}),
    "webm_vp8": (".webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "8", "b": "400k"}),
    "webm_vp9": (".webm", "libvpx-vp9", {"lag-in-frames": "8", "b": "400k"}),
    "h264_raw": (".h264", "libx264", {"bf": "3"}),
}


def numbered_image(number, height=HEIGHT, width=WIDTH):
    """A grey image whose upper half spells ``number`` in squares, white for 1, lowest bit first."""
    image = np.full((height, width, 3), 128, dtype=np.uint8)
    side = width // N_BITS
    for bit in range(N_BITS):
        image[: height // 2, bit * side : (bit + 1) * side] = 255 * (number >> bit & 1)
    return image


def number_of(image):
    """The number that ``numbered_image`` put there, read from a decoded frame."""
    side = image.shape[1] // N_BITS
    squares = image[4 : image.shape[0] // 2 - 4, : side * N_BITS].reshape(-1, N_BITS, side, 3)
    means = squares[:, :, 2:-2].mean(axis=(0, 2, 3))
    assert np.abs(means - 128).min() > 60, f"not readable: {means}"
    return sum(1 << bit for bit in range(N_BITS) if means[bit] > 128)


def add_stream(container, codec, options, height, width, pixel_format):
    stream = container.add_stream(codec, rate=FPS, options={"g": str(GOP), **options})
    stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
    return stream


def encode(container, stream, images, pts=None):
    """Encode images at times ``pts``, in units of a frame."""
    for place, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=stream.pix_fmt)
        frame.pts = place if pts is None else pts[place]
        frame.time_base = Fraction(1, FPS)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_video(
    path,
    n_frames=40,
    codec="libx264",
    options=None,
    *,
    height=HEIGHT,
    width=WIDTH,
    pixel_format=None,
    pts=None,
    rotation=None,
    images=None,
    container_options=None,
):
    """Write a video of numbered frames; ``rotation`` is PyAV's (degrees, hflip, vflip)."""
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg cannot encode {codec}")
    pixel_format = pixel_format or ("yuvj420p" if codec == "mjpeg" else "yuv420p")
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = add_stream(container, codec, options or {}, height, width, pixel_format)
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
        if images is None:
            images = [numbered_image(number, height, width) for number in range(n_frames)]
        encode(container, stream, images, pts)
    return path


def write_kind(folder, kind, n_frames=40):
    suffix, codec, options = KINDS[kind]
    return write_video(folder / f"{kind}{suffix}", n_frames, codec, options)


def remux(source, target, keeps=lambda place: True, shift_frames=0):
    """Copy the packets whose place in the file ``keeps`` wants, ``shift_frames`` earlier."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        video = old.streams.video[0]
        stream = new.add_stream_from_template(video)
        shift = round(shift_frames / FPS / video.time_base)
        packets = [packet for packet in old.demux(video) if packet.size]
        for place, packet in enumerate(packets):
            if keeps(place):
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = stream
                new.mux(packet)
    return target


def packets_of(path):
    """Position, size, time and keyframe flag of every packet, in the order of the file."""
    with av.open(str(path)) as container:
        packets = list(container.demux(container.streams.video[0]))
        return [(p.pos, p.size, p.pts, p.is_keyframe) for p in packets if p.size]


def overwrite(source, target, start, length, byte=0):
    """Copy a file with ``length`` bytes from ``start`` set to ``byte``."""
    data = bytearray(source.read_bytes())
    data[start : start + length] = bytes([byte]) * length
    target.write_bytes(data)
    return target
