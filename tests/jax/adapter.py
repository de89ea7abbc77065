"""The JAX adapter."""

from __future__ import annotations

import jax
import numpy as np

from tests.contracts import Arrays
from timeception.jax import Params, apply, apply_training, init
from timeception.spec import ClassifierSpec, TimeceptionSpec, is_trainable

apply_compiled = jax.jit(apply)


def channels_last(x: np.ndarray) -> np.ndarray:
    """N, C, T, H, W to N, T, H, W, C."""
    return np.moveaxis(x, 1, -1)


def channels_first(y: jax.Array) -> np.ndarray:
    """N, T, H, W, C to N, C, T, H, W."""
    return np.moveaxis(np.asarray(y), -1, 1)


@jax.jit
def backward(params: Params, x: jax.Array, cotangent: jax.Array) -> tuple:
    """Compute result, moving statistics, and gradients of parameters and input."""

    def loss(params: Params, x: jax.Array) -> tuple:
        y, moved = apply_training(params, x)
        return (y * cotangent).sum(), (y, moved)

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)


class JaxAdapter:
    """Run the pure functions."""

    def features(self, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray) -> np.ndarray:
        return channels_first(apply_compiled(Params(spec, arrays), channels_last(x)))

    def logits(self, spec: ClassifierSpec, arrays: Arrays, x: np.ndarray) -> np.ndarray:
        return np.asarray(apply_compiled(Params(spec, arrays), channels_last(x)))

    def initial_arrays(self, spec: ClassifierSpec, seed: int) -> Arrays:
        return init(spec, jax.random.key(seed)).to_arrays()

    def train(
        self, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray, cotangent: np.ndarray
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        params = Params(spec, arrays)
        results = backward(params, channels_last(x), channels_last(cotangent))
        (_, (y, moved)), (of_params, of_input) = results
        gradients = {k: v for k, v in of_params.to_arrays().items() if is_trainable(k)}
        gradients["input"] = channels_first(of_input)
        statistics = {k: v for k, v in moved.to_arrays().items() if not is_trainable(k)}
        return channels_first(y), gradients, statistics
