"""The structures of ``common.hpp`` and ``train.cpp``, field by field."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Self

from torch import Tensor

from timeception.spec import N_BRANCHES

Address = ctypes.c_void_p


class Temporal(ctypes.Structure):
    """A temporal convolution."""

    _fields_ = (
        ("n_taps", ctypes.c_int),
        ("taps", Address),
        ("weights", Address),
        ("bias", Address),
    )


class Layer(ctypes.Structure):
    """A layer and the size of its input; the tensors it points to must outlive it."""

    offsets: ctypes.Array[ctypes.c_int]  # what the taps point to, kept alive with the structure

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
        ("temporal", Temporal * 3),
        ("pool_sign", Address),
        ("pool_shift", Address),
    )


class Part(ctypes.Structure):
    """What one call takes of a video, and gives."""

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


class Norm(ctypes.Structure):
    """A batch normalisation; its statistics are written or read."""

    _fields_ = (
        ("weight", Address),
        ("bias", Address),
        ("mean", Address),
        ("variance", Address),
        ("eps", ctypes.c_float),
        ("by_batch", ctypes.c_int),
    )

    @classmethod
    def of(
        cls,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        by_batch: bool,
    ) -> Self:
        """Point to the tensors."""
        tensors = (weight, bias, mean, variance)
        return cls(*(tensor.data_ptr() for tensor in tensors), eps, by_batch)


class Gradients(ctypes.Structure):
    """Where the gradients go."""

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
        """Point to y, bias, three kernels, their biases, and the norm's scale and shift."""
        y, bias, *convs, norm_weight, norm_bias = (tensor.data_ptr() for tensor in tensors)
        three = Address * 3
        return cls(y, bias, three(*convs[:3]), three(*convs[3:]), norm_weight, norm_bias)


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
) -> Layer:
    """Describe a layer to the kernels, all but its pointwise kernels and branch 5's arrays.

    Args:
        rows: output channels of a group.
        n_groups: channel groups.
        group_channels: input channels of a group.
        timesteps: of the input.
        positions: height times width.
        bias: pointwise biases.
        weights: kernels of the three temporal convolutions.
        biases: their biases.
        taps: temporal offsets of all three, one after another.
        pool_offset: of branch 5's second step.
    """
    layer = Layer(
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
    for branch, (weight, own_bias) in enumerate(zip(weights, biases, strict=True)):
        n_taps = weight.shape[1]
        address = ctypes.addressof(offsets) + first * ctypes.sizeof(ctypes.c_int)
        layer.temporal[branch] = Temporal(n_taps, address, weight.data_ptr(), own_bias.data_ptr())
        first += n_taps
    return layer
