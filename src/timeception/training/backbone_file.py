"""The backbone of a recipe, and one that was trained with its head, as a file beside the head's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from timeception import checks
from timeception.files import sha256_of_file
from timeception.recipes.sections import BackboneSection
from timeception.video import Transform
from timeception.weights.folder import BACKBONE_FILE

if TYPE_CHECKING:
    from torch import Tensor

    from timeception.backbones import Backbone

#: Before the names of the backbone's tensors, where they stand beside the head's.
BACKBONE_PREFIX = "backbone."
TRAINED = "trained with its head"


def make_backbone(section: BackboneSection) -> Backbone:
    """Make the backbone that a recipe names, with its preprocessing.

    Raises:
        ValueError: if it is unknown, or is not what the section says of its segments and channels.
    """
    from timeception.backbones import create_backbone

    backbone = create_backbone(
        section.name, section.weights, section.endpoint, **dict(section.options)
    )
    sizes = {"resize": section.resize, "crop": section.crop}
    told = {name: size for name, size in sizes.items() if size is not None}
    backbone.transform = backbone.transform.replace(**told)
    for field, value in (
        ("frames_per_segment", backbone.frames_per_segment),
        ("channels", backbone.out_channels),
    ):
        wanted = getattr(section, field)
        must = f"be that of {section.name} at {backbone.endpoint} ({value})"
        checks.require(wanted in (None, value), f"backbone.{field}", must, wanted)
    return backbone


def save_backbone(backbone: Backbone, folder: Path) -> dict[str, Any]:
    """Write the tensors that a trained backbone's endpoint depends on.

    Returns:
        The backbone's description, whose weights are the file's.
    """
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in used(backbone).items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / BACKBONE_FILE, metadata={"format": "pt"})
    record = backbone.describe()
    file = {"source": BACKBONE_FILE, "sha256": sha256_of_file(folder / BACKBONE_FILE)}
    record["weights"] |= file | {"family": TRAINED}
    return record


def load_backbone(folder: Path, record: Mapping[str, Any], weights: str | None = None) -> Backbone:
    """Read a backbone that ``save_backbone`` wrote.

    Args:
        folder: of the saved model.
        record: the description that ``save_backbone`` returned.
        weights: file that training began with; needed where its tensors alone tell how the
            network is laid out (some 3D-ResNets).

    Raises:
        ValueError: if the file's tensors are not those of the backbone.
    """
    import torch

    from timeception.backbones import WeightsRecord, create_backbone

    backbone = create_backbone(
        record["name"],
        weights or "random",
        record["endpoint"],
        transform=Transform.from_dict(record["transform"]),
        **record.get("options", {}),
    )
    expected, tensors = used(backbone), read_tensors(folder)
    _require_same(folder / BACKBONE_FILE, expected, tensors)
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(torch.from_numpy(tensors[name]))
    made = record["weights"]
    backbone.weights = WeightsRecord(made["source"], made["family"], made["licence"])
    return backbone


def _require_same(path: Path, expected: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Check names and shapes; the error tells what to do about another layout."""
    checks.same_names(f"{path} (--weights FILE: what training began with)", expected, tensors)
    wrong = [n for n, tensor in expected.items() if tuple(tensor.shape) != tensors[n].shape]
    advice = "Tell --weights FILE, what training began with: its tensors tell the layout."
    checks.require(not wrong, f"{path}", "hold tensors of the backbone's shapes", wrong[:4], advice)


def read_tensors(folder: Path) -> dict[str, NDArray[Any]]:
    """Tensors of a saved backbone, by name."""
    return {name: np.asarray(array) for name, array in load_file(folder / BACKBONE_FILE).items()}


def used(backbone: Backbone) -> dict[str, Tensor]:
    """Tensors that the endpoint depends on: a classifier that comes after it is left out.

    Found by running the network backwards without data: its tensors are meta tensors.
    """
    import torch

    network = backbone.network
    empty = {
        name: torch.empty_like(tensor, device="meta").requires_grad_(tensor.is_floating_point())
        for name, tensor in network.named_parameters()
    }
    buffers = {n: torch.empty_like(b, device="meta") for n, b in network.named_buffers()}
    side = backbone.transform.crop or backbone.transform.resize or 224
    size = (backbone.frames_per_segment, side, side) if backbone.is_video else (side, side)
    frames = torch.empty(1, backbone.in_channels, *size, device="meta")
    with torch.enable_grad():
        tensors = {**empty, **buffers}
        out = torch.func.functional_call(network, tensors, (frames, backbone.endpoint))
        out.sum().backward()
    unused = {name for name, tensor in empty.items() if tensor.grad is None}
    without = {name.rpartition(".")[0] for name in unused} - {
        name.rpartition(".")[0] for name in set(empty) - unused
    }
    return {
        name: tensor
        for name, tensor in network.state_dict(keep_vars=True).items()
        if name not in unused and name.rpartition(".")[0] not in without
    }
