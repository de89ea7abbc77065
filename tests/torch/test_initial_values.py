"""Every parameter and statistic starts, and starts again, at the values of 2019."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch

from timeception.spec import TimeceptionSpec
from timeception.torch import PoolingClassifier, Timeception, TimeceptionClassifier

#: Two groups of 20 channels, five branches of 5: kernels of 20 to 5, depthwise ones of 3, 5, 7.
SPEC = TimeceptionSpec(40, 2, 2, is_dilated=False)
#: By hand, of the first layer: Glorot's sqrt(6 / (inputs + outputs)); a depthwise kernel of k
#: steps has k * channels inputs and k outputs, as Keras counted them.
BOUNDS = {
    "pointwise.weight": sqrt(6 / (20 + 5)),
    "temporal.0.weight": sqrt(6 / (3 * 5 + 3)),
    "temporal.1.weight": sqrt(6 / (5 * 5 + 5)),
    "temporal.2.weight": sqrt(6 / (7 * 5 + 7)),
}
CONSTANTS = {
    "pointwise.bias": 0.0,
    "temporal.0.bias": 0.1,
    "temporal.1.bias": 0.1,
    "temporal.2.bias": 0.1,
    "norm.weight": 1.0,
    "norm.bias": 0.0,
    "norm.running_mean": 0.0,
    "norm.running_var": 1.0,
}


def reset(module: torch.nn.Module) -> None:
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()


def new(seed: int = 0) -> Timeception:
    torch.manual_seed(seed)
    return Timeception.from_spec(SPEC)


def used(seed: int = 0) -> Timeception:
    """One whose values were all changed, then reset."""
    network = Timeception.from_spec(SPEC)
    for values in network.state_dict().values():
        values.fill_(7.0)
    torch.manual_seed(seed)
    reset(network)
    return network


@pytest.mark.parametrize("make", [new, used])
def test_layers(make) -> None:
    values = {
        name.removeprefix("layers.0."): array.numpy()
        for name, array in make().state_dict().items()
        if name.startswith("layers.0.")
    }
    assert set(values) == set(BOUNDS) | set(CONSTANTS)
    for name, value in CONSTANTS.items():
        assert np.all(values[name] == np.float32(value)), name
    for name, bound in BOUNDS.items():
        assert 0.9 * bound < np.abs(values[name]).max() <= bound, name
        # of a uniform distribution: no mean, and a deviation of bound / sqrt(3)
        assert abs(values[name].mean()) < 4 * bound / sqrt(3 * values[name].size), name
        assert values[name].std() == pytest.approx(bound / sqrt(3), rel=0.25), name


def test_each_draw_is_new_and_follows_the_seed() -> None:
    one, again, other = (used(seed).state_dict() for seed in (0, 0, 1))
    for name in BOUNDS:
        full = f"layers.0.{name}"
        assert torch.equal(one[full], again[full])
        assert not torch.equal(one[full], other[full])
    a, b = (one[f"layers.{i}.pointwise.weight"].flatten()[:50] for i in (0, 1))
    assert not torch.equal(a, b)


def test_statistics_go_back_after_training() -> None:
    network = new().train()
    network(torch.randn(4, 40, 8, 2, 2))
    norm = network.layers[0].norm
    assert norm.running_mean.abs().max() > 0 and (norm.running_var - 1).abs().max() > 0
    reset(network)
    assert torch.equal(norm.running_mean, torch.zeros(50))
    assert torch.equal(norm.running_var, torch.ones(50))


@pytest.mark.parametrize("kind", ["timeception", "pooling"])
def test_classifiers(kind: str) -> None:
    torch.manual_seed(0)
    if kind == "timeception":
        model, readout = TimeceptionClassifier(40, 30, 1, 2, hidden=60), 50
    else:
        model, readout = PoolingClassifier(40, 30, hidden=60), 80
    state = {name: array.numpy() for name, array in model.state_dict().items()}
    bounds = {"hidden.weight": sqrt(6 / (readout + 60)), "output.weight": sqrt(6 / (60 + 30))}
    for name, bound in bounds.items():
        assert 0.98 * bound < np.abs(state[name]).max() <= bound, name
        assert state[name].std() == pytest.approx(bound / sqrt(3), rel=0.1), name
    for name in ("hidden.bias", "output.bias", "norm.bias", "norm.running_mean"):
        assert np.all(state[name] == 0), name
    for name in ("norm.weight", "norm.running_var"):
        assert np.all(state[name] == 1), name


@pytest.mark.parametrize("momentum", [0.01, 0.25, 1.0])
def test_statistics_move_by_the_momentum(momentum: float) -> None:
    """One channel of 1, 3: mean 2, unbiased variance 2; from mean 0 and variance 1."""
    model = PoolingClassifier(4, 2, hidden=1, bn_momentum=momentum).train()
    model.norm(torch.tensor([[1.0], [3.0]]))
    assert model.norm.running_mean.item() == pytest.approx(2 * momentum)
    assert model.norm.running_var.item() == pytest.approx(1 + momentum)
