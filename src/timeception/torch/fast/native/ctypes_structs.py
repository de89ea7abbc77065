"""The C++ structs that Python fills, field by field; ``build.load`` checks their sizes.

``XStruct`` mirrors ``X``, which is defined in ``common.hpp``, ``evaluate.cpp`` or ``train.cpp``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Self

from torch import Tensor

from timeception.spec import N_BRANCHES

Address = ctypes.c_void_p


class TemporalStruct(ctypes.Structure):
    """A temporal convolution."""

    _fields_ = (
        ("n_taps", ctypes.c_int),
        ("taps", Address),
        ("weights", Address),
        ("bias", Address),
    )


class LayerStruct(ctypes.Structure):
    """A layer and the size of its input; the tensors it points to must outlive it."""

    offsets: ctypes.Array[ctypes.c_int]  # what the taps point to, kept alive with the struct

    _fields_ = (
        ("n_groups", ctypes.c_int),
        ("group_channels", ctypes.c_int),
        ("branch_channels", ctypes.c_int),
        ("timesteps", ctypes.c_int),
        ("positions", ctypes.c_int),
        ("margin", ctypes.c_int),
        ("pool_offset", ctypes.c_int),
        ("kernels", Address),
        ("bias", Address),
        ("temporal", TemporalStruct * 3),
        ("pool_sign", Address),
        ("pool_shift", Address),
    )


class PartStruct(ctypes.Structure):
    """The part of a video that one call processes."""

    _fields_ = (
        ("first", ctypes.c_int),
        ("n_steps", ctypes.c_int),
        ("is_last", ctypes.c_int),
        ("n_before", ctypes.c_int),
        ("n_pairs", ctypes.c_int),
        ("clip_stride", ctypes.c_size_t),
        ("channel_stride", ctypes.c_size_t),
        ("rings", Address),
    )


class NormStruct(ctypes.Structure):
    """A batch normalisation; its mean and variance are written if ``by_batch``, else read."""

    _fields_ = (
        ("weight", Address),
        ("bias", Address),
        ("mean", Address),
        ("variance", Address),
        ("eps", ctypes.c_float),
        ("by_batch", ctypes.c_int),
    )


class GradientsStruct(ctypes.Structure):
    """Where the gradients are written."""

    _fields_ = (
        ("y", Address),
        ("bias", Address),
        ("temporal_weights", Address * 3),
        ("temporal_bias", Address * 3),
        ("norm_weight", Address),
        ("norm_bias", Address),
    )

    @classmethod
    def into(cls, tensors: Sequence[Tensor]) -> Self:
        """Point to y, bias, three kernels, their biases, and the scale and shift of the norm."""
        y, bias, *convs, norm_weight, norm_bias = (tensor.data_ptr() for tensor in tensors)
        three = Address * 3
        return cls(y, bias, three(*convs[:3]), three(*convs[3:]), norm_weight, norm_bias)


STRUCTS = (TemporalStruct, LayerStruct, PartStruct, NormStruct, GradientsStruct)


def size_mismatches(library: ctypes.CDLL) -> list[str]:
    """Compare the size of every struct with that in the library; return one line per mismatch."""
    lines = []
    for struct in STRUCTS:
        name = struct.__name__.removesuffix("Struct")
        size_of = getattr(library, f"timeception_sizeof_{name}")
        size_of.restype = ctypes.c_size_t
        expected, found = ctypes.sizeof(struct), size_of()
        if found != expected:
            lines.append(f"{name} has {found} bytes in C++ and {expected} in Python")
    return lines


def describe_layer(
    rows: int,
    n_groups: int,
    group_channels: int,
    timesteps: int,
    positions: int,
    bias: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    taps: Sequence[int],
    pool_offset: int,
) -> LayerStruct:
    """Fill a ``LayerStruct``, except for the pointwise kernels and the arrays of branch 5.

    Args:
        rows: output channels per group.
        n_groups: channel groups.
        group_channels: input channels per group.
        timesteps: timesteps of the input.
        positions: height times width.
        bias: pointwise biases.
        weights: kernels of the three temporal convolutions.
        biases: biases of the three temporal convolutions.
        taps: temporal offsets of all three convolutions, in a row.
        pool_offset: offset of the second timestep in branch 5.
    """
    layer = LayerStruct(
        n_groups=n_groups,
        group_channels=group_channels,
        branch_channels=rows // N_BRANCHES,
        timesteps=timesteps,
        positions=positions,
        margin=max(taps),
        pool_offset=pool_offset,
        bias=bias.data_ptr(),
    )
    offsets = (ctypes.c_int * len(taps))(*taps)
    layer.offsets = offsets
    first = 0
    for branch, (weight, conv_bias) in enumerate(zip(weights, biases, strict=True)):
        n_taps = weight.shape[1]
        address = ctypes.addressof(offsets) + first * ctypes.sizeof(ctypes.c_int)
        layer.temporal[branch] = TemporalStruct(
            n_taps, address, weight.data_ptr(), conv_bias.data_ptr()
        )
        first += n_taps
    return layer
