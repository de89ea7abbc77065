"""The head that a recipe specifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timeception.recipes.recipe import Recipe
from timeception.spec import (
    ClassifierSpec,
    HeadSpec,
    LocalizerSpec,
    PoolingSpec,
    TimeceptionSpec,
    default_groups,
)
from timeception.weights.folder import ModelSpec

if TYPE_CHECKING:
    from torch import nn


def head_spec(
    recipe: Recipe, in_channels: int, n_classes: int, map_size: tuple[int, int]
) -> ModelSpec:
    """Return the spec of the recipe's head, for features of ``in_channels`` and ``map_size``.

    Raises:
        ValueError: if a setting is out of range.
    """
    model, kept = recipe.model, map_size if recipe.model.keep_spatial else None
    if model.head == "timeception":
        layers = TimeceptionSpec(
            in_channels,
            n_layers=model.n_layers,
            n_groups=model.n_groups or default_groups(in_channels),
            is_dilated=model.is_dilated,
            expansion=model.expansion,
            pool_lookahead=model.pool_lookahead,
            bn_eps=model.bn_eps,
            bn_momentum=model.bn_momentum,
        )
        if recipe.is_timeline:
            return LocalizerSpec(
                layers,
                n_classes,
                recipe.data.step_labels == "several",
                model.hidden,
                model.n_refinements,
                model.dropout,
            )
        return ClassifierSpec(layers, n_classes, model.hidden, model.dropout, kept)
    if model.head == "pooling":
        norm = {"bn_eps": model.bn_eps, "bn_momentum": model.bn_momentum}
        return PoolingSpec(
            in_channels, n_classes, model.hidden, model.dropout, **norm, map_size=kept
        )
    return HeadSpec(
        model.head, in_channels, n_classes, model.hidden, model.n_layers, model.dropout, kept
    )


def build_head(spec: ModelSpec) -> nn.Module:
    """Build a new PyTorch head from its spec."""
    from timeception.torch import classifier_class

    return classifier_class(spec).from_spec(spec)
