"""The classifiers: Timeception with two linear layers, and the order-blind baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from timeception import checks
from timeception.spec.layers import (
    KERAS_BN_EPS,
    KERAS_BN_MOMENTUM,
    TimeceptionSpec,
    count_parameters,
    known_fields,
)


def _readout_channels(spec: ClassifierSpec | PoolingSpec) -> int:
    """Deprecated name of ``pooled_channels``."""
    checks.warn_renamed(f"{type(spec).__name__}.readout_channels", "pooled_channels")
    return spec.pooled_channels


class KeepsMaps:
    """A spec whose global pooling can keep the positions of an H x W map (``map_size``)."""

    map_size: tuple[int, int] | None

    def check_map_size(self, size: Sequence[int | None]) -> None:
        """Check the (H, W) of an input against ``map_size``; an unknown size is ``None``.

        Raises:
            ValueError: if the sizes differ.
        """
        checks.require(
            self.map_size is None
            or all(given in (None, side) for given, side in zip(size, self.map_size, strict=True)),
            "input",
            f"have maps of map_size={self.map_size} (H, W)",
            tuple(size),
            "Resize the maps, or build the classifier with map_size=None.",
        )


@dataclass(frozen=True)
class ClassifierSpec(KeepsMaps):
    """Timeception, global max pooling, dropout, linear, batch norm, LeakyReLU, dropout, linear.

    Args:
        timeception: the stack of layers.
        n_classes: number of classes.
        hidden: width of the hidden linear layer.
        dropout: rates before the hidden and before the output layer.
        map_size: ``None`` pools over time and space (2019). A pair (H, W) pools over time only;
            the hidden layer then sees each position of the H x W map.

    Source: the 2019 classifier. Its batch norm shares the epsilon of the layers,
    ``timeception.bn_eps``.
    """

    timeception: TimeceptionSpec
    n_classes: int
    hidden: int = 512
    dropout: tuple[float, float] = (0.5, 0.25)
    map_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        _check_head(self)

    @property
    def pooled_channels(self) -> int:
        """Size of the pooled vector that the hidden layer takes."""
        return self.timeception.out_channels * prod(self.map_size or (1, 1))

    readout_channels = property(_readout_channels)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return canonical names and shapes of all arrays; layers are under ``timeception.``."""
        shapes = {f"timeception.{k}": v for k, v in self.timeception.parameter_shapes().items()}
        return shapes | _head_shapes(self.pooled_channels, self.hidden, self.n_classes)

    @property
    def n_parameters(self) -> int:
        """Number of parameters, moving statistics included."""
        return count_parameters(self.parameter_shapes())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        fields = asdict(self)
        fields["dropout"] = list(self.dropout)
        fields["map_size"] = list(self.map_size) if self.map_size else None
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ClassifierSpec:
        """Build a spec from the fields of ``to_dict``; unknown fields are errors."""
        known = dict(known_fields(cls, fields))
        known["timeception"] = TimeceptionSpec.from_dict(known["timeception"])
        known["dropout"] = tuple(known.get("dropout", (0.5, 0.25)))
        if known.get("map_size"):
            known["map_size"] = tuple(known["map_size"])
        return cls(**known)


@dataclass(frozen=True)
class PoolingSpec(KeepsMaps):
    """The order-blind baseline: global mean and max pooling, then the same linear layers.

    Args:
        in_channels: channels of the features.
        n_classes: number of classes.
        hidden: width of the hidden linear layer.
        dropout: rates before the hidden and before the output layer.
        bn_eps: epsilon of the batch normalisation.
        bn_momentum: weight of the new batch in the moving statistics (Keras calls one minus it
            the momentum); recipes default to 0.1, see ``TimeceptionSpec``.
        map_size: ``None`` pools over time and space; a pair (H, W) pools over time only.
    """

    in_channels: int
    n_classes: int
    hidden: int = 512
    dropout: tuple[float, float] = (0.5, 0.25)
    bn_eps: float = KERAS_BN_EPS
    bn_momentum: float = KERAS_BN_MOMENTUM
    map_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        checks.positive_int("in_channels", self.in_channels)
        _check_head(self)

    @property
    def pooled_channels(self) -> int:
        """Size of the pooled vector that the hidden layer takes: means, then maxima."""
        return 2 * self.in_channels * prod(self.map_size or (1, 1))

    readout_channels = property(_readout_channels)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return canonical names and shapes of all arrays."""
        return _head_shapes(self.pooled_channels, self.hidden, self.n_classes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        sizes = None if self.map_size is None else list(self.map_size)
        return asdict(self) | {"dropout": list(self.dropout), "map_size": sizes}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> PoolingSpec:
        """Build a spec from the fields of ``to_dict``; unknown fields are errors."""
        return cls(**known_fields(cls, fields))


def _check_head(spec: ClassifierSpec | PoolingSpec) -> None:
    """Check the fields of the linear layers; convert rates and map size to tuples."""
    if spec.map_size is not None:
        checks.require(len(spec.map_size) == 2, "map_size", "be (height, width)", spec.map_size)
        sizes = tuple(checks.positive_int("map_size", side) for side in spec.map_size)
        object.__setattr__(spec, "map_size", sizes)
    checks.positive_int("n_classes", spec.n_classes)
    checks.positive_int("hidden", spec.hidden)
    checks.require(len(spec.dropout) == 2, "dropout", "be two rates", spec.dropout)
    rates = tuple(checks.fraction("dropout", rate) for rate in spec.dropout)
    object.__setattr__(spec, "dropout", rates)


def _head_shapes(pooled: int, hidden: int, n_classes: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"hidden.weight": (hidden, pooled)}
    norm = [f"norm.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")]
    shapes |= dict.fromkeys(("hidden.bias", *norm), (hidden,))
    return shapes | {"output.weight": (n_classes, hidden), "output.bias": (n_classes,)}
