"""Conversion of the networks of 2019, with their names and layouts, to canonical arrays.

Each group and branch had separate layers: ``conv_b1_g1_tc1`` is the pointwise convolution of branch
1, group 1, layer 1; ``convdw_*`` is the depthwise convolution and ``bn_*`` the normalisation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np

from timeception.spec import (
    KERAS_BN_EPS,
    KERAS_BN_MOMENTUM,
    N_BRANCHES,
    TORCH_BN_EPS,
    TORCH_BN_MOMENTUM,
    ClassifierSpec,
    TimeceptionSpec,
)
from timeception.weights.arrays import Named

_BLOCK = re.compile(r"(conv|convdw|bn)_b(\d+)_g(\d+)_tc(\d+)[./]")
_NORM = ("weight", "bias", "running_mean", "running_var")

#: Keras leaf -> PyTorch leaf, and the conversion of the layout.
_KERAS_LEAVES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "kernel:0": ("weight", lambda a: a.reshape(a.shape[-2:]).T),  # 1, 1, 1, in, out or in, out
    "bias:0": ("bias", lambda a: a),
    "gamma:0": ("weight", lambda a: a),
    "beta:0": ("bias", lambda a: a),
    "moving_mean:0": ("running_mean", lambda a: a),
    "moving_variance:0": ("running_var", lambda a: a),
    "depthwise_conv_1d_weights:0": ("weight", lambda a: a[:, 0, :, 0].T),  # k, 1, channels, 1
    "depthwise_conv1d_biases:0": ("bias", lambda a: a),
}


def is_2019(names: Iterable[str]) -> bool:
    """Whether any name belongs to a 2019 network."""
    return any(_BLOCK.search(name) for name in names)


def from_2019(named: Named) -> tuple[ClassifierSpec | TimeceptionSpec, Named, str, list[str]]:
    """Convert the arrays of a PyTorch state dict or a Keras HDF5 file of 2019 to canonical arrays.

    Returns:
        The spec (of the Timeception layers if the file has no 2019 classifier), the canonical
        arrays, ``"torch2019"`` or ``"keras2019"``, and the unused names.
    """
    is_keras = any(name.endswith(":0") for name in named)
    blocks, others = _split(_torch_leaves(named) if is_keras else _squeezed(named))
    layers = _keras_head(others) if is_keras else ("l1", "bn1", "l2")
    head, left_out = _head(others, *layers) if layers else (None, sorted(others))
    spec = _spec_of(blocks, is_keras)
    arrays: Named = {}
    for index in range(spec.n_layers):
        layer = _layer(blocks, index + 1, spec.n_groups)
        arrays |= {f"layers.{index}.{name}": array for name, array in layer.items()}
    origin = "keras2019" if is_keras else "torch2019"
    if head is None:
        return spec, arrays, origin, left_out
    n_classes, hidden = len(head["output.bias"]), len(head["hidden.bias"])
    classifier = ClassifierSpec(spec, n_classes=n_classes, hidden=hidden)
    return classifier, {f"timeception.{k}": v for k, v in arrays.items()} | head, origin, left_out


def _torch_leaves(named: Named) -> Named:
    """Keras arrays with the leaves and layout of PyTorch, without axes of size one."""
    renamed = {}
    for name, array in named.items():
        layer, _, leaf = name.rpartition("/")
        torch_leaf, relayout = _KERAS_LEAVES.get(leaf, (leaf, lambda a: a))
        renamed[f"{layer}.{torch_leaf}"] = relayout(array)
    return renamed


def _squeezed(named: Named) -> Named:
    """PyTorch arrays with kernels as matrices: (out, in), or (channels, k) if depthwise."""
    squeezed = {}
    for name, array in named.items():
        if not name.endswith("num_batches_tracked"):
            array = array.reshape(array.shape[0], -1) if array.ndim > 2 else array
            squeezed[name.replace(".depthwise_conv1d.", ".")] = array
    return squeezed


def _split(named: Named) -> tuple[Named, Named]:
    """The arrays of the blocks, by names such as ``conv_b1_g1_tc1.weight``, and all others."""
    found = {name: _BLOCK.search(name) for name in named}
    blocks = {name[m.start() :]: named[name] for name, m in found.items() if m}
    return blocks, {name: named[name] for name, m in found.items() if not m}


def _spec_of(blocks: Named, is_keras: bool) -> TimeceptionSpec:
    """Infer the spec from names and shapes. The names determine the framework's constants."""
    indices = [tuple(map(int, _BLOCK.match(name).groups()[1:])) for name in blocks]  # type: ignore[union-attr]
    n_groups, n_layers = max(g for _, g, _ in indices), max(layer for *_, layer in indices)
    sizes = tuple(_get(blocks, f"convdw_b{b}_g1_tc1.weight").shape[1] for b in (2, 3, 4))
    if sizes not in ((3, 3, 3), (3, 5, 7)):
        raise ValueError(f"temporal kernels must be of 3, 3, 3 or 3, 5, 7 steps; got {sizes}.")
    return TimeceptionSpec(
        in_channels=n_groups * _get(blocks, "conv_b1_g1_tc1.weight").shape[1],
        n_layers=n_layers,
        n_groups=n_groups,
        is_dilated=sizes == (3, 3, 3),
        pool_lookahead=is_keras,
        bn_eps=KERAS_BN_EPS if is_keras else TORCH_BN_EPS,
        bn_momentum=KERAS_BN_MOMENTUM if is_keras else TORCH_BN_MOMENTUM,
    )


