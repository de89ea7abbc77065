"""Timeception layers on padded batches: each video gives what it gives alone."""

from __future__ import annotations

import torch
from torch import Tensor

from timeception.spec import LayerSpec
from timeception.torch import functional
from timeception.torch.layers import BatchNorm, TimeceptionLayer


def step_mask(lengths: Tensor, timesteps: int) -> Tensor:
    """Return which timesteps belong to each video.

    Shape:
        lengths: N; result: N, ``timesteps``, boolean.
    """
    return torch.arange(timesteps, device=lengths.device) < lengths[:, None]


def repeat_last_step(x: Tensor, lengths: Tensor, min_timesteps: int) -> tuple[Tensor, Tensor]:
    """Lengthen videos that are shorter than ``min_timesteps`` by repeating their last timestep.

    Args:
        x: padded videos; what they contain after their length does not matter.
        lengths: timesteps of each video, at least 1.
        min_timesteps: timesteps that each video shall have.

    Shape:
        x: N, C, T, H, W; lengths: N; results: N, C, max(T, ``min_timesteps``), H, W, and N.
    """
    lengthened = lengths.clamp(min=min_timesteps)
    if x.shape[2] >= min_timesteps and bool((lengths >= min_timesteps).all()):
        return x, lengths
    steps = torch.arange(max(x.shape[2], min_timesteps), device=x.device)
    source = torch.minimum(steps, lengths[:, None] - 1)  # N, T
    index = source[:, None, :, None, None].expand(-1, x.shape[1], -1, *x.shape[3:])
    return x.gather(2, index), lengthened


def masked_layer(layer: TimeceptionLayer, x: Tensor, lengths: Tensor) -> Tensor:
    """Apply a layer to padded videos.

    The temporal convolutions see zeros after a video's end, the maximum of branch 5 sees nothing,
    and batch norm takes its statistics from the videos' own timesteps.

    Args:
        layer: the layer.
        x: padded videos.
        lengths: timesteps of each video, at least 2.

    Shape:
        x: N, C, T, H, W; lengths: N; result: N, C', T // 2, H, W, of which each video's first
        ``lengths // 2`` timesteps are valid.
    """
    spec, (n_videos, _, timesteps, height, width) = layer.spec, x.shape
    mask = step_mask(lengths, timesteps)
    inside = mask[:, None, None, :, None]  # N, G, C_b, T, S of a branch
    y = functional.grouped_pointwise(x, layer.pointwise.weight, layer.pointwise.bias, spec)
    branches = list(y.unbind(2))
    kernels = zip(layer.temporal_kernels(), spec.taps, strict=True)
    for index, ((weight, bias), taps) in enumerate(kernels, start=1):
        zeroed = torch.where(inside, branches[index], 0)
        branches[index] = functional.temporal_conv(zeroed, weight, bias, taps)
    branches[-1] = _maximum_inside(branches[-1], inside, spec)
    y = torch.stack(branches, dim=2).flatten(1, 3)  # N, C_out, T, H * W
    y = masked_batch_norm(layer.norm, y, mask).relu()
    y = functional.temporal_pool(functional.shuffle(y, spec.n_groups), axis=2)
    return y.view(n_videos, spec.out_channels, -1, height, width)


def _maximum_inside(branch: Tensor, inside: Tensor, spec: LayerSpec) -> Tensor:
    """Compute branch 5 over each video's own timesteps; the others become zero."""
    lowest = torch.where(inside, branch, -torch.inf)
    return torch.where(inside, functional.temporal_maximum(lowest, spec.pool_lookahead), 0)


def masked_batch_norm(norm: BatchNorm, x: Tensor, mask: Tensor) -> Tensor:
    """Normalise by statistics of the timesteps in ``mask``; in evaluation, by the moving ones.

    Shape:
        x: N, C, T, S; mask: N, T; result: N, C, T, S, zero outside the mask.
    """
    inside = mask[:, None, :, None]
    if not norm.training:
        return torch.where(inside, norm(x), 0)
    n_values = (mask.sum() * x.shape[3]).to(torch.promote_types(x.dtype, torch.float32))
    mean = torch.where(inside, x, 0).sum((0, 2, 3)) / n_values
    centred = torch.where(inside, x - mean[:, None, None], 0)
    variance = centred.square().sum((0, 2, 3)) / n_values
    norm.update(mean.detach(), variance.detach() * (n_values / (n_values - 1).clamp(min=1)))
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    scaled = centred * scale[:, None, None] + norm.bias[:, None, None]
    return torch.where(inside, scaled, 0)
