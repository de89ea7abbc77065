"""Global pooling: from the features of all timesteps to the vector that the classifier takes."""

from __future__ import annotations

from torch import Tensor

from timeception import checks
from timeception.spec import ClassifierSpec


class GlobalPooling:
    """The global pooling of a classifier with a ``spec``."""

    spec: ClassifierSpec

    def global_pool(self, features: Tensor) -> Tensor:
        """Take the maximum over time, and over space unless ``spec.map_size`` is given.

        Shape:
            features: N, C, T, H, W; result: N, C, or N, C * H * W ordered (C, H, W).

        Raises:
            ValueError: if the maps do not have ``spec.map_size``.
        """
        if self.spec.map_size is None:
            return features.amax((2, 3, 4))
        self.spec.check_map_size(features.shape[3:])
        return features.amax(2).flatten(1)

    def readout(self, features: Tensor) -> Tensor:
        """Deprecated name of ``global_pool``."""
        checks.warn_renamed("readout", "global_pool")
        return self.global_pool(features)
