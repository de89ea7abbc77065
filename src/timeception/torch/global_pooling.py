"""Global pooling: from the features of all timesteps to the vector that the classifier takes."""

from __future__ import annotations

from torch import Tensor

from timeception import checks


def global_pool(features: Tensor, map_size: tuple[int, int] | None) -> Tensor:
    """Take the maximum over time, and over space unless ``map_size`` is given.

    Args:
        features: output of the last layer.
        map_size: ``None``, or the (H, W) that the classifier was built for.

    Shape:
        features: N, C, T, H, W; result: N, C, or N, C * H * W ordered (C, H, W).

    Raises:
        ValueError: if the maps do not have ``map_size``.
    """
    if map_size is None:
        return features.amax((2, 3, 4))
    size = tuple(features.shape[3:])
    checks.require(
        size == map_size,
        "input",
        f"have maps of map_size={map_size} (H, W)",
        size,
        "Resize the maps, or build the classifier with map_size=None.",
    )
    return features.amax(2).flatten(1)
