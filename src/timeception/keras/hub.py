"""Canonical arrays in and out of Keras networks; saved-model folders and the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np

from timeception import checks
from timeception.weights.arrays import check_arrays
from timeception.weights.folder import ModelSpec, read_folder, write_folder
from timeception.weights.layouts import from_keras, to_keras


class HasArrays:
    """A network with a ``spec``, whose variables are known by canonical names."""

    spec: Any
    built: bool

    def canonical_variables(self) -> dict[str, keras.Variable]:
        """All variables under their canonical names, once the network is built."""
        raise NotImplementedError(f"{type(self).__name__} names no variables")

    def build_for_spec(self) -> None:
        """Make the parameters, if no input has made them yet."""
        if not self.built:
            layers = getattr(self.spec, "timeception", self.spec)
            self.build((None, None, None, None, layers.in_channels))  # type: ignore[attr-defined]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The canonical arrays, float32 on the CPU."""
        self.build_for_spec()
        variables = self.canonical_variables()
        arrays = {k: np.asarray(_to_numpy(v), np.float32) for k, v in variables.items()}
        return from_keras(self.spec, arrays)

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take canonical arrays as the values of the variables.

        Raises:
            ValueError: if the arrays are not those of ``spec``.
        """
        check_arrays("arrays", self.spec, arrays)
        self.build_for_spec()
        laid_out = to_keras(self.spec, arrays)
        for name, variable in self.canonical_variables().items():
            variable.assign(laid_out[name])


class Pretrained(HasArrays):
    """A classifier, saved as ``model.safetensors`` and ``config.json``: one folder for all."""

    pipeline: dict[str, Any] | None
    spec_class: ClassVar[type]

    @classmethod
    def from_spec(cls, spec: Any, pipeline: Any = None, **kwargs: Any) -> Self:
        """Build the classifier that ``spec`` describes."""
        raise NotImplementedError(f"{cls.__name__} has no spec")

    @classmethod
    def from_pretrained(cls, folder_or_hub_id: str | Path, **hub_options: Any) -> Self:
        """Load a saved model, whichever framework saved it.

        Args:
            folder_or_hub_id: a folder that ``save_pretrained`` wrote, or a hub id.
            hub_options: ``revision``, ``cache_dir``, ``token``, ``force_download``,
                ``local_files_only``, as ``huggingface_hub.snapshot_download`` takes them.

        Raises:
            ValueError: if the folder holds another kind of model, or arrays that do not fit.
        """
        spec, arrays, pipeline = read_folder(folder_or_hub_id, **hub_options)
        checks.require(
            isinstance(spec, cls.spec_class),
            "folder_or_hub_id",
            f"hold a {cls.__name__}",
            type(spec).__name__,
        )
        return cls.from_arrays(spec, arrays, pipeline)

    @classmethod
    def from_arrays(
        cls,
        spec: ModelSpec,
        arrays: Mapping[str, np.ndarray],
        pipeline: Mapping[str, Any] | None = None,
    ) -> Self:
        """Build the classifier of ``spec`` with canonical arrays."""
        model = cls.from_spec(spec, pipeline)
        model.load_arrays(arrays)
        return model

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the model; ``from_pretrained`` of any framework reads the folder."""
        write_folder(folder, self.spec, self.to_arrays(), self.pipeline)


def _to_numpy(variable: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))
