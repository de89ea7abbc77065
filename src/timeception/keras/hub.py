"""Keras's part in saving and loading networks: canonical arrays in and out of its variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from timeception.weights.arrays import check_arrays
from timeception.weights.layouts import from_keras, to_keras
from timeception.weights.pretrained import PretrainedMixin


class HasArrays:
    """A network with a ``spec``, whose variables have canonical names."""

    spec: Any
    built: bool

    def canonical_variables(self) -> dict[str, keras.Variable]:
        """Return all variables by canonical name, once the network is built."""
        raise NotImplementedError

    def build_for_spec(self) -> None:
        """Create the parameters, unless an input has created them already."""
        if not self.built:
            layers = getattr(self.spec, "timeception", self.spec)
            self.build((None, None, None, None, layers.in_channels))  # type: ignore[attr-defined]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the canonical arrays, as float32 copies on the CPU."""
        self.build_for_spec()
        in_float32 = {k: ops.cast(v, "float32") for k, v in self.canonical_variables().items()}
        arrays = {k: np.asarray(ops.convert_to_numpy(v)) for k, v in in_float32.items()}
        return from_keras(self.spec, arrays)

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Load canonical arrays.

        Raises:
            ValueError: if names or shapes do not match ``spec``.
        """
        check_arrays("arrays", self.spec, arrays)
        self.build_for_spec()
        laid_out = to_keras(self.spec, arrays)
        for name, variable in self.canonical_variables().items():
            variable.assign(laid_out[name])


class PretrainedModel(HasArrays, PretrainedMixin):
    """A classifier, saved as ``model.safetensors`` and ``config.json``."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the model; ``from_pretrained`` of any framework reads the folder."""
        self._save_pretrained(Path(folder))
