"""Baseline heads, and the registry of heads that ``model.head`` names.

A head of another package registers the same way, under the entry-point group
``timeception.heads``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from math import prod
from typing import Any, TypeVar

from timeception import checks, plugins
from timeception.spec.classifiers import ClassifierSpec, KeepsMaps, PoolingSpec
from timeception.spec.layers import known_fields
from timeception.spec.localizers import LocalizerSpec

Class = TypeVar("Class", bound=type)

LOCALIZER = "localizer"  # the head that scores each timestep

#: Class of each head that is no Timeception network: the class, or its ``module:Name``.
_HEADS: dict[str, Any] = {
    "linear": "timeception.torch.heads:LinearHead",
    "lstm": "timeception.torch.heads:LSTMHead",
    "tcn": "timeception.torch.heads:TCNHead",
    "transformer": "timeception.torch.heads:TransformerHead",
}


def register_head(name: str) -> Callable[[Class], Class]:
    """Register a subclass of ``timeception.torch.heads.Head`` as ``model.head: name``."""

    def register(head: Class) -> Class:
        _HEADS[name] = head
        return head

    return register


def head_names() -> tuple[str, ...]:
    """Return the names of all heads of classifiers, plug-ins included."""
    plugins.load("timeception.heads")
    return ("timeception", "pooling", *_HEADS)


def head_class(name: str) -> Any:
    """Return the PyTorch class of a baseline head.

    Raises:
        ValueError: if there is no such head.
    """
    if name not in _HEADS:
        plugins.load("timeception.heads")
    found = _HEADS[str(checks.one_of("head", name, tuple(_HEADS)))]
    if isinstance(found, str):
        module, _, attribute = found.partition(":")
        found = _HEADS[name] = getattr(import_module(module), attribute)
    return found


def spec_class(name: str) -> Any:
    """Return the class of the spec of a head."""
    own: dict[str, Any] = {
        "timeception": ClassifierSpec,
        "pooling": PoolingSpec,
        LOCALIZER: LocalizerSpec,
    }
    return own.get(name, HeadSpec)


def head_name(spec: ClassifierSpec | PoolingSpec | HeadSpec | LocalizerSpec) -> str:
    """Return the name of the head that a spec describes."""
    if isinstance(spec, HeadSpec):
        return spec.head
    if isinstance(spec, LocalizerSpec):
        return LOCALIZER
    return "pooling" if isinstance(spec, PoolingSpec) else "timeception"


@dataclass(frozen=True)
class HeadSpec(KeepsMaps):
    """A baseline head.

    Args:
        head: registered name.
        in_channels: channels of the features.
        n_classes: number of classes.
        hidden: width of the temporal layers.
        n_layers: number of temporal layers, for heads that have several.
        dropout: rates before the temporal layers and before the output layer.
        map_size: ``None`` averages the features over space. A pair (H, W) keeps each position of
            an H x W map as separate channels.
    """

    head: str
    in_channels: int
    n_classes: int
    hidden: int = 512
    n_layers: int = 4
    dropout: tuple[float, float] = (0.5, 0.25)
    map_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("in_channels", "n_classes", "hidden", "n_layers"):
            checks.positive_int(name, getattr(self, name))
        rates = tuple(checks.fraction("dropout", rate) for rate in self.dropout)
        checks.require(len(rates) == 2, "dropout", "be two rates", self.dropout)
        object.__setattr__(self, "dropout", rates)
        if self.map_size is not None:
            sizes = tuple(checks.positive_int("map_size", side) for side in self.map_size)
            object.__setattr__(self, "map_size", sizes)

    @property
    def in_features(self) -> int:
        """Numbers per timestep that the temporal layers take."""
        return self.in_channels * prod(self.map_size or (1, 1))

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of all arrays."""
        shapes: dict[str, tuple[int, ...]] = head_class(self.head).parameter_shapes(self)
        return shapes

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        sizes = None if self.map_size is None else list(self.map_size)
        return asdict(self) | {"dropout": list(self.dropout), "map_size": sizes}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> HeadSpec:
        """Build a spec from the fields of ``to_dict``; an unknown field is an error."""
        return cls(**known_fields(cls, fields))
