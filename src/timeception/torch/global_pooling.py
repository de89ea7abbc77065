"""Global pooling: from the features of all timesteps to the vector that the classifier takes."""

from __future__ import annotations

from torch import Tensor

from timeception.spec import ClassifierSpec


def global_pool(features: Tensor, spec: ClassifierSpec) -> Tensor:
    """Take the maximum over time, and over space unless ``spec.map_size`` is given.

    Shape:
        features: N, C, T, H, W; result: N, C, or N, C * H * W ordered (C, H, W).

    Raises:
        ValueError: if the maps do not have ``spec.map_size``.
    """
    if spec.map_size is None:
        return features.amax((2, 3, 4))
    spec.check_map_size(features.shape[3:])
    return features.amax(2).flatten(1)
