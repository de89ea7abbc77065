"""The C++ structs that Python fills, field by field; ``build.load`` checks their sizes.

``XStruct`` mirrors ``X``, which is defined in ``common.hpp``, ``evaluate.cpp`` or ``train.cpp``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor

from timeception.spec import N_BRANCHES

Address = ctypes.c_void_p
Field = tuple[str, type]


def _fields(kind: type, *names: str) -> tuple[Field, ...]:
    return tuple((name, kind) for name in names)


class TemporalStruct(ctypes.Structure):
    """A temporal convolution."""

    _fields_ = (("n_taps", ctypes.c_int), *_fields(Address, "taps", "weights", "bias"))


class LayerStruct(ctypes.Structure):
    """A layer and the size of its input; the tensors it points to must outlive it."""

    offsets: ctypes.Array[ctypes.c_int]  # what the taps point to, kept alive with the struct

    _fields_ = (
        *_fields(ctypes.c_int, "n_groups", "group_channels", "branch_channels"),
        *_fields(ctypes.c_int, "timesteps", "positions", "margin", "pool_offset"),
        *_fields(Address, "kernels", "bias"),
        ("temporal", TemporalStruct * 3),
        *_fields(Address, "pool_sign", "pool_shift"),
    )


class PartStruct(ctypes.Structure):
    """The part of a video that one call processes."""

    _fields_ = (
        *_fields(ctypes.c_int, "first", "n_steps", "is_last", "n_before", "n_pairs"),
        *_fields(ctypes.c_size_t, "clip_stride", "channel_stride"),
        ("rings", Address),
    )


class NormStruct(ctypes.Structure):
    """A batch normalisation; its mean and variance are written if ``by_batch``, else read."""

    _fields_ = (
        *_fields(Address, "weight", "bias", "mean", "variance"),
        ("eps", ctypes.c_float),
        ("by_batch", ctypes.c_int),
    )


class GradientsStruct(ctypes.Structure):
    """Where the gradients are written."""

    _fields_ = (
        *_fields(Address, "y", "bias"),
        *_fields(Address * 3, "temporal_weights", "temporal_bias"),
        *_fields(Address, "norm_weight", "norm_bias"),
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
    arrays: Any, n_groups: int, rows: int, group_channels: int, timesteps: int, positions: int
) -> LayerStruct:
    """Fill a ``LayerStruct``, except for the pointwise kernels and the arrays of branch 5.

    ``arrays`` are contiguous ``operators.FoldedArrays`` or ``operators.EpilogueArguments``. A group
    has ``group_channels`` input and ``rows`` output channels; ``positions`` is height times width.
    """
    layer = LayerStruct(
        n_groups=n_groups,
        group_channels=group_channels,
        branch_channels=rows // N_BRANCHES,
        timesteps=timesteps,
        positions=positions,
        margin=max(arrays.taps),
        pool_offset=arrays.pool_offset,
        bias=arrays.bias.data_ptr(),
    )
    layer.offsets = offsets = (ctypes.c_int * len(arrays.taps))(*arrays.taps)
    first = 0
    for branch, (weight, bias) in enumerate(zip(arrays.weights, arrays.biases, strict=True)):
        n_taps = weight.shape[1]
        address = ctypes.addressof(offsets) + first * ctypes.sizeof(ctypes.c_int)
        layer.temporal[branch] = TemporalStruct(n_taps, address, weight.data_ptr(), bias.data_ptr())
        first += n_taps
    return layer
