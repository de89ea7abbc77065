"""The C++ kernels as PyTorch operators, for float32 on the CPU (``evaluate``: bfloat16 too).

``evaluate`` is a whole layer with its batch norm folded in; ``mix`` is what follows the pointwise
convolutions in training, with its gradient.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from timeception.spec import N_BRANCHES
from timeception.torch.native import build

_Address = ctypes.c_void_p


class _Temporal(ctypes.Structure):
    _fields_ = (
        ("n_taps", ctypes.c_int),
        ("taps", _Address),
        ("weights", _Address),
        ("bias", _Address),
    )


class _Layer(ctypes.Structure):
    offsets: ctypes.Array[ctypes.c_int]  # what the taps point to, kept alive with the structure

    _fields_ = (
        ("n_groups", ctypes.c_int),
        ("group_channels", ctypes.c_int),
        ("branch_channels", ctypes.c_int),
        ("timesteps", ctypes.c_int),
        ("positions", ctypes.c_int),
        ("margin", ctypes.c_int),
        ("pool_offset", ctypes.c_int),
        ("kernels", _Address),
        ("bias", _Address),
        ("temporal", _Temporal * 3),
        ("pool_sign", _Address),
        ("pool_shift", _Address),
    )


class _Norm(ctypes.Structure):
    _fields_ = (
        ("weight", _Address),
        ("bias", _Address),
        ("mean", _Address),
        ("variance", _Address),
        ("eps", ctypes.c_float),
        ("by_batch", ctypes.c_int),
    )


class _Gradients(ctypes.Structure):
    _fields_ = (
        ("y", _Address),
        ("bias", _Address),
        ("temporal_weights", _Address * 3),
        ("temporal_bias", _Address * 3),
        ("norm_weight", _Address),
        ("norm_bias", _Address),
    )


def _describe(
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
) -> _Layer:
    """The description of a layer; the tensors must outlive it."""
    layer = _Layer(
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
        layer.temporal[branch] = _Temporal(n_taps, address, weight.data_ptr(), own_bias.data_ptr())
        first += n_taps
    return layer


def _call(entry: str, *arguments: Any) -> None:
    if not getattr(build.load(), entry)(*arguments, torch.get_num_threads()):
        raise MemoryError(f"{entry} ran out of memory")


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    for tensor in tensors:
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            raise ValueError(f"the kernels take float32 on the CPU, got {tensor.dtype}")
    return [tensor.contiguous() for tensor in tensors]


@torch.library.custom_op("timeception::evaluate", mutates_args=(), device_types="cpu")
def evaluate(
    x: Tensor,
    kernels: Tensor,
    bias: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    pool_sign: Tensor,
    pool_shift: Tensor,
    taps: Sequence[int],
    pool_offset: int,
) -> Tensor:
    """A layer whose batch norm has been folded into its arrays (``torch/fused.py``).

    Args:
        x: the input, float32 or bfloat16; sums are taken in float32.
        kernels: pointwise kernels.
        bias: pointwise biases.
        weights: kernels of the three temporal convolutions.
        biases: their biases.
        pool_sign: sign of branch 5's scale.
        pool_shift: branch 5's shift.
        taps: temporal offsets of all three convolutions, one after another.
        pool_offset: of branch 5's second step.

    Shape:
        x: N, C, T, H, W; kernels: G, 5 * C_b, C / G; bias: G, 5 * C_b; weights: G * C_b, k;
        biases, pool_sign, pool_shift: G * C_b; result: N, 5 * G * C_b, T // 2, H, W.
    """
    is_half = x.dtype == torch.bfloat16
    x = x.contiguous() if is_half else _contiguous(x)[0]
    kernels, bias, pool_sign, pool_shift = _contiguous(kernels, bias, pool_sign, pool_shift)
    weights, biases = _contiguous(*weights), _contiguous(*biases)
    n_clips, _, timesteps, height, width = x.shape
    n_groups, rows, depth = kernels.shape
    layer = _describe(
        rows, n_groups, depth, timesteps, height * width, bias, weights, biases, taps, pool_offset
    )
    layer.kernels, layer.pool_sign = kernels.data_ptr(), pool_sign.data_ptr()
    layer.pool_shift = pool_shift.data_ptr()
    out = x.new_empty(n_clips, n_groups * rows, timesteps // 2, height, width)
    addresses = _Address(x.data_ptr()), _Address(out.data_ptr())
    entry = "timeception_evaluate_bfloat16" if is_half else "timeception_evaluate"
    _call(entry, ctypes.byref(layer), *addresses, n_clips)
    return out


@evaluate.register_fake
def _evaluate_shape(x: Tensor, kernels: Tensor, *_rest: Any) -> Tensor:
    n_clips, _, timesteps, height, width = x.shape
    channels = kernels.shape[0] * kernels.shape[1]
    return x.new_empty(n_clips, channels, timesteps // 2, height, width)


@torch.library.custom_op("timeception::mix", mutates_args=(), device_types="cpu")
def mix(
    y: Tensor,
    bias: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    norm_weight: Tensor,
    norm_bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    eps: float,
    by_batch: bool,
    n_groups: int,
    taps: Sequence[int],
    pool_offset: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Temporal branches, batch norm, ReLU, shuffle and pooling.

    Args:
        y: the pointwise products, without their biases.
        bias: pointwise biases.
        weights: kernels of the three temporal convolutions.
        biases: their biases.
        norm_weight: scale of the normalisation.
        norm_bias: its shift.
        running_mean: used in place of the batch's own unless ``by_batch``.
        running_var: likewise.
        eps: added to the variance.
        by_batch: normalise by the batch, as in training.
        n_groups: channel groups.
        taps: temporal offsets of all three convolutions, one after another.
        pool_offset: of branch 5's second step.

    Shape:
        y: N, C_out, T, S; weights: G * C_b, k; result: N, C_out, T // 2, S, and the mean and
        the (biased) variance that were used, C_out each.
    """
    y, bias, norm_weight, norm_bias = _contiguous(y, bias, norm_weight, norm_bias)
    weights, biases = _contiguous(*weights), _contiguous(*biases)
    mean, variance = running_mean.float().clone(), running_var.float().clone()
    n_clips, channels, timesteps, positions = y.shape
    layer = _describe(
        channels // n_groups, n_groups, 0, timesteps, positions, bias, weights, biases, taps,
        pool_offset,
    )  # fmt: skip
    norm = _norm(norm_weight, norm_bias, mean, variance, eps, by_batch)
    out = y.new_empty(n_clips, channels, timesteps // 2, positions)
    addresses = _Address(y.data_ptr()), _Address(out.data_ptr())
    _call("timeception_mix", ctypes.byref(layer), ctypes.byref(norm), *addresses, n_clips)
    return out, mean, variance


@mix.register_fake
def _mix_shape(y: Tensor, bias: Tensor, *_rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    n_clips, channels, timesteps, positions = y.shape
    out = y.new_empty(n_clips, channels, timesteps // 2, positions)
    return out, y.new_empty(channels), y.new_empty(channels)


@torch.library.custom_op("timeception::mix_backward", mutates_args=(), device_types="cpu")
def mix_backward(
    grad_out: Tensor,
    y: Tensor,
    bias: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    norm_weight: Tensor,
    norm_bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    by_batch: bool,
    n_groups: int,
    taps: Sequence[int],
    pool_offset: int,
) -> list[Tensor]:
    """The gradients of y, bias, weights, biases, norm_weight and norm_bias, in this order."""
    grad_out, y, bias, norm_weight, norm_bias = _contiguous(
        grad_out, y, bias, norm_weight, norm_bias
    )
    weights, biases = _contiguous(*weights), _contiguous(*biases)
    n_clips, channels, timesteps, positions = y.shape
    layer = _describe(
        channels // n_groups, n_groups, 0, timesteps, positions, bias, weights, biases, taps,
        pool_offset,
    )  # fmt: skip
    norm = _norm(norm_weight, norm_bias, mean, variance, eps, by_batch)
    results = [torch.empty_like(t) for t in (y, bias, *weights, *biases, norm_weight, norm_bias)]
    addresses = [tensor.data_ptr() for tensor in results]
    gradients = _Gradients(
        y=addresses[0],
        bias=addresses[1],
        temporal_weights=(_Address * 3)(*addresses[2:5]),
        temporal_bias=(_Address * 3)(*addresses[5:8]),
        norm_weight=addresses[8],
        norm_bias=addresses[9],
    )
    _call(
        "timeception_mix_backward",
        ctypes.byref(layer),
        ctypes.byref(norm),
        _Address(y.data_ptr()),
        _Address(grad_out.data_ptr()),
        ctypes.byref(gradients),
        n_clips,
    )
    return results


@mix_backward.register_fake
def _mix_backward_shape(
    grad_out: Tensor,
    y: Tensor,
    bias: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    norm_weight: Tensor,
    norm_bias: Tensor,
    *_rest: Any,
) -> list[Tensor]:
    taken = (y, bias, *weights, *biases, norm_weight, norm_bias)
    return [torch.empty_like(tensor) for tensor in taken]


def _norm(
    weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float, by_batch: bool
) -> _Norm:
    tensors = (weight, bias, mean, variance)
    return _Norm(*(tensor.data_ptr() for tensor in tensors), eps, by_batch)


def _keep(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    y, bias, weights, biases, norm_weight, norm_bias, _, _, *constants = inputs
    _, mean, variance = output
    ctx.mark_non_differentiable(mean, variance)
    ctx.save_for_backward(y, bias, *weights, *biases, norm_weight, norm_bias, mean, variance)
    ctx.constants = constants


def _backward(ctx: Any, grad_out: Tensor, *_: Any) -> tuple:
    y, bias, *convs, norm_weight, norm_bias, mean, variance = ctx.saved_tensors
    taken = y, bias, convs[:3], convs[3:], norm_weight, norm_bias, mean, variance
    d = mix_backward(grad_out, *taken, *ctx.constants)
    return d[0], d[1], d[2:5], d[5:8], d[8], d[9], *([None] * 7)


mix.register_autograd(_backward, setup_context=_keep)
