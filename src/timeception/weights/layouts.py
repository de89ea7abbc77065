"""The layout of canonical arrays in Keras, which puts the inputs of kernels first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from timeception.spec import N_BRANCHES, LayerSpec, LocalizerSpec, PoolingSpec, TimeceptionSpec
from timeception.weights.arrays import AnySpec

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """The exact conversion of one array to Keras and back.

    Args:
        canonical: The canonical shape.
        axes: The sizes into which the canonical axes are split.
        order: The order of these axes in Keras.
        keras: The shape in Keras.

    Example:
        >>> import numpy as np
        >>> layout = Layout((4, 3), (2, 2, 3), (2, 1, 0), (3, 4))
        >>> array = np.arange(12).reshape(4, 3)
        >>> layout.to_keras(array)[0]
        array([0, 6, 3, 9])
        >>> bool((layout.from_keras(layout.to_keras(array)) == array).all())
        True
    """

    canonical: Shape
    axes: Shape
    order: Shape
    keras: Shape

    def to_keras(self, array: Any) -> Any:
        """Convert a canonical array of numpy or JAX to the layout of Keras."""
        return array.reshape(self.axes).transpose(self.order).reshape(self.keras)

    def from_keras(self, array: Any) -> Any:
        """Convert an array of numpy or JAX from the layout of Keras."""
        ordered = array.reshape([self.axes[axis] for axis in self.order])
        back = [self.order.index(axis) for axis in range(len(self.order))]
        return ordered.transpose(back).reshape(self.canonical)


def keras_layouts(spec: AnySpec) -> dict[str, Layout]:
    """Return the layout of every array of ``spec`` by canonical name."""
    if isinstance(spec, TimeceptionSpec):
        return {
            f"layers.{index}.{name}": layout
            for index, layer in enumerate(spec.layers)
            for name, layout in _layer(layer).items()
        }
    if isinstance(spec, LocalizerSpec):
        return _localizer(spec)
    layouts = {name: _same(shape) for name, shape in spec.parameter_shapes().items()}
    layouts["output.weight"] = _transposed(spec.n_classes, spec.hidden)
    if isinstance(spec, PoolingSpec):
        layouts["hidden.weight"] = _transposed(spec.hidden, spec.pooled_channels)
        return layouts
    positions = spec.map_size or (1, 1)
    axes = (spec.hidden, spec.timeception.out_channels, *positions)
    canonical = (spec.hidden, spec.pooled_channels)
    layouts["hidden.weight"] = Layout(canonical, axes, (2, 3, 1, 0), canonical[::-1])
    layers = keras_layouts(spec.timeception)
    return layouts | {f"timeception.{name}": layout for name, layout in layers.items()}


def to_keras(spec: AnySpec, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arrays to the layout of Keras; they keep their canonical names."""
    return {name: layout.to_keras(arrays[name]) for name, layout in keras_layouts(spec).items()}


def from_keras(spec: AnySpec, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arrays with canonical names from the layout of Keras."""
    return {name: layout.from_keras(arrays[name]) for name, layout in keras_layouts(spec).items()}


def _localizer(spec: LocalizerSpec) -> dict[str, Layout]:
    """Kernels of linear layers and of convolutions have their axes reversed."""
    layers = keras_layouts(spec.timeception)
    layouts = {f"timeception.{name}": layout for name, layout in layers.items()}
    for name, shape in spec.parameter_shapes().items():
        order = tuple(reversed(range(len(shape))))
        layouts.setdefault(name, Layout(shape, shape, order, shape[::-1]))
    return layouts


def _layer(spec: LayerSpec) -> dict[str, Layout]:
    layouts = {name: _same(shape) for name, shape in spec.parameter_shapes().items()}
    columns = N_BRANCHES * spec.branch_channels
    layouts["pointwise.weight"] = Layout(
        (spec.out_channels, spec.group_channels),
        (spec.n_groups, columns, spec.group_channels),
        (0, 2, 1),
        (spec.n_groups, spec.group_channels, columns),
    )
    for branch, taps in enumerate(spec.taps):
        layouts[f"temporal.{branch}.weight"] = _transposed(spec.temporal_channels, len(taps))
    return layouts


def _same(shape: Shape) -> Layout:
    return Layout(shape, shape, tuple(range(len(shape))), shape)


def _transposed(rows: int, columns: int) -> Layout:
    return Layout((rows, columns), (rows, columns), (1, 0), (columns, rows))
