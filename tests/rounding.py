"""Rounding to bfloat16, worked by hand and by exact arithmetic: a float32's upper sixteen bits."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

#: Value and what it rounds to. Between 1 and 2 the steps of bfloat16 are 1/128, and half of that
#: is 1/256; 1 has an even last bit, 1 + 1/128 an odd one.
ROUNDED = [
    (1.0, 1.0),
    (1 + 1 / 256, 1.0),  # a tie, down to the even one
    (1 + 1 / 256 + 2**-20, 1 + 1 / 128),  # just above it
    (1 + 1 / 256 - 2**-20, 1.0),  # just below it
    (1 + 1 / 128, 1 + 1 / 128),
    (1 + 3 / 256, 1 + 2 / 128),  # a tie, up to the even one
    (1 + 3 / 256 - 2**-20, 1 + 1 / 128),
    (1 + 3 / 256 + 2**-20, 1 + 2 / 128),
    (1 + 5 / 256, 1 + 2 / 128),  # down
    (2 - 1 / 256, 2.0),  # up, into the next power of two
    (2 + 1 / 128, 2.0),  # steps of 1/64 from here on: down
    (2 + 3 / 128, 2 + 2 / 64),  # up
    (257.0, 256.0),
    (259.0, 260.0),
    (0.5 + 1 / 512, 0.5),
]

#: float32 numbers by their bits: small, near 1 and large; below, at and above ties of both kinds.
TIES_AND_NEIGHBOURS = [
    upper << 16 | lower
    for upper in (0x0080, 0x0081, 0x3DCC, 0x3F7F, 0x3F80, 0x3F81, 0x3F82, 0x447A, 0x7F00, 0x7F01)
    for lower in (0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF)
]


def floats(bits: list[int]) -> np.ndarray:
    """float32 numbers of the given bits."""
    return np.array(bits, np.uint32).view(np.float32)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 of finite numbers, as float32, found by exact comparison."""
    return np.array([_nearest(value) for value in values], np.float32)


def _nearest(value: np.float32) -> np.float32:
    bits = int(np.float32(value).view(np.uint32))
    below, above = bits & 0xFFFF0000, (bits & 0xFFFF0000) + 0x10000
    exact = Fraction(float(value))
    low, high = (abs(Fraction(float(floats([b])[0])) - exact) for b in (below, above))
    is_even = not below >> 16 & 1
    chosen = below if low < high or (low == high and is_even) else above
    return floats([chosen])[0]