def _layer(blocks: Named, layer: int, n_groups: int) -> Named:
    """The canonical arrays of one layer, rows ordered (group, branch, channel)."""

    def joined(kind: str, branches: Iterable[int], leaf: str) -> np.ndarray:
        parts = [
            _get(blocks, f"{kind}_b{branch}_g{group}_tc{layer}.{leaf}")
            for group in range(1, n_groups + 1)
            for branch in branches
        ]
        return np.concatenate(parts)

    every = range(1, N_BRANCHES + 1)
    arrays = {f"pointwise.{leaf}": joined("conv", every, leaf) for leaf in ("weight", "bias")}
    for index in range(3):
        for leaf in ("weight", "bias"):
            arrays[f"temporal.{index}.{leaf}"] = joined("convdw", [index + 2], leaf)
    return arrays | {f"norm.{leaf}": joined("bn", every, leaf) for leaf in _NORM}


def _keras_head(others: Named) -> tuple[str, str, str] | None:
    """The classifier's layers. Keras numbers layers in the order of creation: dense_3, dense_4."""

    def numbered(stem: str) -> list[str]:
        layers = {name.rpartition(".")[0] for name in others}
        found = {re.fullmatch(rf"{stem}(?:_(\d+))?", layer) for layer in layers} - {None}
        return [m[0] for m in sorted(found, key=lambda m: int(m[1] or 0))]  # type: ignore[index]

    dense, norms = numbered("dense"), numbered("batch_normalization")
    return (dense[0], norms[0], dense[1]) if len(dense) == 2 and len(norms) == 1 else None


def _head(others: Named, hidden: str, norm: str, output: str) -> tuple[Named | None, list[str]]:
    """The classifier's canonical arrays (``None`` if incomplete), and the unused names."""
    names = {"hidden": hidden, "norm": norm, "output": output}
    sources = {
        f"{ours}.{leaf}": f"{theirs}.{leaf}"
        for ours, theirs in names.items()
        for leaf in (_NORM if ours == "norm" else _NORM[:2])
    }
    if not set(sources.values()) <= set(others):
        return None, sorted(others)
    head = {ours: others[theirs] for ours, theirs in sources.items()}
    return head, sorted(set(others) - set(sources.values()))


def _get(blocks: Named, name: str) -> np.ndarray:
    if name not in blocks:
        problem = f"the file has names of the 2019 network but not {name!r}."
        known = ", ".join(sorted(blocks)[:4])
        raise ValueError(f"{problem} It has {len(blocks)} such arrays: {known}, ...")
    return blocks[name]
