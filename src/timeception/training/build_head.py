"""The head that a recipe specifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timeception import checks
from timeception.recipes.recipe import Recipe
from timeception.spec import ClassifierSpec, PoolingSpec, TimeceptionSpec, default_groups

if TYPE_CHECKING:
    from torch import nn

HeadSpec = ClassifierSpec | PoolingSpec


def head_spec(
    recipe: Recipe, in_channels: int, n_classes: int, map_size: tuple[int, int]
) -> HeadSpec:
    """Return the spec of the recipe's head, for features of ``in_channels`` and ``map_size``.

    Raises:
        ValueError: if a setting is out of range, or the head does not offer it.
    """
    model = recipe.model
    if model.head == "pooling":
        positions = model.keep_spatial
        checks.require(
            not positions, "model.keep_spatial", "be false with model.head=pooling", True
        )
        return PoolingSpec(
            in_channels, n_classes, model.hidden, model.dropout, model.bn_eps, model.bn_momentum
        )
    return ClassifierSpec(
        TimeceptionSpec(
            in_channels,
            n_layers=model.n_layers,
            n_groups=model.n_groups or default_groups(in_channels),
            is_dilated=model.is_dilated,
            expansion=model.expansion,
            pool_lookahead=model.pool_lookahead,
            bn_eps=model.bn_eps,
            bn_momentum=model.bn_momentum,
        ),
        n_classes,
        hidden=model.hidden,
        dropout=model.dropout,
        map_size=map_size if model.keep_spatial else None,
    )


def build_head(spec: HeadSpec) -> nn.Module:
    """Build a new PyTorch head from its spec."""
    from timeception.torch import PoolingClassifier, TimeceptionClassifier

    if isinstance(spec, PoolingSpec):
        return PoolingClassifier.from_spec(spec)
    return TimeceptionClassifier.from_spec(spec)
