"""Canonical arrays under the names of 2019, the way back of ``timeception.weights.names2019``."""

from __future__ import annotations

import numpy as np

from tests import oracle
from tests.contracts import Arrays
from timeception.spec import ClassifierSpec

_NORM = ("weight", "bias", "running_mean", "running_var")


def torch_state_2019(spec: ClassifierSpec, arrays: Arrays | None = None) -> Arrays:
    """A state dict of the 2019 PyTorch network; random arrays unless some are given."""
    arrays = arrays or oracle.random_arrays(spec.parameter_shapes())
    state: Arrays = {}
    for number, layer in enumerate(spec.timeception.layers, start=1):
        own = oracle.below(arrays, f"timeception.layers.{number - 1}.")
        width = layer.branch_channels
        for block in range(5 * layer.n_groups):
            group, branch = divmod(block, 5)
            rows, name = slice(block * width, (block + 1) * width), f"b{branch + 1}_g{group + 1}"
            conv = f"timeception.conv_{name}_tc{number}"
            state[f"{conv}.weight"] = own["pointwise.weight"][rows, :, None, None, None]
            state[f"{conv}.bias"] = own["pointwise.bias"][rows]
            for leaf in _NORM:
                state[f"timeception.bn_{name}_tc{number}.{leaf}"] = own[f"norm.{leaf}"][rows]
            if 1 <= branch <= 3:
                rows = slice(group * width, (group + 1) * width)
                depthwise = f"timeception.convdw_{name}_tc{number}.depthwise_conv1d"
                state[f"{depthwise}.weight"] = own[f"temporal.{branch - 1}.weight"][rows, None]
                state[f"{depthwise}.bias"] = own[f"temporal.{branch - 1}.bias"][rows]
    head = {"hidden": "l1", "norm": "bn1", "output": "l2"}
    for name, array in arrays.items():
        ours, _, leaf = name.partition(".")
        if ours in head:
            state[f"{head[ours]}.{leaf}"] = array
    return {name: np.ascontiguousarray(array) for name, array in state.items()}
