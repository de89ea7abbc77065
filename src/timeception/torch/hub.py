"""Saving and loading of models as folders and on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from huggingface_hub import ModelHubMixin
from torch import nn

from timeception import checks
from timeception.weights.folder import ModelSpec, read_folder, write_folder


class Pretrained(
    nn.Module,
    ModelHubMixin,
    library_name="timeception",
    license="gpl-3.0",
    paper_url="https://arxiv.org/abs/1812.01289",
    pipeline_tag="video-classification",
    tags=["timeception"],
):
    """A module with a ``spec``, saved as ``model.safetensors`` and ``config.json``.

    ``save_pretrained(folder)`` and ``push_to_hub(hub_id)`` are those of ``huggingface_hub``.
    """

    spec: Any
    pipeline: dict[str, Any] | None
    spec_class: ClassVar[type]

    @classmethod
    def from_spec(cls, spec: Any, pipeline: Any = None) -> Self:
        """Build the module that ``spec`` describes."""
        raise TypeError(f"{cls.__name__} has no spec")

    @classmethod
    def from_pretrained(  # the mixin's own reads the constructor's arguments from config.json
        cls, pretrained_model_name_or_path: str | Path, **hub_options: Any
    ) -> Self:
        """Load a saved model, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder that ``save_pretrained`` wrote, or a hub id.
            hub_options: ``revision``, ``cache_dir``, ``token``, ``force_download``,
                ``local_files_only``, as ``huggingface_hub.snapshot_download`` takes them.

        Raises:
            ValueError: if the folder holds another kind of model, or arrays that do not fit.
        """
        spec, arrays, pipeline = read_folder(pretrained_model_name_or_path, **hub_options)
        checks.require(
            isinstance(spec, cls.spec_class),
            "pretrained_model_name_or_path",
            f"hold a {cls.__name__}",
            type(spec).__name__,
        )
        return cls.from_arrays(spec, arrays, pipeline)

    @classmethod
    def from_arrays(
        cls,
        spec: ModelSpec,
        arrays: dict[str, np.ndarray],
        pipeline: dict[str, Any] | None = None,
    ) -> Self:
        """Build the module of ``spec`` with canonical arrays, in evaluation mode."""
        model = cls.from_spec(spec, pipeline)
        model.load_state_dict({name: torch.tensor(a) for name, a in arrays.items()})
        return model.eval()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The canonical arrays, float32 on the CPU: copies, which training does not change."""
        named = self.state_dict().items()
        return {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in named}

    def _save_pretrained(self, save_directory: Path) -> None:
        write_folder(save_directory, self.spec, self.to_arrays(), self.pipeline)
