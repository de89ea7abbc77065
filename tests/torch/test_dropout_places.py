"""Each dropout rate acts at its own place, in training alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from timeception.spec import ClassifierSpec, PoolingSpec, TimeceptionSpec
from timeception.torch import PoolingClassifier, TimeceptionClassifier

N_ROWS, WIDTH = 4000, 5
RATES = [(0.75, 0.5), (0.5, 0.75), (0.75, 0.0), (0.0, 0.75), (0.0, 0.0)]


def classifier(kind: str, rates: tuple[float, float]) -> TimeceptionClassifier | PoolingClassifier:
    """One whose logits are what dropout makes of its readout, plus one between the two places.

    Both kernels are identities, the hidden bias is one, and the norm does nothing.
    """
    if kind == "timeception":
        layers = TimeceptionSpec(4, 1, 1, bn_eps=2.0**-10)
        spec = ClassifierSpec(layers, WIDTH, hidden=WIDTH, dropout=rates)
        model = TimeceptionClassifier.from_spec(spec)
    else:
        model = PoolingClassifier.from_spec(
            PoolingSpec(4, WIDTH, hidden=WIDTH, dropout=rates, bn_eps=2.0**-10)
        )
    inputs = model.hidden.in_features
    with torch.no_grad():
        model.hidden.weight.copy_(torch.eye(WIDTH, inputs))
        model.hidden.bias.fill_(1)
        model.output.weight.copy_(torch.eye(WIDTH))
        model.norm.running_var.fill_(1 - 2.0**-10)
    model.train()
    model.norm.eval()
    return model


@pytest.mark.parametrize("kind", ["timeception", "pooling"])
@pytest.mark.parametrize("rates", RATES)
def test_both_places(kind: str, rates: tuple[float, float]) -> None:
    """A readout of ones. Dropped first: 0 + 1; kept: 1 / (1 - p) + 1; then dropped or scaled."""
    first, second = rates
    model = classifier(kind, rates)
    torch.manual_seed(0)
    logits = model.classify(torch.ones(N_ROWS, model.hidden.in_features)).detach().numpy()
    scale = 1 / (1 - second)
    expected = {
        0.0: second,
        scale: (1 - second) * first,
        (1 / (1 - first) + 1) * scale: (1 - second) * (1 - first),
    }
    values = [value for value, share in expected.items() if share]
    nearest = np.abs(logits[..., None] - values)
    assert nearest.min(-1).max() < 1e-5
    places = nearest.argmin(-1)
    for place, value in enumerate(values):  # in every column alike
        shares = (places == place).mean(0)
        np.testing.assert_allclose(shares, expected[value], atol=0.04)


@pytest.mark.parametrize("kind", ["timeception", "pooling"])
def test_numbers_are_dropped_one_by_one(kind: str) -> None:
    """Neither whole rows nor whole columns, and anew at each call."""
    model = classifier(kind, (0.5, 0.5))
    readout = torch.ones(64, model.hidden.in_features)
    torch.manual_seed(0)
    first, second = (model.classify(readout).detach() for _ in range(2))
    assert not torch.equal(first, second)
    is_dropped = first == 0
    assert 0 < is_dropped.float().mean(0).min() < is_dropped.float().mean(0).max() < 1
    assert len({tuple(row.tolist()) for row in is_dropped}) > 16
    torch.manual_seed(0)
    assert torch.equal(model.classify(readout), first)


@pytest.mark.parametrize("kind", ["timeception", "pooling"])
@pytest.mark.parametrize("rates", RATES)
def test_evaluation_drops_nothing(kind: str, rates: tuple[float, float]) -> None:
    model = classifier(kind, rates).eval()
    logits = model.classify(torch.ones(8, model.hidden.in_features))
    assert torch.equal(logits, torch.full((8, WIDTH), 2.0))


def test_the_whole_model_drops_as_its_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two places in all, at these rates and in this order: the layers have no dropout."""
    seen = []
    dropout = nn.functional.dropout

    def spy(x: torch.Tensor, p: float = 0.5, training: bool = True, *rest: object) -> torch.Tensor:
        seen.append((x.shape[1], p, training))
        return dropout(x, p, training, *rest)

    monkeypatch.setattr(nn.functional, "dropout", spy)
    model = TimeceptionClassifier(24, 3, 1, 2, hidden=8, dropout=(0.4, 0.1))
    model.train()(torch.zeros(2, 24, 4, 1, 1))
    width = model.spec.pooled_channels
    assert seen == [(width, 0.4, True), (8, 0.1, True)]
