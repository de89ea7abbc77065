"""Recipes: YAML files that name everything a run needs, their sections, and packaged ones."""

from timeception.recipes.recipe import (
    Recipe,
    build_recipe,
    load_recipe,
    packaged_recipes,
    read_2019_yaml,
)

__all__ = ["Recipe", "build_recipe", "load_recipe", "packaged_recipes", "read_2019_yaml"]
