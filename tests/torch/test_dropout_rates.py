"""Each dropout rate acts at its own place, in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import dropout_rates as rates
from timeception.spec import PoolingSpec
from timeception.torch import PoolingClassifier, TimeceptionClassifier


def logits_of(spec: object, arrays: dict[str, np.ndarray], training: bool = True) -> np.ndarray:
    kind = PoolingClassifier if isinstance(spec, PoolingSpec) else TimeceptionClassifier
    torch.manual_seed(0)
    with torch.no_grad():
        return (
            kind.from_arrays(spec, arrays).train(training)(torch.from_numpy(rates.clips())).numpy()
        )


@pytest.mark.parametrize("kind", rates.KINDS)
def test_the_first_rate_acts_before_the_hidden_layer(kind: str) -> None:
    spec = rates.spec_of(kind, (rates.ALMOST_ALL, 0.0))
    arrays = rates.arrays_of(spec)
    rates.assert_all_dropped_before_hidden(logits_of(spec, arrays), arrays)


@pytest.mark.parametrize("kind", rates.KINDS)
def test_the_second_rate_acts_before_the_last_layer(kind: str) -> None:
    spec = rates.spec_of(kind, (0.0, rates.ALMOST_ALL))
    arrays = rates.arrays_of(spec)
    rates.assert_all_dropped_before_output(logits_of(spec, arrays), arrays)


@pytest.mark.parametrize("kind", rates.KINDS)
@pytest.mark.parametrize("rate", [0.25, 0.8])
def test_the_rate_is_the_share_that_is_dropped(kind: str, rate: float) -> None:
    spec = rates.spec_of(kind, (0.0, rate), n_classes=300, hidden=300)
    rates.assert_share_dropped(logits_of(spec, rates.showing_arrays(spec)), rate)


@pytest.mark.parametrize("kind", rates.KINDS)
def test_nothing_is_dropped_in_evaluation(kind: str) -> None:
    dropping, keeping = (rates.spec_of(kind, (rate, rate)) for rate in (rates.ALMOST_ALL, 0.0))
    arrays = rates.arrays_of(dropping)
    np.testing.assert_array_equal(
        logits_of(dropping, arrays, training=False), logits_of(keeping, arrays, training=False)
    )
