"""Batch normalisation over the clips of all processes, on any device."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def sum_over_processes(x: Tensor) -> Tensor:
    """Sum a tensor over all processes, with gradients."""
    return _SumOverProcesses.apply(x)


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance (biased) and number of the values of each channel, axis 1.

    All processes must call it together; a process may have no clips. PyTorch's ``SyncBatchNorm``
    does the same on GPUs only.

    Shape:
        x: N, C, ...; result: C, C and a scalar.
    """
    axes = [axis for axis in range(x.dim()) if axis != 1]
    n_local = x.new_tensor([x.numel() // x.shape[1]], dtype=torch.float32)
    total = sum_over_processes(torch.cat([x.float().sum(axes), n_local]))
    n = total[-1].detach()
    mean = total[:-1] / n
    shape = (1, -1, *(1 for _ in axes[1:]))
    squares = (x.float() - mean.view(shape)).square().sum(axes)
    return mean, sum_over_processes(squares) / n, n
