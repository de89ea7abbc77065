"""The C++ kernels in bfloat16 round to the nearest, ties to the even one, and keep every NaN."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.rounding import ROUNDED, TIES_AND_NEIGHBOURS, floats, to_bfloat16
from timeception.spec import TimeceptionSpec
from timeception.torch import Timeception
from timeception.torch.fast import native

pytestmark = pytest.mark.skipif(
    bool(native.why_unavailable()), reason=f"no native kernels: {native.why_unavailable()}"
)

EPS = 2.0**-10  # with a variance of 1 - EPS the normalisation divides by exactly 1


def shifts_only(values: np.ndarray, positions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """What a layer makes of zeros when its shifts are ``values``: in float32 and in bfloat16.

    All kernels and biases are zero, so each channel is the ReLU of its own shift.
    """
    width = -(-len(values) // 10)
    spec = TimeceptionSpec(2 * 4 * width, 1, 2, expansion=1.25, bn_eps=EPS)
    assert spec.out_channels == 10 * width
    network = Timeception.from_spec(spec)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        norm = network.layers[0].norm
        norm.weight.fill_(1)
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - EPS)
        norm.bias[: len(values)] = torch.from_numpy(values)
    fused = network.eval().fuse("native")
    x = torch.zeros(1, spec.in_channels, 5, 1, positions)
    with torch.inference_mode():
        whole, half = fused(x), fused(x.bfloat16())
    assert (whole.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    unshuffled = [
        y.float().unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)[0, : len(values)].numpy()
        for y in (whole, half)
    ]
    for y in unshuffled:  # all timesteps and positions alike
        np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1, :1], y.shape))
    return unshuffled[0][:, 0, 0, 0], unshuffled[1][:, 0, 0, 0]


@pytest.mark.parametrize("positions", [1, 3, 16, 33])  # parts of a vector, and whole ones
def test_by_hand(positions: int) -> None:
    values, expected = (np.float32(row) for row in zip(*ROUNDED, strict=True))
    whole, half = shifts_only(values, positions)
    np.testing.assert_array_equal(whole, values)
    np.testing.assert_array_equal(half, expected)


def test_ties_and_their_neighbours() -> None:
    values = floats(TIES_AND_NEIGHBOURS)
    whole, half = shifts_only(values)
    np.testing.assert_array_equal(whole, values)
    np.testing.assert_array_equal(half, to_bfloat16(values))
    np.testing.assert_array_equal(half, torch.from_numpy(values).bfloat16().float().numpy())


def test_negative_numbers_are_cut_off() -> None:
    values = np.float32([-1.0, -(1 + 1 / 256), 0.0, -0.0, -np.inf])
    whole, half = shifts_only(values)
    np.testing.assert_array_equal(whole, np.zeros(5))
    np.testing.assert_array_equal(half, np.zeros(5))


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0x7FC08000])
@pytest.mark.parametrize("positions", [1, 3, 33])
def test_every_nan_stays_one(bits: int, positions: int) -> None:
    """Rounding the bits of some NaNs up would make an infinity or a zero of them."""
    values = np.concatenate([floats([bits]), np.float32([2.0])])
    for result in shifts_only(values, positions):
        assert np.isnan(result[0])
        assert result[1] == 2


def test_what_is_too_large_becomes_infinite() -> None:
    largest = floats([0x7F7F0000])[0]
    values = floats([0x7F7F0000, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 0x7F800000])
    _, half = shifts_only(values)
    np.testing.assert_array_equal(half, [largest, largest, np.inf, np.inf, np.inf])
