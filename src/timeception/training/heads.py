"""From a recipe to the head that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timeception import checks
from timeception.spec import ClassifierSpec, TimeceptionSpec, default_groups
from timeception.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn


def classifier_spec(
    recipe: Recipe, in_channels: int, n_classes: int, map_size: tuple[int, int]
) -> ClassifierSpec:
    """The network that a recipe asks for, on features of ``in_channels`` and ``map_size``."""
    model = recipe.model
    return ClassifierSpec(
        TimeceptionSpec(
            in_channels,
            n_layers=model.n_layers,
            n_groups=model.n_groups or default_groups(in_channels),
            is_dilated=model.is_dilated,
            expansion=model.expansion,
            pool_lookahead=model.pool_lookahead,
            bn_momentum=model.bn_momentum,
        ),
        n_classes,
        hidden=model.hidden,
        dropout=model.dropout,
        map_size=map_size if model.keep_positions else None,
    )


def build_head(recipe: Recipe, shape: tuple[int, int, int, int], n_classes: int) -> nn.Module:
    """Build the PyTorch head for draws of ``shape`` (T, C, H, W), freshly initialised.

    Raises:
        ValueError: if the pooling head is asked to keep positions.
    """
    from timeception.torch import PoolingClassifier, TimeceptionClassifier

    _, channels, height, width = shape
    if recipe.model.head == "timeception":
        return TimeceptionClassifier.from_spec(
            classifier_spec(recipe, channels, n_classes, (height, width))
        )
    checks.require(
        not recipe.model.keep_positions,
        "model.keep_positions",
        "be false with model.head=pooling",
        True,
    )
    return PoolingClassifier(
        channels,
        n_classes,
        hidden=recipe.model.hidden,
        dropout=recipe.model.dropout,
        bn_momentum=recipe.model.bn_momentum,
    )
