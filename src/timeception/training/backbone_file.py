"""Backbones of recipes, and the file of a backbone that was trained with its head."""

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

#: Prefix of the backbone's tensor names among those of the whole model.
BACKBONE_PREFIX = "backbone."
TRAINED = "trained with its head"


def make_backbone(section: BackboneSection) -> Backbone:
    """Create the backbone of a recipe, with its preprocessing.

    Raises:
        ValueError: if it is unknown, or differs from the section in segment length or channels.
    """
    from timeception.backbones import create_backbone

    backbone = create_backbone(
        section.name, section.weights, section.endpoint, **dict(section.options)
    )
    sizes = {"resize": section.resize, "crop": section.crop}
    given = {name: size for name, size in sizes.items() if size is not None}
    backbone.transform = backbone.transform.replace(**given)
    for field, value in (
        ("frames_per_segment", backbone.frames_per_segment),
        ("channels", backbone.out_channels),
    ):
        wanted = getattr(section, field)
        must = f"be {value}, the value of {section.name} at {backbone.endpoint}"
        checks.require(wanted in (None, value), f"backbone.{field}", must, wanted)
    return backbone


def save_backbone(backbone: Backbone, folder: Path) -> dict[str, Any]:
    """Write the tensors on which a trained backbone's endpoint depends.

    Returns:
        The backbone's description; its weights are those of the file.
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
        folder: folder of the saved model.
        record: the description that ``save_backbone`` returned.
        weights: checkpoint that training started from; required if only its tensors determine
            the layout of the network (some 3D-ResNets).

    Raises:
        ValueError: if the tensors in the file do not fit the backbone.
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
    """Check names and shapes; the error says what to do about another layout."""
    checks.same_names(f"{path} (for another layout, pass --weights FILE)", expected, tensors)
    wrong = [n for n, tensor in expected.items() if tuple(tensor.shape) != tensors[n].shape]
    advice = (
        "Pass --weights FILE with the checkpoint that training started from; "
        "it determines the layout."
    )
    checks.require(not wrong, f"{path}", "hold tensors of the backbone's shapes", wrong[:4], advice)


def read_tensors(folder: Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a saved backbone, by name."""
    return {name: np.asarray(array) for name, array in load_file(folder / BACKBONE_FILE).items()}


def used(backbone: Backbone) -> dict[str, Tensor]:
    """Return the tensors that the endpoint depends on, without a classifier that follows it.

    A backward pass on meta tensors, which holds no data, finds them.
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
