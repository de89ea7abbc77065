"""Resizing and cropping where it matters by one pixel: worked by hand, and against torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as torchvision

from timeception.video import PRESETS, Transform


def coordinates(height: int, width: int) -> np.ndarray:
    """One frame whose red is the row and whose green is the column."""
    frame = np.zeros((1, height, width, 3), np.uint8)
    frame[..., 0] = np.arange(height)[:, None]
    frame[..., 1] = np.arange(width)
    return frame


def corner(height: int, width: int, crop: int) -> tuple[int, int]:
    """Row and column at which the crop begins."""
    image = Transform(resize=None, crop=crop).levels(coordinates(height, width))[0]
    assert image.shape == (crop, crop, 3)
    np.testing.assert_array_equal(image[:, 0, 0], image[0, 0, 0] + np.arange(crop))
    np.testing.assert_array_equal(image[0, :, 1], image[0, 0, 1] + np.arange(crop))
    return int(image[0, 0, 0]), int(image[0, 0, 1])


#: What is left over, and where the crop begins: halves are rounded to the even number.
MARGINS = [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3), (7, 4), (8, 4), (9, 4), (11, 6)]


@pytest.mark.parametrize(("margin", "start"), MARGINS)
def test_margins(margin: int, start: int) -> None:
    assert corner(10 + margin, 10, 10) == (start, 0)
    assert corner(10, 10 + margin, 10) == (0, start)
    assert corner(11 + margin, 14, 11) == (start, 2)


@pytest.mark.parametrize("height", range(10, 18))
@pytest.mark.parametrize("width", [10, 11, 13, 15])
def test_crops_are_those_of_torchvision(height: int, width: int) -> None:
    frames = coordinates(height, width)
    theirs = torchvision.center_crop(torch.from_numpy(frames).permute(0, 3, 1, 2), [10, 10])
    ours = Transform(resize=None, crop=10).levels(frames)
    np.testing.assert_array_equal(ours, theirs.permute(0, 2, 3, 1).numpy())


def test_a_crop_after_resizing_is_of_the_resized_frame() -> None:
    """40 x 60 becomes 20 x 30; a crop of 17 leaves 3 rows and 13 columns: from 2 and 6."""
    frames = np.random.default_rng(0).integers(0, 256, (1, 40, 60, 3), dtype=np.uint8)
    whole = Transform(resize=20, crop=None).levels(frames)
    assert whole.shape == (1, 20, 30, 3)
    cropped = Transform(resize=20, crop=17).levels(frames)
    np.testing.assert_array_equal(cropped, whole[:, 2:19, 6:23])


#: Height and width; resized to a short side of 100; the same where only small frames are.
SIZES = [
    ((98, 300), (100, 306), (100, 306)),
    ((99, 300), (100, 303), (100, 303)),
    ((100, 300), (100, 300), (100, 300)),
    ((101, 300), (100, 297), (101, 300)),
    ((102, 300), (100, 294), (102, 300)),
    ((300, 99), (303, 100), (303, 100)),
    ((300, 100), (300, 100), (300, 100)),
    ((300, 101), (297, 100), (300, 101)),
    ((99, 99), (100, 100), (100, 100)),
    ((101, 101), (100, 100), (101, 101)),
    ((100, 101), (100, 101), (100, 101)),
    ((101, 100), (101, 100), (101, 100)),
    ((200, 301), (100, 150), (200, 301)),  # 150.5, rounded down
    ((200, 303), (100, 151), (200, 303)),  # 151.5
    ((110, 300), (100, 272), (110, 300)),  # 272.7
    ((90, 161), (100, 178), (100, 178)),  # 178.9
    ((161, 90), (178, 100), (178, 100)),
    ((1, 1), (100, 100), (100, 100)),
]


@pytest.mark.parametrize(("size", "always", "only_up"), SIZES)
def test_short_sides_around_the_wanted_one(size: tuple, always: tuple, only_up: tuple) -> None:
    transform = Transform(resize=100, crop=None)
    for one, expected in ((transform, always), (transform.replace(resize_only_up=True), only_up)):
        assert one.resized_size(*size) == one.output_size(*size) == expected
        assert one.levels(np.zeros((1, *size, 3), np.uint8)).shape == (1, *expected, 3)


@pytest.mark.parametrize("only_up", [False, True])
def test_a_frame_of_the_wanted_size_is_not_touched(only_up: bool) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 30, 41, 3), dtype=np.uint8)
    transform = Transform(resize=30, crop=None, resize_only_up=only_up)
    np.testing.assert_array_equal(transform.levels(frames), frames)


def test_a_large_frame_is_not_touched_if_only_small_ones_are() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 31, 41, 3), dtype=np.uint8)
    whole = Transform(resize=30, crop=None, resize_only_up=True)
    np.testing.assert_array_equal(whole.levels(frames), frames)
    cropped = whole.replace(crop=28).levels(frames)  # leaves 3 and 13: from 2 and 6
    np.testing.assert_array_equal(cropped, frames[:, 2:30, 6:34])


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((225, 300), (226, 301)),
        ((226, 300), (226, 300)),
        ((227, 300), (227, 300)),
        ((300, 225), (301, 226)),
        ((300, 227), (300, 227)),
    ],
)
def test_i3d_scales_up_to_226(size: tuple[int, int], resized: tuple[int, int]) -> None:
    assert PRESETS["i3d"].resized_size(*size) == resized
    assert PRESETS["i3d"].output_size(*size) == (224, 224)


@pytest.mark.parametrize(("size", "fits"), [((28, 28), True), ((27, 40), False), ((40, 27), False)])
def test_the_smallest_frame_that_can_be_cropped(size: tuple[int, int], fits: bool) -> None:
    frames, transform = np.zeros((1, *size, 3), np.uint8), Transform(resize=None, crop=28)
    if fits:
        np.testing.assert_array_equal(transform.levels(frames), frames)
    else:
        with pytest.raises(ValueError, match=r"sides of at least the crop \(28\)"):
            transform.levels(frames)


def test_a_crop_may_be_as_large_as_the_resized_side() -> None:
    assert Transform(resize=28, crop=28).output_size(56, 57) == (28, 28)
    with pytest.raises(ValueError, match=r"crop must fit in resize \(28\); got 29"):
        Transform(resize=28, crop=29)
