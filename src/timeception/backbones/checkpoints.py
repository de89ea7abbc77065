"""Checkpoint files of backbones, read without running code and recognised by content.

The first bytes identify the file format (PyTorch, safetensors, a Caffe2 pickle), and the name of a
tensor identifies the family. File name extensions are ignored.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from timeception import checks
from timeception.weights.containers import container_of
from timeception.weights.safe_pickle import load_arrays

State = dict[str, Tensor]

#: Keys under which training scripts store the network's tensors, most likely first.
_WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "blobs")
_PREFIXES = ("module.", "model.", "_orig_mod.")
_NEED = "be a PyTorch, safetensors or Caffe2 pickle file of weights"
_BATCH_COUNTER = "num_batches_tracked"

#: Training scripts store a best score as a numpy scalar beside the weights.
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i8"))]
_HARMLESS += [(_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]


@dataclass(frozen=True)
class Family:
    """A kind of checkpoint.

    The tensor named ``signature``, with ``rank`` dimensions, identifies it; ``backbones`` names the
    backbones that load it.
    """

    key: str
    title: str
    signature: str
    rank: int
    backbones: str


_LITE, _R3D, _KENSHOHARA = "efficientnet_lite0", "r3d_50, r3d_101", "r3d_101_kenshohara"
FAMILIES = (
    Family("lite", "EfficientNet-Lite (ml-illustrated)", "_conv_stem.weight", 4, _LITE),
    Family("timm", "EfficientNet (timm)", "conv_stem.weight", 4, "timm:NAME"),
    Family("vit", "ViT (timm)", "patch_embed.proj.weight", 4, "timm:NAME"),
    Family("resnet2d", "2D-ResNet (torchvision, timm)", "layer1.0.conv1.weight", 4, "r2d_152"),
    Family("piergiaj", "I3D (piergiaj)", "Conv3d_1a_7x7.conv3d.weight", 5, "i3d"),
    Family("video_features", "I3D (video_features)", "conv3d_1a_7x7.conv3d.weight", 5, "i3d"),
    Family("pytorchvideo", "3D-ResNet (PyTorchVideo)", "blocks.0.conv.weight", 5, _R3D),
    Family("pyslowfast", "3D-ResNet (PySlowFast)", "s1.pathway0_stem.conv.weight", 5, _R3D),
    Family("caffe2", "3D-ResNet (Caffe2)", "res2_0_branch2a_w", 5, _R3D),
    Family("kenshohara", "3D-ResNet (kenshohara)", "layer1.0.conv1.weight", 5, _KENSHOHARA),
    Family("tv_video", "video ResNet (torchvision)", "stem.0.weight", 5, "torchvision:NAME"),
    Family("timeception", "Timeception 2019", "timeception.conv_b1_g1_tc1.weight", 5, "none"),
)


@dataclass(frozen=True)
class StateFile:
    """The tensors of a checkpoint file, without wrappers and prefixes of training scripts."""

    name: str
    state: State
    family: Family | None

    @property
    def key(self) -> str:
        """The family's key; empty if it is unknown."""
        return self.family.key if self.family else ""

    @property
    def title(self) -> str:
        """The family's title, or ``"unknown"``."""
        return self.family.title if self.family else "unknown"


def recognise(state: Mapping[str, Tensor]) -> Family | None:
    """Return the family whose signature is among the tensors.

    Example:
        >>> recognise({"Conv3d_1a_7x7.conv3d.weight": torch.empty(64, 3, 7, 7, 7)}).title
        'I3D (piergiaj)'
    """
    found = (f for f in FAMILIES if f.signature in state and state[f.signature].ndim == f.rank)
    return next(found, None)


