"""Fuse batch norms into the convolutions before them, for inference.

In eval mode a batch norm scales and shifts each channel by constants. With these constants in its
weights and bias, a convolution gives the same result, up to rounding, in one pass.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from timeception.backbones.base import Backbone, FeatureNetwork

logger = logging.getLogger(__name__)

#: Rounding is far below this relative change, even with TF32 on a GPU. A network that uses the
#: output of a convolution elsewhere too is far above it.
_MOST_CHANGE = 1e-2


def for_inference(backbone: Backbone, dtype: torch.dtype = torch.float32) -> Backbone:
    """Return a faster backbone with the same features, for inference only.

    It is a copy with fused batch norms and weights of ``dtype``, which the input frames must have
    too; the backbone itself if nothing changes. The given backbone, frozen and in eval mode, is
    not changed.
    """
    network = fuse_batch_norms(backbone)
    if dtype != torch.float32:
        network = (copy.deepcopy(network) if network is backbone.network else network).to(dtype)
    return backbone if network is backbone.network else with_network(backbone, network)


def with_network(backbone: Backbone, network: FeatureNetwork) -> Backbone:
    """Return a copy of a backbone around another network with the same features."""
    return Backbone(
        backbone.name,
        network,
        backbone.transform,
        backbone.weights,
        endpoint=backbone.endpoint,
        frames_per_segment=backbone.frames_per_segment,
        temporal_stride=backbone.temporal_stride,
        batch_size=backbone.batch_size,
    )


def fuse_batch_norms(backbone: Backbone) -> FeatureNetwork:
    """Fuse the batch norms that directly follow a convolution.

    A run on meta tensors finds them, and a run on random frames checks that the result is the
    same. Returns a copy of the backbone's network, or the network itself if nothing can be fused.
    """
    network, endpoint = backbone.network, backbone.endpoint
    n_frames, side = backbone.frames_per_segment, backbone.side
    with _watched(network) as pairs:
        backbone.run_without_data(n_frames, side, side)
    if not pairs:
        return network
    fused = copy.deepcopy(network)
    for convolution, norm in pairs:
        _fuse(fused, convolution, norm)
    size = (n_frames, side, side) if backbone.is_video else (side, side)
    random = torch.randn(1, backbone.in_channels, *size, generator=torch.Generator().manual_seed(0))
    frames = random.to(next(network.parameters()).device)
    with torch.no_grad():
        expected, found = network(frames, endpoint), fused(frames, endpoint)
    change = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not change < _MOST_CHANGE:
        logger.info("batch norms are not fused: features would change by %.2g", change)
        return network
    return fused


@contextmanager
def _watched(network: nn.Module) -> Iterator[list[tuple[str, str]]]:
    """Find pairs of a convolution and the batch norm after it; filled at the exit."""
    made: dict[int, tuple[str, Tensor, int]] = {}
    found: list[tuple[str, str]] = []
    pairs: list[tuple[str, str]] = []
    calls: Counter[str] = Counter()
    handles = []

    def remember(name: str, output: Tensor) -> None:
        calls[name] += 1
        made[id(output)] = (name, output, output._version)  # kept alive, so its id stays unique

    def compare(name: str, x: Tensor) -> None:
        calls[name] += 1
        convolution, output, version = made.get(id(x), ("", None, 0))
        if output is not None and output._version == version:
            found.append((convolution, name))

    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            hook: Any = lambda _, __, output, name=name: remember(name, output)  # noqa: E731
            handles.append(module.register_forward_hook(hook))
        elif isinstance(module, _BatchNorm) and module.running_mean is not None:
            hook = lambda _, inputs, name=name: compare(name, inputs[0])  # noqa: E731
            handles.append(module.register_forward_pre_hook(hook))
    try:
        yield pairs
    finally:
        for handle in handles:
            handle.remove()
    pairs += [pair for pair in found if calls[pair[0]] == calls[pair[1]] == 1]


def _fuse(network: nn.Module, convolution: str, norm: str) -> None:
    conv: Any = network.get_submodule(convolution)
    bn: Any = network.get_submodule(norm)
    tensors = (conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.weight, bn.bias)
    wide: list[Any] = [None if t is None else t.detach().cpu().double() for t in tensors]
    weight, bias, mean, variance, scale, shift = wide
    fused = fuse_conv_bn_weights(weight, bias, mean, variance, bn.eps, scale, shift)
    conv.weight, conv.bias = (
        nn.Parameter(tensor.detach().to(conv.weight), requires_grad=False) for tensor in fused
    )
    # timm's norms include the following dropout and activation
    after = [getattr(bn, name) for name in ("drop", "act") if hasattr(bn, name)]
    network.set_submodule(norm, nn.Sequential(*after))
