"""The recorded outputs of the 2019 networks, through the public loader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests import oracle
from tests.contracts import Arrays, assert_close
from tests.goldens import CASES, assert_golden, golden_case, layers_of, load_fill
from tests.torch.adapter import TorchAdapter
from timeception.weights import read_checkpoint


class NumpyOracle:
    def features(self, spec, arrays, x):
        return oracle.features(spec, arrays, x)

    def logits(self, spec, arrays, x):
        return oracle.logits(spec, arrays, x)


def save_torch(path: Path, state: Arrays) -> None:
    torch.save({name: torch.tensor(array) for name, array in state.items()}, path)


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest, shared: Path, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return golden_case(shared, request.param, folder, save_torch)


@pytest.mark.parametrize("implementation", [NumpyOracle(), TorchAdapter()], ids=["oracle", "torch"])
@pytest.mark.parametrize("golden", CASES, indirect=True)
def test_golden(golden, implementation) -> None:
    assert_golden(implementation, golden)


@pytest.mark.parametrize("golden", CASES, indirect=True)
def test_constants_follow_the_framework(golden) -> None:
    path, _, recorded = golden
    checkpoint = read_checkpoint(path)
    spec, is_keras = checkpoint.spec.timeception, "variables" in recorded
    assert spec.pool_lookahead is is_keras
    assert spec.bn_eps == (1e-3 if is_keras else 1e-5)
    assert spec.is_dilated is (is_keras and bool(recorded["config"][9]))
    assert checkpoint.provenance["names"] == ("keras2019" if is_keras else "torch2019")


def test_the_file_that_keras_saved(shared: Path) -> None:
    recorded = np.load(shared / "reference" / "timeception_keras2019_dilated.npz")
    path = shared / "reference" / "timeception_keras2019_dilated.h5"
    checkpoint = read_checkpoint(path)
    spec, arrays = checkpoint.spec, checkpoint.arrays
    x = load_fill(shared).golden_input((2, 80, 16, 2, 3), 51)
    features = TorchAdapter().features(spec.timeception, layers_of(arrays), x)
    assert_close(features, recorded["features"], 1e-4)
    scores = oracle.sigmoid(TorchAdapter().logits(spec, arrays, x))
    assert_close(scores, recorded["probabilities"], 1e-4)
