"""Translate the tensor names of four families of 3D-ResNet files, and infer their layouts.

Canonical names: ``stem.conv``, ``stem.norm``, ``res2.0.a``, ``res2.0.a_norm``, ...,
``res2.0.shortcut``, ``res3.1.non_local.theta``, ..., ``head``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import torch

from timeception.backbones.checkpoints import State, StateFile
from timeception.backbones.resnet3d import STAGES, ResNet3dLayout

_BN_EPS = 1e-5  # PyTorch's default, as in all families

Rule = tuple[str, str | Callable[[re.Match[str]], str]]


def _stage(found: re.Match[str]) -> str:
    """``layer1`` is ``res2``."""
    return f"res{int(found[1]) + 1}.{found[2]}."


PYSLOWFAST: tuple[Rule, ...] = (
    (r"^s1\.pathway0_stem\.bn\.", "stem.norm."),
    (r"^s1\.pathway0_stem\.", "stem."),
    (r"^s(\d)\.pathway0_nonlocal(\d+)\.bn\.", r"res\1.\2.non_local.norm."),
    (r"^s(\d)\.pathway0_nonlocal(\d+)\.(?:conv_)?", r"res\1.\2.non_local."),
    (r"^s(\d)\.pathway0_res(\d+)\.", r"res\1.\2."),
    (r"(res\d\.\d+\.)branch1_bn\.", r"\1shortcut_norm."),
    (r"(res\d\.\d+\.)branch1\.", r"\1shortcut."),
    (r"\.branch2\.([abc])_bn\.", r".\1_norm."),
    (r"\.branch2\.([abc])\.", r".\1."),
    (r"^head\.projection\.", "head."),
)
KENSHOHARA: tuple[Rule, ...] = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"^layer(\d)\.(\d+)\.", _stage),
    (r"(?<=\d\.)conv([123])\.", lambda found: f"{'abc'[int(found[1]) - 1]}."),
    (r"(?<=\d\.)bn([123])\.", lambda found: f"{'abc'[int(found[1]) - 1]}_norm."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut_norm."),
    (r"^fc\.", "head."),
)
CAFFE2: tuple[Rule, ...] = (
    (r"_bn_s$", "_norm.weight"),
    (r"_bn_b$", "_norm.bias"),
    (r"_bn_rm$", "_norm.running_mean"),
    (r"_bn_riv$", "_norm.running_var"),  # "riv" is the variance, not its inverse
    (r"_w$", ".weight"),
    (r"_b$", ".bias"),
    (r"^res_conv1_norm\.", "stem.norm."),
    (r"^conv1\.", "stem.conv."),
    (r"^nonlocal_conv(\d)_(\d+)_norm\.", r"res\1.\2.non_local.norm."),
    (r"^nonlocal_conv(\d)_(\d+)_", r"res\1.\2.non_local."),
    (r"^res(\d)_(\d+)_branch1(_norm)?\.", r"res\1.\2.shortcut\3."),
    (r"^res(\d)_(\d+)_branch2([abc])(_norm)?\.", r"res\1.\2.\3\4."),
    (r"^pred\.", "head."),
)


def _pytorchvideo(state: State) -> tuple[Rule, ...]:
    """Blocks are numbered consecutively; the one without tensors is the temporal pooling."""
    numbers = sorted({int(name.split(".")[1]) for name in state if ".res_blocks." in name})
    rules: list[Rule] = [
        (rf"^blocks\.{number}\.res_blocks\.", f"{stage}.")
        for number, stage in zip(numbers, STAGES, strict=False)
    ]
    return (
        *rules,
        (r"^blocks\.0\.(conv|norm)\.", r"stem.\1."),
        (r"^blocks\.\d+\.proj\.", "head."),
        (r"\.branch1_(conv|norm)\.", lambda found: f".shortcut{_NORM[found[1]]}."),
        (r"\.branch2\.(conv|norm)_([abc])\.", lambda found: f".{found[2]}{_NORM[found[1]]}."),
    )


_NORM = {"conv": "", "norm": "_norm"}
_RULES = {"pyslowfast": PYSLOWFAST, "kenshohara": KENSHOHARA, "caffe2": CAFFE2}
FAMILIES = ("pytorchvideo", *_RULES)

#: Further content of Caffe2 training files, beside the weights.
_TRAINING = re.compile(r".*_momentum|lr|model_iter|weight_decay(_bn)?|ONE")


def canonical(state: State, family: str) -> State:
    """Rename the tensors of a file to the canonical names; unknown names are kept.

    Momenta and counters in Caffe2 files are dropped. The "affine" form of these files has scales
    and offsets without statistics; mean 0 and variance 1 - epsilon are equivalent.
    """
    rules = _RULES[family] if family in _RULES else _pytorchvideo(state)
    renamed = {}
    for name, tensor in state.items():
        if family == "caffe2" and _TRAINING.fullmatch(name):
            continue
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    if family == "caffe2":
        _complete_caffe2(renamed)
    return renamed


def _complete_caffe2(state: State) -> None:
    if "head.weight" in state:
        # some files store it as a convolution
        state["head.weight"] = state["head.weight"].flatten(1)
    if any(name.endswith("running_var") for name in state):
        return
    for name in [name for name in state if name.endswith("norm.weight")]:
        norm, scale = name.removesuffix("weight"), state[name]
        state[f"{norm}running_mean"] = torch.zeros_like(scale)
        state[f"{norm}running_var"] = torch.full_like(scale, 1 - _BN_EPS)


def layout_of(state: State, file: StateFile) -> ResNet3dLayout:
    """Infer the layout from a file's tensors; those in ``state`` have canonical names.

    The block numbers of PyTorchVideo show whether time is pooled after res2. For other families, it
    follows from the kernels, given the published networks.
    """
    blocks: dict[str, set[int]] = {stage: set() for stage in STAGES}
    non_local: dict[str, set[int]] = {stage: set() for stage in STAGES}
    for name in state:
        if found := re.match(r"(res[2-5])\.(\d+)\.(non_local)?", name):
            blocks[found[1]].add(int(found[2]))
            if found[3]:
                non_local[found[1]].add(int(found[2]))
    first = {stage: [f"{stage}.{n}.a.weight" for n in sorted(blocks[stage])] for stage in STAGES}
    layout = ResNet3dLayout(
        tuple(tuple(_kernel(state, name) for name in first[stage]) for stage in STAGES),
        stem_kernel=_kernel(state, "stem.conv.weight"),
        is_full_3d=_kernel(state, "res2.0.b.weight") == 3,
        non_local=tuple(tuple(sorted(non_local[stage])) for stage in STAGES),
    )
    if file.key == "pytorchvideo":
        pools_time = not any(name.startswith("blocks.2.res_blocks.") for name in file.state)
    else:
        # slow networks (stem 1x7x7, kernels of 3 from res4 on) do not pool time
        looks_at_time = any(kernel > 1 for stage in layout.kernels for kernel in stage)
        pools_time = layout.stem_kernel > 1 or not looks_at_time
    return replace(layout, pools_time=pools_time)


def _kernel(state: State, name: str) -> int:
    """The temporal kernel of a convolution; the loader reports an absent tensor."""
    tensor = state.get(name)
    return int(tensor.shape[2]) if tensor is not None and tensor.ndim == 5 else 1
