"""PyTorch's part in saving and loading classifiers, with the Hugging Face hub's mixin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from huggingface_hub import ModelHubMixin
from torch import nn

from timeception import checks
from timeception.weights import pretrained


class Pretrained(
    pretrained.Pretrained,
    nn.Module,
    ModelHubMixin,
    library_name="timeception",
    license="gpl-3.0",
    paper_url="https://arxiv.org/abs/1812.01289",
    pipeline_tag="video-classification",
    tags=["timeception"],
):
    """A module with a ``spec``, saved as ``model.safetensors`` and ``config.json``.

    ``save_pretrained(folder)`` and ``push_to_hub(hub_id)`` come from ``huggingface_hub``.
    """

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, folder_or_hub_id: str | Path = "", **hub_options: Any
    ) -> Self:
        """Load a saved model in evaluation mode; see ``weights.pretrained``."""
        if "pretrained_model_name_or_path" in hub_options:
            checks.warn_renamed("pretrained_model_name_or_path", "folder_or_hub_id")
            folder_or_hub_id = hub_options.pop("pretrained_model_name_or_path")
        return super().from_pretrained(folder_or_hub_id, **hub_options)

    @classmethod
    def from_arrays(cls, spec: Any, arrays: Mapping[str, np.ndarray], pipeline: Any = None) -> Self:
        """Build the module of ``spec`` with canonical arrays, in evaluation mode."""
        return super().from_arrays(spec, arrays, pipeline).eval()

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Load canonical arrays."""
        self.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the canonical arrays, as float32 copies on the CPU."""
        named = self.state_dict().items()
        return {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in named}
