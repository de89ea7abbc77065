"""The C++ kernels as PyTorch operators, for float32 on the CPU (``evaluate``: bfloat16 too).

``evaluate`` is a whole layer with its batch norm folded in. ``epilogue`` is all that follows the
pointwise convolutions in training, with its gradient. Both are registered with ``define`` and
``impl``, because ``custom_op`` would import the compiler's machinery at the first call.
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
    GradientsStruct,
    LayerStruct,
    NormStruct,
    PartStruct,
    describe_layer,
)

_ARRAYS = "Tensor bias, Tensor[] weights, Tensor[] biases, Tensor norm_weight, Tensor norm_bias"
_MOMENTS = "Tensor mean, Tensor variance"
_CONSTANTS = "float eps, bool by_batch, int n_groups, int[] taps, int pool_offset"

torch.library.define(
    "timeception::evaluate",
    "(Tensor x, Tensor kernels, Tensor bias, Tensor[] weights, Tensor[] biases, "
    "Tensor pool_sign, Tensor pool_shift, int[] taps, int pool_offset) -> Tensor",
)
torch.library.define(
    "timeception::epilogue",
    f"(Tensor y, {_ARRAYS}, {_MOMENTS}, {_CONSTANTS}) -> (Tensor, Tensor, Tensor)",
)
torch.library.define(
    "timeception::epilogue_backward",
    f"(Tensor grad_out, Tensor y, {_ARRAYS}, {_MOMENTS}, {_CONSTANTS}) -> Tensor[]",
)


class FoldedArrays(NamedTuple):
    """The arrays of a layer whose batch norm has been folded in (see ``fast/fused.py``).

    Args:
        kernels: pointwise kernels, G, 5 * C_b, C / G.
        bias: pointwise biases, G, 5 * C_b.
        weights: kernels of the three temporal convolutions, G * C_b, k.
        biases: biases of the three temporal convolutions, G * C_b.
        pool_sign: sign of the scale of branch 5, G * C_b.
        pool_shift: shift of branch 5, G * C_b.
        taps: temporal offsets of all three convolutions, in a row.
        pool_offset: offset of the second timestep in branch 5.
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
    """The position of an input in its video.

    Args:
        n_before: timesteps in earlier parts.
        is_last: whether the video ends with this part.
        n_outputs_before: output steps returned for earlier parts.
        n_outputs: output steps that this part completes.
    """

    n_before: int
    is_last: bool
    n_outputs_before: int
    n_outputs: int


class EpilogueArguments(NamedTuple):
    """The arguments of ``epilogue`` besides its input.

    Args:
        bias: pointwise biases, C_out.
        weights: kernels of the three temporal convolutions, G * C_b, k.
        biases: biases of the three temporal convolutions, G * C_b.
        norm_weight: scale of the batch norm, C_out.
        norm_bias: shift of the batch norm, C_out.
        mean: used unless ``by_batch``, C_out.
        variance: used unless ``by_batch``, C_out.
        eps: added to the variance.
        by_batch: normalise by the statistics of the batch, as in training.
        n_groups: channel groups.
        taps: temporal offsets of all three convolutions, in a row.
        pool_offset: offset of the second timestep in branch 5.
    """

    bias: Tensor
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    norm_weight: Tensor
    norm_bias: Tensor
    mean: Tensor
    variance: Tensor
    eps: float
    by_batch: bool
    n_groups: int
    taps: Sequence[int]
    pool_offset: int

    def trainable(self) -> list[Tensor]:
        """Return the arrays that have a gradient, in the order of ``epilogue_backward``."""
        return [self.bias, *self.weights, *self.biases, self.norm_weight, self.norm_bias]

    def describe(self, y: Tensor) -> tuple[LayerStruct, NormStruct]:
        """Fill the structs for an input; the arrays must outlive them."""
        _, channels, timesteps, positions = y.shape
        rows = channels // self.n_groups
        layer = describe_layer(self, self.n_groups, rows, 0, timesteps, positions)
        norm = self.norm_weight, self.norm_bias, self.mean, self.variance
        return layer, NormStruct(*(each.data_ptr() for each in norm), self.eps, self.by_batch)


