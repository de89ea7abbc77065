"""Backbones by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from timeception import checks, plugins
from timeception.backbones.base import Backbone

Builder = Callable[..., Backbone]
_B = TypeVar("_B", bound=Builder)

#: Entry points of installed packages that register backbones.
ENTRY_POINTS = "timeception.backbones"

_BUILDERS: dict[str, Builder] = {}

#: Options that a description states elsewhere, or that do not affect features.
_NOT_DESCRIBED = ("seed", "transform", "batch_size")


def register(name: str) -> Callable[[_B], _B]:
    """Register the decorated builder ``(name, weights, endpoint, **options) -> Backbone``.

    A name that ends with a colon (``"timm:"``) stands for a family of networks; its builder
    receives the full name. Another package registers its backbones with an entry point in the
    group ``timeception.backbones`` that names the module of its builders; see
    ``timeception.plugins``.

    Raises:
        ValueError: if the name is taken.
    """

    def decorate(builder: _B) -> _B:
        checks.require(name not in _BUILDERS, "name", "be new in the registry", name)
        _BUILDERS[name] = builder
        return builder

    return decorate


def backbone_names() -> tuple[str, ...]:
    """Registered names, sorted; a name that ends with a colon requires a name after it."""
    plugins.load(ENTRY_POINTS)
    return tuple(sorted(_BUILDERS))


def create_backbone(
    name: str, weights: str | Path | None = None, endpoint: str | None = None, **options: Any
) -> Backbone:
    """Make a frozen backbone.

    Args:
        name: a registered name, or family and name: ``"timm:resnet50"``.
        weights: a checkpoint file, recognised by its content; ``"random"`` (seeded);
            ``None`` or ``"default"`` for the weights that belong to the name.
        endpoint: name of the map to return; ``None`` is the backbone's default.
        options: ``seed`` of random weights, ``batch_size`` of one pass, ``transform`` to
            replace the preprocessing of the weights, and further options of the backbone.

    Raises:
        ValueError: for unknown names, endpoints and options, and for weights that do not fit.

    Example:
        >>> backbone = create_backbone("efficientnet_lite0")
        >>> backbone.out_channels, backbone.map_size(224, 224)
        (1280, (7, 7))
    """
    builder = _find_builder(name)
    parameters = inspect.signature(builder).parameters.values()
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
        known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        for option in options:
            checks.one_of(f"option of backbone {name!r}", option, known)
    backbone = builder(name, "default" if weights is None else str(weights), endpoint, **options)
    backbone.options = {k: v for k, v in options.items() if k not in _NOT_DESCRIBED}
    return backbone


def _find_builder(name: str) -> Builder:
    """The builder of a name or of its family; plug-ins are loaded if none here has it."""
    family, colon, member = name.partition(":")
    key = family + colon
    if key not in _BUILDERS and key not in backbone_names():
        if not colon:
            import timm

            if timm.is_model(name.partition(".")[0]):
                known, advice = ", ".join(map(repr, _BUILDERS)), f"Did you mean 'timm:{name}'?"
                raise ValueError(checks.problem("backbone", f"be one of {known}", name, advice))
        checks.one_of("backbone", name, backbone_names())
    checks.require(not colon or bool(member), "backbone", f"name a network after {key!r}", name)
    return _BUILDERS[key]
