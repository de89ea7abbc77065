"""The recorded outputs of the 2019 networks, and the tests that reproduce them.

The weights are written to files as their training would have saved them, then read back through
the public loader.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from tests import oracle
from tests.contracts import Adapter, Arrays, assert_close
from timeception.spec import ClassifierSpec
from timeception.weights import read_checkpoint

CASES = ("keras2019_dilated", "keras2019_kernels", "pytorch2019_small", "pytorch2019_1024")
NORM_SCALE = (0.8, 1.2)


class GoldenContract:
    """The adapter reproduces the outputs of the networks of 2019."""

    adapter: Adapter

    @pytest.mark.parametrize("case", CASES)
    def test_golden(self, case: str, shared: Path, tmp_path: Path) -> None:
        assert_golden(self.adapter, golden_case(shared, case, tmp_path))


def assert_golden(implementation: Adapter, golden: tuple) -> None:
    path, x, recorded = golden
    checkpoint = read_checkpoint(path)
    spec = checkpoint.spec
    assert isinstance(spec, ClassifierSpec)
    assert (spec.timeception.in_channels, spec.n_classes) == tuple(recorded["config"][[0, 6]])
    features = implementation.features(spec.timeception, layers_of(checkpoint.arrays), x)
    assert_close(features, recorded["features"], 1e-4)
    scores = oracle.sigmoid(implementation.logits(spec, checkpoint.arrays, x))
    assert_close(scores, recorded["probabilities"], 1e-4)


def golden_case(
    shared: Path, case: str, folder: Path, save: Callable[[Path, Arrays], None] | None = None
) -> tuple:
    """Return one case: the file with its weights, its input and its recorded outputs.

    ``save`` writes a PyTorch state, given as arrays; without it they become an ``.npz``.
    """
    fill = load_fill(shared)
    recorded = np.load(shared / "reference" / f"timeception_{case}.npz")
    if case.startswith("keras"):
        path = folder / "weights.pkl"
        write_keras(path, recorded, fill.fill)
    else:
        path = folder / "weights.bin"
        (save or save_npz)(path, torch_state(recorded, fill.fill))
    channels, timesteps, height, width, _, _, _, batch, seed = map(int, recorded["config"][:9])
    return path, fill.golden_input((batch, channels, timesteps, height, width), seed), recorded


def load_fill(shared: Path) -> ModuleType:
    """Load the module that derives weights from names and shapes."""
    module_spec = spec_from_file_location("golden_fill", shared / "reference" / "fill.py")
    module = module_from_spec(module_spec)
    write_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    module_spec.loader.exec_module(module)
    sys.dont_write_bytecode = write_bytecode
    return module


def layers_of(arrays: Arrays) -> Arrays:
    return oracle.below(arrays, "timeception.")


def torch_state(recorded: np.lib.npyio.NpzFile, fill: Callable) -> Arrays:
    state = {}
    for name, text in zip(recorded["names"], recorded["shapes"], strict=True):
        shape = tuple(map(int, filter(None, str(text).split(","))))
        state[str(name)] = fill(str(name), shape, NORM_SCALE)
    return state


def save_npz(path: Path, state: Arrays) -> None:
    with path.open("wb") as file:
        np.savez(file, **state)


def torch_twin(variable: str, config: np.ndarray) -> tuple[str, tuple[int, ...], Callable]:
    """Return PyTorch name and shape of a Keras variable, and the conversion to Keras layout."""
    channels, _, _, _, _, n_groups, n_classes = config[:7]
    block, leaf = variable.removesuffix(":0").split("/")[-2:]
    leaf = {"kernel": "weight", "gamma": "weight", "beta": "bias"}.get(leaf, leaf)
    leaf = {"moving_mean": "running_mean", "moving_variance": "running_var"}.get(leaf, leaf)
    inputs = [channels]  # channels into each layer, and out of the last
    while len(inputs) <= 2:
        inputs.append(5 * n_groups * (inputs[-1] * 5 // 4 // (5 * n_groups)))
    head = {"dense": "l1", "batch_normalization": "bn1", "dense_1": "l2"}.get(block)
    if head:
        shapes = {"l1.weight": (512, inputs[2]), "l2.weight": (n_classes, 512)}
        shape = shapes.get(f"{head}.{leaf}", (n_classes,) if head == "l2" else (512,))
        return f"{head}.{leaf}", shape, np.transpose
    layer, branch = int(block[-1]), int(block.split("_")[1][1:])
    width = inputs[layer] // (5 * n_groups)
    name = f"timeception.{block}.{leaf}"
    if block.startswith("convdw"):
        kernel = (3, 3, 3) if config[9] else (3, 5, 7)
        if leaf == "depthwise_conv_1d_weights":
            shape = (width, 1, kernel[branch - 2])
            return f"timeception.{block}.weight", shape, lambda a: a.transpose(2, 1, 0)[..., None]
        return f"timeception.{block}.bias", (width,), np.copy
    if block.startswith("conv") and leaf == "weight":
        shape = (width, inputs[layer - 1] // n_groups, 1, 1, 1)
        return name, shape, lambda a: a.transpose(2, 3, 4, 1, 0)
    return name, (width,), np.copy


def write_keras(path: Path, recorded: np.lib.npyio.NpzFile, fill: Callable) -> None:
    with h5py.File(path, "w") as file:
        for variable in map(str, recorded["variables"]):
            name, shape, to_keras = torch_twin(variable, recorded["config"])
            values = fill(name, tuple(map(int, shape)), NORM_SCALE)
            file[f"{variable.split('/')[0]}/{variable}"] = to_keras(values)
