"""Saving and loading of classifiers, shared by the framework packages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from timeception import checks
from timeception.weights.folder import ModelSpec, read_folder, write_folder


class PretrainedMixin:
    """A classifier with a ``spec``, saved as ``model.safetensors`` and ``config.json``.

    A subclass provides ``from_spec``, ``load_arrays`` and ``to_arrays``. Every framework reads
    what any other has saved.
    """

    spec: Any
    pipeline: dict[str, Any] | None
    spec_class: ClassVar[type]

    @classmethod
    def from_spec(cls, spec: Any, pipeline: Mapping[str, Any] | None = None) -> Self:
        """Build the classifier that ``spec`` describes."""
        raise NotImplementedError

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Load canonical arrays."""
        raise NotImplementedError

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the canonical arrays, as float32 copies on the CPU."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(cls, folder_or_hub_id: str | Path, **hub_options: Any) -> Self:
        """Load a saved model, in evaluation mode where the framework has modes.

        Args:
            folder_or_hub_id: a folder that ``save_pretrained`` of any framework wrote, or a hub id.
            hub_options: ``revision``, ``cache_dir``, ``token``, ``force_download``,
                ``local_files_only``, as in ``huggingface_hub.snapshot_download``.

        Raises:
            ValueError: if the folder holds another kind of model, or arrays that do not fit.
        """
        spec, arrays, pipeline = read_folder(folder_or_hub_id, **hub_options)
        fits, received = isinstance(spec, cls.spec_class), type(spec).__name__
        checks.require(fits, "folder_or_hub_id", f"hold a {cls.__name__}", received)
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

    def _save_pretrained(self, save_directory: Path) -> None:
        write_folder(save_directory, self.spec, self.to_arrays(), self.pipeline)
