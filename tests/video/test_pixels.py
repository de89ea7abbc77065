"""Colour: stored frames to 8-bit RGB, against the arithmetic of the standards."""

from fractions import Fraction

import av
import numpy as np
import pytest

from timeception.video import VideoReader
from timeception.video.pixels import rgb_array

# Luma weights of red and blue by FFmpeg's number of the colour matrix.
LUMA = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}
MATRICES = {"bt709": 1, "unspecified": 2, "bt601": 5, "bt2020": 9}
RANGES = {"unspecified": 0, "limited": 1, "full": 2}
#: Format -> bits, levels that it may be off: 8-bit 4:2:0 goes FFmpeg's fast way.
FORMATS = {"yuv420p": (8, 3.2), "yuv444p": (8, 0.6), "yuv420p10le": (10, 1.5)}


def exact_rgb(levels, matrix, is_full, bits):
    """RGB in 0..255 of one (Y, Cb, Cr), in floating point."""
    unit = 2 ** (bits - 8)
    luma, blue, red = (float(level) for level in levels)
    if is_full:
        top = 2**bits - 1
        luma, blue, red = luma / top, (blue - 128 * unit) / top, (red - 128 * unit) / top
    else:
        luma = (luma - 16 * unit) / (219 * unit)
        blue, red = (blue - 128 * unit) / (224 * unit), (red - 128 * unit) / (224 * unit)
    weight_red, weight_blue = LUMA[matrix]
    r = luma + 2 * (1 - weight_red) * red
    b = luma + 2 * (1 - weight_blue) * blue
    g = (luma - weight_red * r - weight_blue * b) / (1 - weight_red - weight_blue)
    return np.clip([r, g, b], 0, 1) * 255


def flat_frame(levels, pixel_format, bits, matrix=2, colour_range=0):
    frame = av.VideoFrame(64, 48, pixel_format)
    for plane, level in zip(frame.planes, levels, strict=True):
        np.frombuffer(plane, dtype=np.uint8 if bits == 8 else np.uint16)[:] = level
    frame.colorspace, frame.color_range = matrix, colour_range
    return frame


@pytest.mark.parametrize("colour_range", RANGES)
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_flat_colours(pixel_format, matrix, colour_range):
    bits, tolerance = FORMATS[pixel_format]
    rng = np.random.default_rng(0)
    number, range_number = MATRICES[matrix], RANGES[colour_range]
    for luma, blue, red in rng.integers([20, 95, 95], [235, 160, 160], (40, 3)) << (bits - 8):
        frame = flat_frame((luma, blue, red), pixel_format, bits, number, range_number)
        image = rgb_array(frame)
        assert image.dtype == np.uint8 and image.shape == (48, 64, 3)
        assert np.ptp(image, axis=(0, 1)).max() == 0
        exact = exact_rgb((luma, blue, red), number, colour_range == "full", bits)
        np.testing.assert_allclose(image[20, 20], exact, atol=tolerance)


@pytest.mark.parametrize("level, grey", [(16, 0), (235, 255)])
def test_black_and_white_are_exact(level, grey):
    assert rgb_array(flat_frame((level, 128, 128), "yuv420p", 8))[5, 5].tolist() == [grey] * 3
    assert rgb_array(flat_frame((level * 4, 512, 512), "yuv420p10le", 10))[5, 5, 1] == grey


def test_grey_ramp_of_ten_bits_is_rounded():
    levels = np.linspace(64, 940, 48 * 64).astype(np.uint16)
    frame = flat_frame((64, 512, 512), "yuv420p10le", 10)
    np.frombuffer(frame.planes[0], np.uint16).reshape(48, -1)[:, :64] = levels.reshape(48, 64)
    exact = (levels.reshape(48, 64) - 64.0) / 876 * 255
    assert np.abs(rgb_array(frame) - exact[..., None]).max() <= 1


@pytest.mark.parametrize(
    "pixel_format, bits, options, matrix, colour_range",
    [
        ("yuv420p10le", 10, "colormatrix=bt709:range=tv", 1, "limited"),
        ("yuv420p", 8, "colormatrix=bt709:range=pc", 1, "full"),
        ("yuv420p", 8, "colormatrix=bt470bg:range=tv", 5, "limited"),
    ],
)
def test_colour_of_a_file(tmp_path, pixel_format, bits, options, matrix, colour_range):
    """The matrix and range that the file declares reach the conversion."""
    path, levels = tmp_path / "flat.mp4", tuple(n << (bits - 8) for n in (120, 100, 150))
    with av.open(str(path), "w") as container:
        encoder = {"qp": "0", "x264-params": options}
        stream = container.add_stream("libx264", rate=30, options=encoder)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        stream.color_range = RANGES[colour_range]
        stream.colorspace = matrix
        for number in range(3):
            frame = flat_frame(levels, pixel_format, bits, matrix, RANGES[colour_range])
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with VideoReader(path) as video:
        image = video.read([1])[0]
        assert video.info.pixel_format in (pixel_format, pixel_format.replace("yuv", "yuvj"))
    exact = exact_rgb(levels, matrix, colour_range == "full", bits)
    np.testing.assert_allclose(image[20, 20], exact, atol=FORMATS[pixel_format][1] + 1)


@pytest.mark.parametrize("height, width", [(49, 65), (50, 66), (33, 100)])
def test_odd_sizes(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    np.testing.assert_array_equal(rgb_array(frame), image)
    half = frame.reformat(format="yuv420p")
    assert rgb_array(half).shape == (height, width, 3)
