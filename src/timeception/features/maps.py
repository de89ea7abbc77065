"""Averaging of spatial maps, in numpy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from timeception import checks

Floats = NDArray[np.float32]


def average_maps(features: Floats, map_size: tuple[int, int]) -> Floats:
    """Average spatial maps down to ``map_size``, with bins that cover the map evenly.

    Shape:
        (..., H, W) -> (..., height, width)

    Raises:
        ValueError: if the maps are smaller than ``map_size``.

    Source: PyTorch's ``adaptive_avg_pool2d``, which defines the bins.

    Example:
        >>> average_maps(np.arange(4, dtype=np.float32).reshape(1, 2, 2), (1, 1)).tolist()
        [[[1.5]]]
    """
    height, width = features.shape[-2:]
    fits = map_size[0] <= height and map_size[1] <= width
    checks.require(fits, "map_size", f"be at most the features' own {height}x{width}", map_size)
    if (height, width) == tuple(map_size):
        return features
    cells = np.kron(_bins(height, map_size[0]), _bins(width, map_size[1]))
    averaged = features.reshape(-1, height * width) @ cells.T
    return averaged.reshape(*features.shape[:-2], *map_size)


@lru_cache
def _bins(size: int, bins: int) -> Floats:
    """(bins, size) matrix whose rows average the cells of one bin."""
    matrix = np.zeros((bins, size), dtype=np.float32)
    for index in range(bins):
        start, stop = index * size // bins, -(-(index + 1) * size // bins)
        matrix[index, start:stop] = 1 / (stop - start)
    return matrix
