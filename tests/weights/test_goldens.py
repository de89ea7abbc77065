"""The recorded outputs of the 2019 networks, through the public loader.

The weights are written to files as their training would have saved them, then read back.
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
import torch

from tests import oracle
from tests.contracts import Arrays, assert_close
from tests.torch.adapter import TorchAdapter
from timeception.spec import ClassifierSpec
from timeception.weights import read_checkpoint

CASES = ("keras2019_dilated", "keras2019_kernels", "pytorch2019_small", "pytorch2019_1024")
NORM_SCALE = (0.8, 1.2)


class NumpyOracle:
    def features(self, spec, arrays, x):
        return oracle.features(spec, arrays, x)

    def logits(self, spec, arrays, x):
        return oracle.logits(spec, arrays, x)


@pytest.fixture(scope="module")
def fill(shared: Path) -> ModuleType:
    module_spec = spec_from_file_location("golden_fill", shared / "reference" / "fill.py")
    module = module_from_spec(module_spec)
    write_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    module_spec.loader.exec_module(module)
    sys.dont_write_bytecode = write_bytecode
    return module


def write_torch(path: Path, recorded: np.lib.npyio.NpzFile, fill: Callable) -> None:
    state = {}
    for name, text in zip(recorded["names"], recorded["shapes"], strict=True):
        shape = tuple(map(int, filter(None, str(text).split(","))))
        state[str(name)] = torch.tensor(fill(str(name), shape, NORM_SCALE))
    torch.save(state, path)


def torch_twin(variable: str, config: np.ndarray) -> tuple[str, tuple[int, ...], Callable]:
    """The PyTorch name and shape of a Keras variable, and the way to Keras' layout."""
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


@pytest.fixture(scope="module")
def golden(request, shared: Path, fill: ModuleType, tmp_path_factory):
    """One case: the file that holds its weights, its input and what was recorded."""
    case = request.param
    recorded = np.load(shared / "reference" / f"timeception_{case}.npz")
    is_keras = case.startswith("keras")
    path = tmp_path_factory.mktemp(case) / ("weights.pkl" if is_keras else "weights.bin")
    (write_keras if is_keras else write_torch)(path, recorded, fill.fill)
    channels, timesteps, height, width, _, _, _, batch, seed = map(int, recorded["config"][:9])
    x = fill.golden_input((batch, channels, timesteps, height, width), seed)
    return path, x, recorded


def layers_of(arrays: Arrays) -> Arrays:
    return oracle.below(arrays, "timeception.")


@pytest.mark.parametrize("implementation", [NumpyOracle(), TorchAdapter()], ids=["oracle", "torch"])
@pytest.mark.parametrize("golden", CASES, indirect=True)
def test_golden(golden, implementation) -> None:
    path, x, recorded = golden
    checkpoint = read_checkpoint(path)
    spec = checkpoint.spec
    assert isinstance(spec, ClassifierSpec)
    assert (spec.timeception.in_channels, spec.n_classes) == tuple(recorded["config"][[0, 6]])
    features = implementation.features(spec.timeception, layers_of(checkpoint.arrays), x)
    assert_close(features, recorded["features"], 1e-4)
    scores = oracle.sigmoid(implementation.logits(spec, checkpoint.arrays, x))
    assert_close(scores, recorded["probabilities"], 1e-4)


@pytest.mark.parametrize("golden", CASES, indirect=True)
def test_constants_follow_the_framework(golden) -> None:
    path, _, recorded = golden
    checkpoint = read_checkpoint(path)
    spec, is_keras = checkpoint.spec.timeception, "variables" in recorded
    assert spec.pool_lookahead is is_keras
    assert spec.bn_eps == (1e-3 if is_keras else 1e-5)
    assert spec.is_dilated is (is_keras and bool(recorded["config"][9]))
    assert checkpoint.provenance["names"] == ("keras2019" if is_keras else "torch2019")


def test_the_file_that_keras_saved(shared: Path, fill: ModuleType) -> None:
    recorded = np.load(shared / "reference" / "timeception_keras2019_dilated.npz")
    path = shared / "reference" / "timeception_keras2019_dilated.h5"
    checkpoint = read_checkpoint(path)
    spec, arrays = checkpoint.spec, checkpoint.arrays
    x = fill.golden_input((2, 80, 16, 2, 3), 51)
    features = TorchAdapter().features(spec.timeception, layers_of(arrays), x)
    assert_close(features, recorded["features"], 1e-4)
    scores = oracle.sigmoid(TorchAdapter().logits(spec, arrays, x))
    assert_close(scores, recorded["probabilities"], 1e-4)
