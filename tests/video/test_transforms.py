"""Transforms: sizes, numbers against PIL and plain arithmetic, records that travel."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from timeception.video import PRESETS, Transform

PIL_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1), "scale": 1}  # 8-bit levels come out as they are


def photographs(n_frames, height, width, seed=0):
    """Smooth random pictures, as neither noise nor flat colour would test a filter."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n_frames, 9, 9, 3), dtype=np.uint8)
    size = (width, height)
    return np.stack([np.asarray(Image.fromarray(image).resize(size)) for image in small])


@pytest.mark.parametrize("interpolation", PIL_FILTERS)
@pytest.mark.parametrize("height, width", [(120, 160), (300, 200), (64, 65)])
def test_resizing_equals_pil(interpolation, height, width):
    frames = photographs(3, height, width)
    transform = Transform(resize=96, crop=None, interpolation=interpolation, **PLAIN)
    out_height, out_width = transform.output_size(height, width)
    assert min(out_height, out_width) == 96
    size, kind = (out_width, out_height), PIL_FILTERS[interpolation]
    expected = np.stack([np.asarray(Image.fromarray(frame).resize(size, kind)) for frame in frames])
    result = transform(frames).transpose(1, 2, 3, 0)
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= 2
    assert np.abs(result - expected).mean() < 0.1


def test_numbers_without_resizing():
    frames = photographs(2, 40, 50)
    transform = Transform(resize=None, crop=32, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    expected = (frames[:, 4:36, 9:41] / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    result = transform(frames)
    assert result.dtype == np.float32 and result.flags.c_contiguous
    np.testing.assert_allclose(result, expected.transpose(3, 0, 1, 2), atol=1e-6)


def test_blue_first():
    frames = photographs(2, 30, 30)
    fields = {"resize": None, "crop": None, "scale": 1}
    red_first = Transform(mean=(1, 2, 3), std=(4, 5, 6), **fields)(frames)
    blue_first = Transform(mean=(3, 2, 1), std=(6, 5, 4), channel_order="bgr", **fields)(frames)
    np.testing.assert_array_equal(blue_first, red_first[::-1])


def test_every_frame_is_treated_alone():
    frames = photographs(70, 20, 30)  # more than are resized at once
    transform = Transform(resize=24, crop=16)
    together = transform(frames)
    for index in (0, 31, 32, 69):
        np.testing.assert_array_equal(together[:, index], transform(frames[[index]])[:, 0])


def test_frames_are_left_as_they_were():
    frames = photographs(2, 40, 50)
    before = frames.copy()
    frames.flags.writeable = False
    view = frames[:, ::-1, :, ::-1]
    result = Transform(resize=30, crop=20, **PLAIN)(view)
    copied = Transform(resize=30, crop=20, **PLAIN)(view.copy())
    np.testing.assert_array_equal(result, copied)
    np.testing.assert_array_equal(frames, before)


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    resize=st.integers(1, 512),
    only_up=st.booleans(),
)
def test_sizes(height, width, resize, only_up):
    transform = Transform(resize=resize, crop=1, resize_only_up=only_up)
    new_height, new_width = transform.resized_size(height, width)
    if only_up and min(height, width) >= resize:
        assert (new_height, new_width) == (height, width)
    else:
        assert min(new_height, new_width) == resize
        long_side = max(height, width) * resize / min(height, width)
        assert max(new_height, new_width) == int(long_side + 1e-9)
    assert transform.output_size(height, width) == (1, 1)
    whole = transform.replace(crop=None)
    assert whole.output_size(height, width) == (new_height, new_width)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_travel_as_json(name):
    preset = PRESETS[name]
    copy = Transform.from_dict(json.loads(json.dumps(preset.to_dict())))
    assert copy == preset and hash(copy) == hash(preset)
    assert preset.output_size(240, 320) == (preset.crop, preset.crop)


GREY = np.full((1, 240, 320, 3), 102, dtype=np.uint8)

PRESET_VALUES = [  # what a level of 102 (0.4) becomes, by the publishers' own arithmetic
    ("imagenet", [(0.4 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.4 - 0.406) / 0.225], 224),
    ("i3d", [2 * 102 / 255 - 1] * 3, 224),
    ("kinetics_045", [(0.4 - 0.45) / 0.225] * 3, 224),
    ("caffe2", [(102 - 114.75) / 57.375] * 3, 224),
    (
        "kenshohara",
        [(0.4 - 0.4345) / 0.2768, (0.4 - 0.4051) / 0.2713, (0.4 - 0.3775) / 0.2737],
        112,
    ),
]


@pytest.mark.parametrize("name, values, crop", PRESET_VALUES)
def test_preset_values(name, values, crop):
    result = PRESETS[name](GREY)
    assert result.shape == (3, 1, crop, crop)
    np.testing.assert_allclose(result[:, 0, 5, 5], values, atol=1e-5)
    assert result.std(axis=(1, 2, 3)).max() < 1e-6


def test_i3d_scales_small_frames_alone():
    assert PRESETS["i3d"].resized_size(200, 300) == (226, 339)
    assert PRESETS["i3d"].resized_size(226, 300) == (226, 300)
    assert PRESETS["i3d"].resized_size(480, 640) == (480, 640)


BAD_FIELDS = [
    ({"resize": 0}, "resize must be a whole number of at least 1; got 0. None disables it."),
    ({"crop": 2.5}, "crop must be a whole number of at least 1; got 2.5"),
    ({"resize": 200, "crop": 224}, r"crop must fit in resize \(200\); got 224"),
    ({"interpolation": "bicube"}, "interpolation must be one of .*Did you mean 'bicubic'?"),
    ({"channel_order": "grb"}, "channel_order must be one of 'rgb', 'bgr'; got 'grb'"),
    ({"mean": (0.5,)}, "mean must be three numbers, one per channel"),
    ({"std": (1, 1, 0)}, "std must be positive"),
    ({"scale": 0}, "scale must be positive; got 0"),
]


@pytest.mark.parametrize("fields, words", BAD_FIELDS)
def test_wrong_fields(fields, words):
    with pytest.raises(ValueError, match=words):
        Transform(**fields)


def test_unknown_fields_are_errors():
    with pytest.raises(ValueError, match=r"field must be one of .*Did you mean 'resize'\?"):
        Transform.from_dict({"resise": 256})


BAD_FRAMES = [
    (np.zeros((2, 30, 30, 3), dtype=np.float32), "frames must be uint8 of shape .T, H, W, 3.; got"),
    (np.zeros((30, 30, 3), dtype=np.uint8), r"got 'uint8 of shape \(30, 30, 3\)'"),
    (np.zeros((2, 3, 30, 30), dtype=np.uint8), "frames must be uint8 of shape"),
    (np.zeros((2, 30, 20, 3), dtype=np.uint8), r"sides of at least the crop \(24\).*got '30 x 20'"),
]


@pytest.mark.parametrize("frames, words", BAD_FRAMES)
def test_wrong_frames(frames, words):
    with pytest.raises(ValueError, match=words):
        Transform(resize=None, crop=24)(frames)