def evaluate(x: Tensor, folded: FoldedArrays) -> Tensor:
    """Compute a layer in evaluation; sums are in float32.

    Shape:
        x: N, C, T, H, W, float32 or bfloat16; result: N, C_out, T // 2, H, W.

    Raises:
        ValueError: if a tensor has another type or is not on the CPU, or x does not fit.
    """
    return torch.ops.timeception.evaluate(x, *folded)


def epilogue(y: Tensor, arguments: EpilogueArguments) -> tuple[Tensor, Tensor, Tensor]:
    """Compute temporal branches, batch norm, ReLU, shuffle and pooling.

    Shape:
        y: N, C_out, T, S, pointwise products without their biases; result: N, C_out, T // 2, S.

    Returns:
        The output, and the mean and the (biased) variance used for normalisation, C_out each.

    Raises:
        ValueError: if a tensor is not float32 on the CPU.
    """
    return torch.ops.timeception.epilogue(y, *arguments)


def _call(entry: str, *arguments: Tensor | ctypes.Structure | int) -> None:
    """Call a kernel; tensors and structs are passed by address."""
    passed = [_address(argument) for argument in arguments]
    if not getattr(build.load(), entry)(*passed, torch.get_num_threads()):
        raise MemoryError(f"{entry} ran out of memory")


def _address(argument: Tensor | ctypes.Structure | int) -> Any:
    if isinstance(argument, Tensor):
        return Address(argument.data_ptr())
    return ctypes.byref(argument) if isinstance(argument, ctypes.Structure) else argument


def _contiguous(value: Any) -> Any:
    """Return tensors, also those in a sequence, as the kernels read them; others unchanged."""
    if isinstance(value, Tensor):
        _check_type(value)
        return value.contiguous()
    return [_contiguous(each) for each in value] if isinstance(value, Sequence) else value


def _check_type(tensor: Tensor) -> None:
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise ValueError(
            f"the native kernels require float32 on the CPU; got {tensor.dtype} on "
            f"{tensor.device.type}. use_implementation('torch') accepts any type and device."
        )


