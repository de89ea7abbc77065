"""The C++ kernels as PyTorch operators, for float32 on the CPU (``evaluate``: bfloat16 too).

``evaluate`` is a whole layer with its batch norm folded in; ``mix`` is what follows the pointwise
convolutions in training, with its gradient. They are registered by ``define`` and ``impl``, since
``custom_op`` would import the compiler's machinery at the first call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timeception import checks
from timeception.torch.fast.native import build
from timeception.torch.fast.native.ctypes_structs import (
    Address,
    Gradients,
    Norm,
    Part,
    describe_layer,
)

_ARRAYS = "Tensor bias, Tensor[] weights, Tensor[] biases, Tensor norm_weight, Tensor norm_bias"
_CONSTANTS = "float eps, bool by_batch, int n_groups, int[] taps, int pool_offset"

torch.library.define(
    "timeception::evaluate",
    "(Tensor x, Tensor kernels, Tensor bias, Tensor[] weights, Tensor[] biases, "
    "Tensor pool_sign, Tensor pool_shift, int[] taps, int pool_offset) -> Tensor",
)
torch.library.define(
    "timeception::mix",
    f"(Tensor y, {_ARRAYS}, Tensor running_mean, Tensor running_var, {_CONSTANTS}) "
    "-> (Tensor, Tensor, Tensor)",
)
torch.library.define(
    "timeception::mix_backward",
    f"(Tensor grad_out, Tensor y, {_ARRAYS}, Tensor mean, Tensor variance, {_CONSTANTS}) "
    "-> Tensor[]",
)


class Folded(NamedTuple):
    """The arrays of a layer whose batch norm has been folded in (``torch/fused.py``).

    Args:
        kernels: of the pointwise convolutions, G, 5 * C_b, C / G.
        bias: theirs, G, 5 * C_b.
        weights: kernels of the three temporal convolutions, G * C_b, k.
        biases: theirs, G * C_b.
        pool_sign: sign of branch 5's scale, G * C_b.
        pool_shift: branch 5's shift, G * C_b.
        taps: temporal offsets of all three convolutions, one after another.
        pool_offset: of branch 5's second step.
    """

    kernels: Tensor
    bias: Tensor
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    pool_sign: Tensor
    pool_shift: Tensor
    taps: Sequence[int]
    pool_offset: int


class VideoPart(NamedTuple):
    """Where in its video an input lies.

    Args:
        n_before: timesteps in the parts before.
        is_last: whether the video ends with it.
        n_outputs_before: output steps given before.
        n_outputs: output steps that become known now.
    """

    n_before: int
    is_last: bool
    n_outputs_before: int
    n_outputs: int


def evaluate(x: Tensor, folded: Folded) -> Tensor:
    """A layer in evaluation.

    Args:
        x: the input, float32 or bfloat16; sums are taken in float32.
        folded: the layer's arrays.

    Shape:
        x: N, C, T, H, W; result: N, C_out, T // 2, H, W.

    Raises:
        ValueError: if a tensor is of another type or not on the CPU, or x does not fit.
    """
    return torch.ops.timeception.evaluate(x, *folded)


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

    Raises:
        ValueError: if a tensor is of another type or not on the CPU.
    """
    arrays = bias, weights, biases, norm_weight, norm_bias, running_mean, running_var
    constants = eps, by_batch, n_groups, taps, pool_offset
    return torch.ops.timeception.mix(y, *arrays, *constants)


def _call(entry: str, *arguments: Any) -> None:
    if not getattr(build.load(), entry)(*arguments, torch.get_num_threads()):
        raise MemoryError(f"{entry} ran out of memory")


def _ready(*tensors: Tensor) -> list[Tensor]:
    """The tensors as the kernels read them: contiguous float32 on the CPU."""
    for tensor in tensors:
        _check_kind(tensor)
    return [tensor.contiguous() for tensor in tensors]


def _check_kind(tensor: Tensor) -> None:
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise ValueError(
            f"the native kernels take float32 on the CPU, got {tensor.dtype} on "
            f"{tensor.device.type}; use_implementation('torch') takes any"
        )


