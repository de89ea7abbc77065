"""Canonical arrays under the names and in the layout of the Keras network of 2019."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from tests import oracle
from tests.contracts import Arrays
from timeception.spec import ClassifierSpec

_LEAVES = {
    "weight": "gamma:0",
    "bias": "beta:0",
    "running_mean": "moving_mean:0",
    "running_var": "moving_variance:0",
}


def keras_variables_2019(
    spec: ClassifierSpec,
    arrays: Arrays,
    dense: Sequence[str] = ("dense", "dense_1"),
    norm: str = "batch_normalization",
) -> Arrays:
    """Variables as ``layer/variable``: one loop a layer, one a group, one a branch.

    Kernels are (1, 1, 1, in, out), depthwise ones (k, 1, channels, 1), dense ones (in, out).
    """
    named: Arrays = {}
    for number, layer in enumerate(spec.timeception.layers, start=1):
        own = oracle.below(arrays, f"timeception.layers.{number - 1}.")
        width = layer.branch_channels
        for group in range(layer.n_groups):
            for branch in range(5):
                first = (group * 5 + branch) * width
                rows, place = slice(first, first + width), f"b{branch + 1}_g{group + 1}_tc{number}"
                kernel = own["pointwise.weight"][rows]
                named[f"conv_{place}/kernel:0"] = np.moveaxis(kernel, 0, 1)[None, None, None]
                named[f"conv_{place}/bias:0"] = own["pointwise.bias"][rows]
                for leaf, theirs in _LEAVES.items():
                    named[f"bn_{place}/{theirs}"] = own[f"norm.{leaf}"][rows]
                if 1 <= branch <= 3:
                    rows = slice(group * width, (group + 1) * width)
                    kernel = own[f"temporal.{branch - 1}.weight"][rows]
                    bias = own[f"temporal.{branch - 1}.bias"][rows]
                    name = f"convdw_{place}/depthwise_conv_1d_weights:0"
                    named[name] = np.moveaxis(kernel, 0, 1)[:, None, :, None]
                    named[f"convdw_{place}/depthwise_conv1d_biases:0"] = bias
    for ours, theirs in zip(("hidden", "output"), dense, strict=True):
        named[f"{theirs}/kernel:0"] = np.moveaxis(arrays[f"{ours}.weight"], 0, 1)
        named[f"{theirs}/bias:0"] = arrays[f"{ours}.bias"]
    for leaf, theirs in _LEAVES.items():
        named[f"{norm}/{theirs}"] = arrays[f"norm.{leaf}"]
    return {name: np.ascontiguousarray(array) for name, array in named.items()}


def write_keras_2019(path: Path, named: Arrays) -> Path:
    """Write variables as Keras 2019 saved weights: each in a group of its layer's name, twice."""
    with h5py.File(path, "w") as file:
        for name, array in named.items():
            file[f"{name.partition('/')[0]}/{name}"] = array
    return path