@torch.library.impl("timeception::evaluate", "cpu")
def _evaluate(x: Tensor, *folded: Any) -> Tensor:
    timesteps = x.shape[2]
    checks.require(timesteps >= 2, "x", "have at least 2 timesteps", timesteps)
    return evaluate_part(x, FoldedArrays(*folded), VideoPart(0, True, 0, timesteps // 2))


def evaluate_part(
    x: Tensor, folded: FoldedArrays, part: VideoPart, rings: Tensor | None = None
) -> Tensor:
    """Compute ``evaluate`` on part of a video.

    ``rings`` are from ``new_rings``; they hold recent timesteps and are changed in place. They are
    ``None`` if x is the whole video.

    Shape:
        x: N, C, T, H, W; result: N, C_out, ``part.n_outputs``, H, W.
    """
    is_half = x.dtype == torch.bfloat16
    if not is_half:
        _check_type(x)
    folded = FoldedArrays(*map(_contiguous, folded))
    n_clips, channels, timesteps, height, width = x.shape
    n_groups, rows, depth = folded.kernels.shape
    checks.require(channels == n_groups * depth, "x", f"have {n_groups * depth} channels", channels)
    x = x if x[:1, :1].is_contiguous() else x.contiguous()  # clips and channels may be apart
    layer = describe_layer(folded, n_groups, rows, depth, timesteps, height * width)
    layer.kernels = folded.kernels.data_ptr()
    layer.pool_sign, layer.pool_shift = folded.pool_sign.data_ptr(), folded.pool_shift.data_ptr()
    steps = part.n_before, timesteps, part.is_last, part.n_outputs_before, part.n_outputs
    memory = None if rings is None else rings.data_ptr()
    out = x.new_empty(n_clips, n_groups * rows, part.n_outputs, height, width)
    entry = "timeception_evaluate_bfloat16" if is_half else "timeception_evaluate"
    if n_clips:
        _call(entry, layer, PartStruct(*steps, *x.stride()[:2], memory), x, out, n_clips)
    return out


def new_rings(x: Tensor, out_channels: int) -> Tensor:
    """Allocate the memory that holds a layer's recent timesteps, for inputs like x."""
    library = build.load()
    n_clips, _, _, height, width = x.shape
    n_floats = n_clips * out_channels * library.timeception_ring() * height * width
    return torch.zeros(n_floats + library.timeception_vector())


def _evaluate_shape(x: Tensor, kernels: Tensor, *_rest: Any) -> Tensor:
    n_clips, _, timesteps, height, width = x.shape
    channels = kernels.shape[0] * kernels.shape[1]
    return x.new_empty(n_clips, channels, timesteps // 2, height, width)


@torch.library.impl("timeception::epilogue", "cpu")
def _epilogue(y: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    given = EpilogueArguments(*map(_contiguous, arguments))
    given = given._replace(mean=given.mean.clone(), variance=given.variance.clone())
    y = _contiguous(y)
    layer, norm = given.describe(y)
    n_clips, channels, timesteps, positions = y.shape
    out = y.new_empty(n_clips, channels, timesteps // 2, positions)
    _call("timeception_epilogue", layer, norm, y, out, n_clips)
    return out, given.mean, given.variance


def _epilogue_shape(y: Tensor, *_rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    n_clips, channels, timesteps, positions = y.shape
    out = y.new_empty(n_clips, channels, timesteps // 2, positions)
    return out, y.new_empty(channels), y.new_empty(channels)


@torch.library.impl("timeception::epilogue_backward", "cpu")
def _epilogue_backward(grad_out: Tensor, y: Tensor, *arguments: Any) -> list[Tensor]:
    """Return the gradients of y and of ``EpilogueArguments.trainable``."""
    given = EpilogueArguments(*map(_contiguous, arguments))
    grad_out, y = _contiguous(grad_out), _contiguous(y)
    layer, norm = given.describe(y)
    results = [torch.empty_like(tensor) for tensor in (y, *given.trainable())]
    gradients = GradientsStruct.into(results)
    _call("timeception_epilogue_backward", layer, norm, y, grad_out, gradients, len(y))
    return results


def _epilogue_backward_shape(grad_out: Tensor, y: Tensor, *arguments: Any) -> list[Tensor]:
    trainable = EpilogueArguments(*arguments).trainable()
    return [torch.empty_like(tensor) for tensor in (y, *trainable)]


def _save_for_backward(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    y, *arguments = inputs
    given, (_, mean, variance) = EpilogueArguments(*arguments), output
    ctx.mark_non_differentiable(mean, variance)
    ctx.save_for_backward(y, *given.trainable(), mean, variance)
    ctx.constants = given[7:]


def _backward(ctx: Any, grad_out: Tensor, *_: Any) -> tuple:
    y, bias, *convs, norm_weight, norm_bias, mean, variance = ctx.saved_tensors
    arrays = bias, convs[:3], convs[3:], norm_weight, norm_bias, mean, variance
    d = torch.ops.timeception.epilogue_backward(grad_out, y, *arrays, *ctx.constants)
    return d[0], d[1], d[2:5], d[5:8], d[8], d[9], *([None] * 7)


torch.library.register_fake("timeception::evaluate", _evaluate_shape)
torch.library.register_fake("timeception::epilogue", _epilogue_shape)
torch.library.register_fake("timeception::epilogue_backward", _epilogue_backward_shape)
torch.library.register_autograd(
    "timeception::epilogue", _backward, setup_context=_save_for_backward
)