@torch.library.impl("timeception::evaluate", "cpu")
def _evaluate(x: Tensor, *folded: Any) -> Tensor:
    timesteps = x.shape[2]
    checks.require(timesteps >= 2, "x", "have at least 2 timesteps", timesteps)
    return evaluate_part(x, Folded(*folded), VideoPart(0, True, 0, timesteps // 2))


def evaluate_part(
    x: Tensor, folded: Folded, part: VideoPart, rings: Tensor | None = None
) -> Tensor:
    """``evaluate`` on part of a video.

    Args:
        x: the next timesteps, as in ``evaluate``.
        folded: the layer's arrays.
        part: where in the video x lies.
        rings: of ``new_rings``, where recent timesteps are kept; changed in place. ``None`` if x
            is the whole video.

    Shape:
        x: N, C, T, H, W; result: N, C_out, ``part.n_outputs``, H, W.
    """
    is_half = x.dtype == torch.bfloat16
    if not is_half:
        _check_kind(x)
    kernels, bias, pool_sign, pool_shift = _ready(
        folded.kernels, folded.bias, folded.pool_sign, folded.pool_shift
    )
    weights, biases = _ready(*folded.weights), _ready(*folded.biases)
    n_clips, channels, timesteps, height, width = x.shape
    n_groups, rows, depth = kernels.shape
    checks.require(channels == n_groups * depth, "x", f"have {n_groups * depth} channels", channels)
    positions = height * width
    x = x if _has_whole_rows(x) else x.contiguous()
    constants = folded.taps, folded.pool_offset
    layer = describe_layer(
        rows, n_groups, depth, timesteps, positions, bias, weights, biases, *constants
    )
    layer.kernels, layer.pool_sign = kernels.data_ptr(), pool_sign.data_ptr()
    layer.pool_shift = pool_shift.data_ptr()
    described = Part(
        part.n_before,
        timesteps,
        part.is_last,
        part.n_outputs_before,
        part.n_outputs,
        x.stride(0),
        x.stride(1),
        None if rings is None else rings.data_ptr(),
    )
    out = x.new_empty(n_clips, n_groups * rows, part.n_outputs, height, width)
    entry = "timeception_evaluate_bfloat16" if is_half else "timeception_evaluate"
    addresses = Address(x.data_ptr()), Address(out.data_ptr())
    if n_clips:
        _call(entry, ctypes.byref(layer), ctypes.byref(described), *addresses, n_clips)
    return out


def new_rings(x: Tensor, out_channels: int) -> Tensor:
    """Room for the recent timesteps of a layer, for inputs like x."""
    library = build.load()
    n_clips, _, _, height, width = x.shape
    n_floats = n_clips * out_channels * library.timeception_ring() * height * width
    return torch.zeros(n_floats + library.timeception_vector())


def _has_whole_rows(x: Tensor) -> bool:
    """Whether T, H, W of each channel lie one after another, as in a slice of timesteps."""
    _, _, timesteps, height, width = x.shape
    sizes, strides = (timesteps, height, width), (height * width, width, 1)
    return all(
        size == 1 or given == wanted
        for size, given, wanted in zip(sizes, x.stride()[2:], strides, strict=True)
    )


def _evaluate_shape(x: Tensor, kernels: Tensor, *_rest: Any) -> Tensor:
    n_clips, _, timesteps, height, width = x.shape
    channels = kernels.shape[0] * kernels.shape[1]
    return x.new_empty(n_clips, channels, timesteps // 2, height, width)


@torch.library.impl("timeception::mix", "cpu")
def _mix(
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
    y, bias, norm_weight, norm_bias = _ready(y, bias, norm_weight, norm_bias)
    weights, biases = _ready(*weights), _ready(*biases)
    mean, variance = (tensor.clone() for tensor in _ready(running_mean, running_var))
    n_clips, channels, timesteps, positions = y.shape
    rows = channels // n_groups
    layer = describe_layer(
        rows, n_groups, 0, timesteps, positions, bias, weights, biases, taps, pool_offset
    )
    norm = Norm.of(norm_weight, norm_bias, mean, variance, eps, by_batch)
    out = y.new_empty(n_clips, channels, timesteps // 2, positions)
    addresses = Address(y.data_ptr()), Address(out.data_ptr())
    _call("timeception_mix", ctypes.byref(layer), ctypes.byref(norm), *addresses, n_clips)
    return out, mean, variance


def _mix_shape(y: Tensor, *_rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    n_clips, channels, timesteps, positions = y.shape
    out = y.new_empty(n_clips, channels, timesteps // 2, positions)
    return out, y.new_empty(channels), y.new_empty(channels)


@torch.library.impl("timeception::mix_backward", "cpu")
def _mix_backward(
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
    grad_out, y, bias, norm_weight, norm_bias = _ready(grad_out, y, bias, norm_weight, norm_bias)
    weights, biases = _ready(*weights), _ready(*biases)
    n_clips, channels, timesteps, positions = y.shape
    rows = channels // n_groups
    layer = describe_layer(
        rows, n_groups, 0, timesteps, positions, bias, weights, biases, taps, pool_offset
    )
    norm = Norm.of(norm_weight, norm_bias, mean, variance, eps, by_batch)
    results = [torch.empty_like(t) for t in (y, bias, *weights, *biases, norm_weight, norm_bias)]
    gradients = Gradients.into(results)
    _call(
        "timeception_mix_backward",
        ctypes.byref(layer),
        ctypes.byref(norm),
        Address(y.data_ptr()),
        Address(grad_out.data_ptr()),
        ctypes.byref(gradients),
        n_clips,
    )
    return results


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


def _keep(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    y, bias, weights, biases, norm_weight, norm_bias, _, _, *constants = inputs
    _, mean, variance = output
    ctx.mark_non_differentiable(mean, variance)
    ctx.save_for_backward(y, bias, *weights, *biases, norm_weight, norm_bias, mean, variance)
    ctx.constants = constants


def _backward(ctx: Any, grad_out: Tensor, *_: Any) -> tuple:
    y, bias, *convs, norm_weight, norm_bias, mean, variance = ctx.saved_tensors
    arrays = bias, convs[:3], convs[3:], norm_weight, norm_bias, mean, variance
    d = torch.ops.timeception.mix_backward(grad_out, y, *arrays, *ctx.constants)
    return d[0], d[1], d[2:5], d[5:8], d[8], d[9], *([None] * 7)


torch.library.register_fake("timeception::evaluate", _evaluate_shape)
torch.library.register_fake("timeception::mix", _mix_shape)
torch.library.register_fake("timeception::mix_backward", _mix_backward_shape)
torch.library.register_autograd("timeception::mix", _backward, setup_context=_keep)
