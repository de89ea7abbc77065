"""Parameters as a pytree: initialised, loaded and saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import prod, sqrt
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from timeception import checks
from timeception.spec import DEPTHWISE_BIAS_INIT, ClassifierSpec, TimeceptionSpec
from timeception.weights.arrays import check_arrays
from timeception.weights.folder import read_folder, write_folder
from timeception.weights.reading import read_checkpoint

Spec = TimeceptionSpec | ClassifierSpec


@jax.tree_util.register_pytree_with_keys_class
class Params(Mapping[str, Array]):
    """The arrays of a network by canonical name, and its spec: a pytree whose leaves are arrays.

    Args:
        spec: spec of the layers alone, or of a classifier; static under ``jit``.
        arrays: numpy or JAX arrays, with the names and shapes of ``spec.parameter_shapes()``.

    Raises:
        ValueError: if names or shapes do not match ``spec``.
    """

    def __init__(self, spec: Spec, arrays: Mapping[str, Any]) -> None:
        check_arrays("arrays", spec, arrays)
        self.spec = spec
        self._arrays: dict[str, Array] = {name: jnp.asarray(arrays[name]) for name in arrays}

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"Params({self.spec}, {len(self)} arrays)"

    @property
    def layers(self) -> TimeceptionSpec:
        """Spec of the layers, with or without a classifier."""
        return self.spec.timeception if isinstance(self.spec, ClassifierSpec) else self.spec

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the canonical arrays, float32 on the CPU."""
        return {name: np.asarray(array, np.float32) for name, array in self.items()}

    def replace(self, changes: Mapping[str, Array]) -> Params:
        """Return a copy with some arrays replaced, by canonical name."""
        return Params(self.spec, {**self._arrays, **changes})

    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], Any]:
        """Return the arrays with their names, and the static part."""
        leaves = [(jax.tree_util.DictKey(name), array) for name, array in self._arrays.items()]
        return leaves, (self.spec, tuple(self._arrays))

    @classmethod
    def tree_unflatten(cls, static: tuple[Spec, Sequence[str]], leaves: Sequence[Any]) -> Params:
        """Rebuild from leaves, without checks, since JAX passes placeholders too."""
        params = object.__new__(cls)
        params.spec, names = static
        params._arrays = dict(zip(names, leaves, strict=True))
        return params


def init(spec: Spec, key: Array) -> Params:
    """Initialise parameters as in the Keras network of 2019; ``key`` is a ``jax.random.key``."""
    return Params(spec, _initial_arrays(spec, key))


def load(path: str | Path) -> Params:
    """Load parameters from any file or folder that ``weights.read_checkpoint`` supports."""
    checkpoint = read_checkpoint(path)
    return Params(checkpoint.spec, checkpoint.arrays)


def from_pretrained(folder_or_hub_id: str | Path, **hub_options: Any) -> Params:
    """Load the parameters of a model that any framework has saved.

    Args:
        folder_or_hub_id: a folder that ``save_pretrained`` wrote, or a hub id.
        hub_options: as in ``huggingface_hub.snapshot_download``.

    Raises:
        ValueError: if the folder holds another kind of model, or arrays that do not fit.
    """
    spec, arrays, _ = read_folder(folder_or_hub_id, **hub_options)
    if not isinstance(spec, ClassifierSpec):
        kind, requirement = type(spec).__name__, "hold a TimeceptionClassifier"
        raise ValueError(checks.problem("folder_or_hub_id", requirement, kind))
    return Params(spec, arrays)


def save_pretrained(
    params: Params, folder: str | Path, pipeline: Mapping[str, Any] | None = None
) -> None:
    """Save a classifier; ``from_pretrained`` of any framework reads the folder.

    ``pipeline`` is metadata that users of the weights need, plain JSON.

    Raises:
        ValueError: if ``params`` belong to the layers alone.
    """
    if not isinstance(params.spec, ClassifierSpec):
        raise ValueError(checks.problem("params", "belong to a classifier", params))
    write_folder(folder, params.spec, params.to_arrays(), pipeline)


@partial(jax.jit, static_argnames="spec")  # one compilation, instead of one per array
def _initial_arrays(spec: Spec, key: Array) -> dict[str, Array]:
    shapes, bounds = spec.parameter_shapes(), _initial_bounds(spec)
    sizes = [prod(shapes[name]) for name in bounds]
    drawn = jax.random.uniform(key, (sum(sizes),), minval=-1, maxval=1)
    arrays = {name: _constant(name, shape) for name, shape in shapes.items()}
    for name, values in zip(bounds, jnp.split(drawn, np.cumsum(sizes)[:-1]), strict=True):
        arrays[name] = bounds[name] * values.reshape(shapes[name])
    return arrays


def _constant(name: str, shape: tuple[int, ...]) -> Array:
    if name.endswith(("norm.weight", "running_var")):
        return jnp.ones(shape)
    return jnp.full(shape, DEPTHWISE_BIAS_INIT if "temporal." in name else 0.0)


def _initial_bounds(spec: Spec) -> dict[str, float]:
    """Return the Glorot bounds of the kernels, which are drawn from U(-bound, bound)."""
    if isinstance(spec, ClassifierSpec):
        bounds = {f"timeception.{k}": v for k, v in _initial_bounds(spec.timeception).items()}
        bounds["hidden.weight"] = sqrt(6 / (spec.pooled_channels + spec.hidden))
        bounds["output.weight"] = sqrt(6 / (spec.hidden + spec.n_classes))
        return bounds
    bounds = {}
    for index, layer in enumerate(spec.layers):
        bounds[f"layers.{index}.pointwise.weight"] = layer.pointwise_bound
        for branch in range(len(layer.taps)):
            bounds[f"layers.{index}.temporal.{branch}.weight"] = layer.temporal_bound(branch)
    return bounds
