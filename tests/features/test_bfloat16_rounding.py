"""Features stored as bfloat16: to the nearest, ties to the even one, as PyTorch rounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.rounding import ROUNDED, TIES_AND_NEIGHBOURS, floats, to_bfloat16
from timeception.features.bank import FeatureBank


def stored(folder: Path, values: np.ndarray) -> np.ndarray:
    bank = FeatureBank(folder, mode="a", dtype="bfloat16")
    bank.write("v", values.reshape(1, -1, 1, 1), [0], 25)
    return bank["v"].features.reshape(-1)


@pytest.mark.parametrize("sign", [1, -1])
def test_by_hand(tmp_path: Path, sign: int) -> None:
    values, expected = (sign * np.float32(row) for row in zip(*ROUNDED, strict=True))
    np.testing.assert_array_equal(stored(tmp_path, values), expected)


def test_ties_and_their_neighbours(tmp_path: Path) -> None:
    values = floats(TIES_AND_NEIGHBOURS)
    np.testing.assert_array_equal(stored(tmp_path, values), to_bfloat16(values))


def test_zeros_keep_their_sign(tmp_path: Path) -> None:
    signs = np.signbit(stored(tmp_path, np.float32([0.0, -0.0])))
    np.testing.assert_array_equal(signs, [False, True])


@pytest.mark.parametrize(("value", "fits"), [(0x7F7F7FFF, True), (0x7F7F8000, False)])
def test_the_largest_that_fits(tmp_path: Path, value: int, fits: bool) -> None:
    """Half a step above the largest bfloat16 the nearest would be infinite."""
    values = floats([value])
    if fits:
        np.testing.assert_array_equal(stored(tmp_path, values), floats([0x7F7F0000]))
    else:
        with pytest.raises(ValueError, match="must fit bfloat16"):
            stored(tmp_path, values)
