"""Backbones by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from timeception import checks
from timeception.backbones.base import Backbone

Builder = Callable[..., Backbone]
_B = TypeVar("_B", bound=Builder)

_BUILDERS: dict[str, Builder] = {}

#: Options that a description states otherwise, or that change no feature.
_NOT_DESCRIBED = ("seed", "transform", "batch_size")


def register(name: str) -> Callable[[_B], _B]:
    """Decorate a builder ``(name, weights, endpoint, **options) -> Backbone``.

    A name that ends with a colon (``"timm:"``) is a family; its builder gets the full name.

    Raises:
        ValueError: if the name is taken.
    """

    def decorate(builder: _B) -> _B:
        checks.require(name not in _BUILDERS, "name", "be new in the registry", name)
        _BUILDERS[name] = builder
        return builder

    return decorate


def backbone_names() -> tuple[str, ...]:
    """Registered names, sorted; families end with a colon and take a name after it."""
    return tuple(sorted(_BUILDERS))


def create_backbone(
    name: str,
    weights: str | Path | None = None,
    endpoint: str | None = None,
    **options: Any,
) -> Backbone:
    """Make a frozen backbone.

    Args:
        name: a registered name, or family and name: ``"timm:resnet50"``.
        weights: a checkpoint file, recognised by its content; ``"random"`` (seeded);
            ``None`` or ``"default"`` for the weights that the name has of its own.
        endpoint: name of the map to return; ``None`` is the backbone's own choice.
        options: ``seed`` of random weights, ``batch_size`` of one pass, ``transform`` in place
            of the weights' own preprocessing, and what the backbone itself takes.

    Raises:
        ValueError: for unknown names, endpoints and options, and for weights that do not fit.

    Example:
        >>> backbone = create_backbone("efficientnet_lite0")
        >>> backbone.out_channels, backbone.map_size(224, 224)
        (1280, (7, 7))
    """
    family, colon, member = name.partition(":")
    key = family + colon
    checks.one_of("backbone", key if key in _BUILDERS else name, backbone_names())
    checks.require(not colon or bool(member), "backbone", f"name a network after {key!r}", name)
    builder = _BUILDERS[key]
    parameters = inspect.signature(builder).parameters.values()
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
        known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        for option in options:
            checks.one_of(f"option of backbone {name!r}", option, known)
    backbone = builder(name, "default" if weights is None else str(weights), endpoint, **options)
    backbone.options = {k: v for k, v in options.items() if k not in _NOT_DESCRIBED}
    return backbone
