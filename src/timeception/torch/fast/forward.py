"""The one place that chooses how a layer runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from timeception.torch import functional
from timeception.torch.fast.epilogue import Epilogue, Moments
from timeception.torch.fast.native import operators

if TYPE_CHECKING:
    from timeception.torch.layers import TimeceptionLayer


def forward(layer: TimeceptionLayer, x: Tensor) -> Tensor:
    """Compute ``layer.plain(x)`` in the fastest way.

    - Batch normalisation over several processes: the plain form.
    - ``layer.implementation == "native"``: C++ kernels.
    - Under ``torch.compile`` and ``torch.export``: the plain form, which compilers fuse.
    - Otherwise: PyTorch operations that recompute activations in the backward pass.
    """
    if layer.norm.is_synchronised and layer.norm.training:
        return layer.plain(x)
    if layer.implementation == "native":
        y, moments = _native(layer, x)
    elif torch.compiler.is_compiling():
        return layer.plain(x)
    else:
        y, moments = _recomputed(layer, x)
    if layer.norm.training:
        layer.norm.update(*moments)
    return y.view(x.shape[0], layer.spec.out_channels, x.shape[2] // 2, *x.shape[3:])


def _recomputed(layer: TimeceptionLayer, x: Tensor) -> tuple[Tensor, Moments]:
    norm = layer.norm
    y = functional.grouped_pointwise(x, layer.pointwise.weight, layer.pointwise.bias, layer.spec)
    epilogue = Epilogue(layer.spec, norm.eps, norm.training)
    moments = Moments(norm.running_mean, norm.running_var)
    return epilogue(y, layer.temporal_kernels(), (norm.weight, norm.bias), moments)


def _native(layer: TimeceptionLayer, x: Tensor) -> tuple[Tensor, Moments]:
    norm, spec = layer.norm, layer.spec
    weights, biases = map(list, zip(*layer.temporal_kernels(), strict=True))
    y = functional.grouped_pointwise(x, layer.pointwise.weight, None, spec).flatten(1, 3)
    affine, moments = (norm.weight, norm.bias), (norm.running_mean, norm.running_var)
    arrays = layer.pointwise.bias, weights, biases, *affine, *moments
    taps = [offset for taps in spec.taps for offset in taps]
    constants = norm.eps, norm.training, spec.n_groups, taps, spec.pool_offset
    arguments = operators.EpilogueArguments(*arrays, *constants)
    out, mean, variance = operators.epilogue(y, arguments)
    n_values = y.numel() // y.shape[1]
    return out, Moments(mean, variance * (n_values / (n_values - 1)))
