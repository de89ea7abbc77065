"""The tests that the network of every framework must pass.

A framework's test module writes an adapter and one line::

    class TestTorch(FrameworkContract):
        adapter = TorchAdapter()

All layouts here are N, C, T, H, W and all names canonical; the adapter translates.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pytest

from tests import oracle
from timeception.spec import ClassifierSpec, TimeceptionSpec, is_trainable

Arrays = dict[str, np.ndarray]

#: (spec, input shape): groups, odd lengths, both kinds of taps, both branch 5, both epsilons.
CASES = {
    "dilated": (TimeceptionSpec(40, 2, 4), (2, 40, 16, 2, 3)),
    "kernels": (TimeceptionSpec(40, 2, 4, is_dilated=False), (2, 40, 15, 3, 1)),
    "lookback": (TimeceptionSpec(32, 2, 2, pool_lookahead=False), (1, 32, 13, 2, 2)),
    "torch2019": (
        TimeceptionSpec(40, 3, 4, is_dilated=False, pool_lookahead=False, bn_eps=1e-5),
        (2, 40, 11, 1, 2),
    ),
    "one_group": (TimeceptionSpec(12, 1, 1), (3, 12, 7, 1, 1)),
    "shortest": (TimeceptionSpec(24, 3, 2), (1, 24, 8, 2, 1)),
    "wide": (TimeceptionSpec(16, 2, 2, expansion=2.0), (1, 16, 9, 1, 5)),
}

#: Fault: shape of the input, words of the error. The network takes (N, 40, >= 4, H, W).
BAD_INPUTS = {
    "rank": ((2, 40, 16), "5 axes"),
    "channels": ((2, 41, 16, 2, 2), "40 channels"),
    "short": ((2, 40, 3, 2, 2), "2 \\*\\* n_layers = 4"),
}


class Adapter(Protocol):
    """Builds one framework's networks from a spec and canonical arrays, and runs them on numpy."""

    def features(self, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray) -> np.ndarray:
        """Run the stack of layers in evaluation; let its errors through."""

    def logits(self, spec: ClassifierSpec, arrays: Arrays, x: np.ndarray) -> np.ndarray:
        """Run the classifier in evaluation."""

    def initial_arrays(self, spec: ClassifierSpec, seed: int) -> Arrays:
        """Return the canonical arrays of a new classifier."""

    def train(
        self, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray, cotangent: np.ndarray
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        """Run one forward and backward pass of the stack in training.

        Returns:
            The features, the gradients of ``sum(features * cotangent)`` (canonical names, and
            ``"input"``), and the moving statistics afterwards.
        """


def draw_input(shape: tuple[int, ...], seed: int = 3) -> np.ndarray:
    """Return values drawn uniformly from [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    """Check shapes, and values to ``tolerance`` times the standard deviation of the expected."""
    assert actual.shape == expected.shape
    spread = max(float(np.std(expected)), 1e-6)
    assert float(np.max(np.abs(actual - expected))) <= tolerance * spread


class EvaluationContract:
    """Tests for every network, including those for evaluation only."""

    adapter: Adapter
    tolerance = 1e-4  # of the output's standard deviation

    @pytest.mark.parametrize("case", CASES)
    def test_features_equal_the_oracle(self, case: str) -> None:
        spec, shape = CASES[case]
        arrays, x = oracle.random_arrays(spec.parameter_shapes()), draw_input(shape)
        actual = self.adapter.features(spec, arrays, x)
        assert actual.shape[1:3] == (spec.out_channels, spec.output_timesteps(shape[2]))
        assert_close(actual, oracle.features(spec, arrays, x), self.tolerance)

    @pytest.mark.parametrize("map_size", [None, (2, 3)])
    def test_logits_equal_the_oracle(self, map_size: tuple[int, int] | None) -> None:
        spec = ClassifierSpec(TimeceptionSpec(40, 2, 4), 5, hidden=16, map_size=map_size)
        arrays, x = oracle.random_arrays(spec.parameter_shapes()), draw_input((3, 40, 13, 2, 3))
        actual = self.adapter.logits(spec, arrays, x)
        assert_close(actual, oracle.logits(spec, arrays, x), self.tolerance)

    def test_a_clip_does_not_depend_on_its_batch(self) -> None:
        spec, _ = CASES["dilated"]
        arrays, x = oracle.random_arrays(spec.parameter_shapes()), draw_input((3, 40, 9, 2, 2))
        together = self.adapter.features(spec, arrays, x)
        alone = [self.adapter.features(spec, arrays, x[i : i + 1]) for i in range(3)]
        assert_close(together, np.concatenate(alone), 1e-5)

    @pytest.mark.parametrize("case", BAD_INPUTS)
    def test_bad_inputs(self, case: str) -> None:
        shape, words = BAD_INPUTS[case]
        spec, _ = CASES["dilated"]
        arrays = oracle.random_arrays(spec.parameter_shapes())
        with pytest.raises(ValueError, match=words):
            self.adapter.features(spec, arrays, draw_input(shape))


class FrameworkContract(EvaluationContract):
    """Tests for every framework."""

    def test_initial_arrays(self) -> None:
        spec = ClassifierSpec(TimeceptionSpec(80, 2, 2), 3, hidden=32)
        arrays = self.adapter.initial_arrays(spec, seed=0)
        assert {k: v.shape for k, v in arrays.items()} == spec.parameter_shapes()
        for name, values in arrays.items():
            if name.endswith(("norm.weight", "running_var")):
                assert np.all(values == 1), name
            elif "temporal" in name and name.endswith("bias"):
                assert np.all(values == np.float32(0.1)), name
            elif name.endswith(("bias", "running_mean")):
                assert np.all(values == 0), name
            else:
                bound = self._glorot_bound(spec, name)
                assert 0.8 * bound < np.abs(values).max() <= bound * (1 + 1e-6), name
                assert abs(values.mean()) < 0.3 * bound, name

    def test_seeds_give_the_initial_arrays(self) -> None:
        spec = ClassifierSpec(TimeceptionSpec(16, 1, 2), 3, hidden=8)
        first, again, other = (self.adapter.initial_arrays(spec, seed=s) for s in (0, 0, 1))
        assert all(np.array_equal(first[name], again[name]) for name in first)
        assert not np.array_equal(first["output.weight"], other["output.weight"])

    @pytest.mark.parametrize("case", ["dilated", "torch2019", "one_group"])
    def test_training_normalises_by_the_batch(self, case: str) -> None:
        spec, shape = CASES[case]
        arrays, x = oracle.random_arrays(spec.parameter_shapes()), draw_input(shape)
        expected = oracle.features(spec, arrays, x, training=True)
        actual, _, _ = self.adapter.train(spec, arrays, x, np.ones_like(expected, np.float32))
        assert_close(actual, expected, 1e-3)

    def test_training_moves_the_statistics(self) -> None:
        spec = TimeceptionSpec(12, 1, 1, bn_momentum=0.25)
        arrays, x = oracle.random_arrays(spec.parameter_shapes()), draw_input((3, 12, 6, 2, 2))
        cotangent = np.ones((3, spec.out_channels, 3, 2, 2), np.float32)
        _, _, moved = self.adapter.train(spec, arrays, x, cotangent)
        mean, variance = self._branch_statistics(spec, arrays, x)
        n = x.size // x.shape[1]
        for leaf, batch in (("mean", mean), ("var", variance)):
            name = f"layers.0.norm.running_{leaf}"
            expected = 0.75 * arrays[name] + 0.25 * batch
            # frameworks differ in Bessel's correction of the variance
            allowance = 1e-5 + (0.25 * batch / (n - 1) if leaf == "var" else 0)
            assert np.all(np.abs(moved[name] - expected) <= allowance), name

    @pytest.mark.parametrize("case", ["dilated", "torch2019", "one_group", "shortest"])
    def test_gradients_equal_the_oracle_differences(self, case: str) -> None:
        """Central differences of the float64 oracle along random directions, array by array."""
        spec, shape = CASES[case]
        arrays, x = oracle.random_arrays(spec.parameter_shapes()), draw_input(shape)
        rng = np.random.default_rng(5)
        out_shape = oracle.features(spec, arrays, x, training=True).shape
        cotangent = rng.normal(size=out_shape).astype(np.float32)
        _, gradients, _ = self.adapter.train(spec, arrays, x, cotangent)
        wanted = {name for name in arrays if is_trainable(name)} | {"input"}
        assert set(gradients) == wanted
        everything = {k: np.float64(v) for k, v in arrays.items()} | {"input": np.float64(x)}
        largest = max(float(np.linalg.norm(g)) for g in gradients.values())
        for name in wanted:
            assert gradients[name].shape == everything[name].shape
            direction = rng.normal(size=everything[name].shape)
            direction /= np.linalg.norm(direction)
            step, values = 1e-6, []
            for sign in (1, -1):
                moved = everything | {name: everything[name] + sign * step * direction}
                y = oracle.features(spec, moved, moved["input"], training=True)
                values.append(float(np.sum(y * cotangent)))
            expected = (values[0] - values[1]) / (2 * step)
            actual = float(np.sum(gradients[name] * direction))
            own = float(np.linalg.norm(gradients[name]))
            assert abs(actual - expected) <= 1e-3 * own + 1e-5 * largest, name

    @staticmethod
    def _glorot_bound(spec: ClassifierSpec, name: str) -> float:
        """Return the Glorot bound of a kernel of Keras 2019, which had one per group and branch."""
        shape = spec.parameter_shapes()[name]
        if "layers." not in name:
            return float(np.sqrt(6 / sum(shape)))
        width = spec.timeception.layers[int(name.split(".")[2])].branch_channels
        if "pointwise" in name:
            return float(np.sqrt(6 / (shape[1] + width)))
        return float(np.sqrt(6 / (shape[1] * (width + 1))))

    @staticmethod
    def _branch_statistics(
        spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of the input of the first normalisation (one group)."""
        layer_spec, own = spec.layers[0], oracle.below(arrays, "layers.0.")
        y = np.einsum("oc,ncthw->nothw", own["pointwise.weight"], np.float64(x))
        y = y + own["pointwise.bias"].reshape(-1, 1, 1, 1)
        parts = np.split(y, 5, axis=1)
        for i, taps in enumerate(layer_spec.taps):
            weight, bias = own[f"temporal.{i}.weight"], own[f"temporal.{i}.bias"]
            parts[i + 1] = oracle.temporal_conv(parts[i + 1], weight, bias, taps)
        parts[4] = oracle.temporal_maximum(parts[4], layer_spec.pool_lookahead)
        y = np.concatenate(parts, axis=1)
        return y.mean((0, 2, 3, 4)), y.var((0, 2, 3, 4))
