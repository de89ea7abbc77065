"""What dropout does at either place of a classifier, seen in its logits.

A rate of almost one drops all: before the hidden layer it makes all clips alike, before the last
layer it leaves that layer's bias. A last layer that hands its input on shows what was dropped.
"""

from __future__ import annotations

import numpy as np

from tests import oracle
from tests.contracts import draw_input
from timeception.spec import LEAKY_SLOPE, ClassifierSpec, PoolingSpec, TimeceptionSpec

ALMOST_ALL = 1 - 1e-6
SHAPE = (3, 24, 4, 2, 1)  # N, C, T, H, W
KINDS = ("timeception", "pooling")


def spec_of(
    kind: str, dropout: tuple[float, float], n_classes: int = 3, hidden: int = 8
) -> ClassifierSpec | PoolingSpec:
    """A classifier for clips of ``SHAPE``."""
    if kind == "pooling":
        return PoolingSpec(24, n_classes, hidden, dropout)
    return ClassifierSpec(TimeceptionSpec(24, 1, 2), n_classes, hidden, dropout)


def arrays_of(spec: ClassifierSpec | PoolingSpec) -> dict[str, np.ndarray]:
    """Random values, and a shift of the norm that shows in the logits."""
    shift = np.linspace(-1, 1, spec.hidden, dtype=np.float32)
    return oracle.random_arrays(spec.parameter_shapes()) | {"norm.bias": shift}


def showing_arrays(spec: ClassifierSpec | PoolingSpec) -> dict[str, np.ndarray]:
    """Values with which the logits are what the last layer takes: ones, before dropout."""
    arrays = arrays_of(spec)
    size = spec.hidden
    return arrays | {
        "norm.weight": np.zeros(size, np.float32),
        "norm.bias": np.ones(size, np.float32),
        "output.weight": np.eye(size, dtype=np.float32),
        "output.bias": np.zeros(size, np.float32),
    }


def clips() -> np.ndarray:
    """N, C, T, H, W."""
    return draw_input(SHAPE)


def assert_all_dropped_before_hidden(logits: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    """Normalised by the batch, equal vectors leave the norm's own bias."""
    x = np.float64(arrays["norm.bias"])
    x = np.where(x > 0, x, LEAKY_SLOPE * x)
    expected = x @ arrays["output.weight"].T + arrays["output.bias"]
    np.testing.assert_allclose(logits, np.tile(expected, (SHAPE[0], 1)), atol=1e-5)
    assert np.abs(expected - arrays["output.bias"]).max() > 0.05


def assert_all_dropped_before_output(logits: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    """Nothing is left but the bias of the last layer."""
    np.testing.assert_allclose(logits, np.tile(arrays["output.bias"], (SHAPE[0], 1)), atol=1e-6)


def assert_share_dropped(logits: np.ndarray, rate: float) -> None:
    """Ones are dropped at the rate, and what stays is scaled so that the mean is kept."""
    kept = logits[logits != 0]
    np.testing.assert_allclose(kept, 1 / (1 - rate), rtol=1e-5)
    deviation = np.sqrt(rate * (1 - rate) / logits.size)
    assert abs((logits == 0).mean() - rate) < 5 * deviation