def read_state(path: str | Path) -> StateFile:
    """Read the tensors of a checkpoint file without executing code from it.

    It is a PyTorch file (any version), a safetensors file, or a pickle of numpy arrays (Caffe2).

    Raises:
        ValueError: if the file does not exist, has another format, or contains other objects than
            data.
    """
    path = Path(path)
    checks.require(path.is_file(), "weights", "be an existing file", str(path))
    try:
        container = container_of(path)
    except ValueError as error:
        raise ValueError(checks.problem("weights", _NEED, str(path), str(error))) from error
    if container not in _READERS:
        why = f"is of the kind {container}. Convert it to PyTorch first"
        raise ValueError(_not_read(path, why))
    state = _tensors(_READERS[container](path), path)
    return StateFile(path.name, state, recognise(state))


def read_given(backbone: str, weights: str, example: str) -> StateFile:
    """Read the file given for a backbone without default weights.

    Raises:
        ValueError: if no file is given, or it cannot be read.
    """
    must = f"name a checkpoint file for {backbone!r}, which has no default weights"
    advice = f"For example {example}. weights='random' makes an untrained network."
    checks.require(weights != "default", "weights", must, None, advice)
    return read_state(weights)


def _not_read(path: Path, why: str) -> str:
    return checks.problem("weights", _NEED, str(path), f"It {why}.")


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        why = f"could not be read without executing code: {str(error).strip().splitlines()[0]}"
        raise ValueError(_not_read(path, why)) from error


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(_not_read(path, f"is incomplete or damaged: {error}")) from error


_READERS: dict[str, Callable[[Path], Any]] = {
    "torch": _read_torch,
    "pickle": load_arrays,
    "safetensors": _read_safetensors,
}


def _tensors(content: Any, path: Path) -> State:
    """Remove wrappers and prefixes of training scripts, and keep only the tensors."""
    while isinstance(content, Mapping):
        wrappers = [key for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if not wrappers:
            break
        content = content[wrappers[0]]
    if not isinstance(content, Mapping):
        raise ValueError(_not_read(path, f"contains a {type(content).__name__}, not named tensors"))
    state = {
        str(name): torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value
        for name, value in content.items()
        if isinstance(value, Tensor | np.ndarray)
    }
    if not state:
        raise ValueError(_not_read(path, "contains no tensors"))
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def load_into(network: nn.Module, state: Mapping[str, Tensor], what: str, hint: str = "") -> None:
    """Load a complete state dict: every name and every shape must match.

    Batch counters may be absent: they do not affect the result, and old files lack them. The
    network's tensors are replaced, so it may be on the "meta" device before. The error message
    begins with ``what`` (``"weights x.pt for backbone 'i3d'"``) and ends with ``hint``.

    Raises:
        ValueError: if names or shapes differ; the message shows both sides.
    """
    target = network.state_dict()
    own = {k: v for k, v in target.items() if not k.endswith(_BATCH_COUNTER)}
    given = {k: v for k, v in state.items() if not k.endswith(_BATCH_COUNTER)}
    try:
        checks.same_names(what, own, given)
    except ValueError as error:
        raise ValueError(f"{error}\n{hint}".rstrip()) from error
    wrong = [name for name in own if own[name].shape != given[name].shape]
    if wrong:
        sizes = [(name, _size(given[name]), _size(own[name])) for name in wrong[:8]]
        lines = [f"{what}: {len(wrong)} of {len(own)} shapes do not match."]
        lines += [f"  {name}: {has} received, {must} expected" for name, has, must in sizes]
        raise ValueError("\n".join([*lines, hint]).rstrip())
    whole = {name: given[name].to(tensor.dtype) for name, tensor in own.items()}
    whole |= {name: state.get(name, torch.tensor(0)) for name in target if name not in own}
    network.load_state_dict(whole, assign=True)


def load_file(network: nn.Module, file: StateFile, state: Mapping[str, Tensor], name: str) -> None:
    """Load the tensors of ``file``, renamed as ``state``; an error names the recognised family."""
    hint = "The names belong to no known family of checkpoints."
    if file.family:
        hint = f"The file looks like {file.family.title}, for: {file.family.backbones}."
    load_into(network, state, f"weights {file.name!r} for backbone {name!r}", hint)


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
