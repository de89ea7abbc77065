"""``timeception recipe``: list, show, validate and describe recipes."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

Source = Annotated[str, typer.Argument(help="A recipe file, or the name of a packaged recipe.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Fields of the recipe to override, such as training.epochs=10."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer(help="List, show and validate recipes.", no_args_is_help=True)
    group.command("list")(list_)
    group.command()(show)
    group.command()(validate)
    group.command()(schema)
    app.add_typer(group, name="recipe")


def list_() -> None:
    """List the packaged recipes with a one-line description of each."""
    from timeception.recipes import load_recipe, packaged_recipes

    names = packaged_recipes()
    width = max(map(len, names))
    for name in names:
        print(f"{name:{width}}  {load_recipe(name).about}")


def show(recipe: Source, overrides: Overrides = None) -> None:
    """Print a recipe as YAML with every field, defaults included."""
    from timeception.recipes import load_recipe

    print(load_recipe(recipe, overrides or ()).to_yaml(), end="")


def validate(recipe: Source, overrides: Overrides = None) -> None:
    """Check a recipe and report every invalid field; the exit status is then 2."""
    from timeception.recipes import load_recipe

    name = load_recipe(recipe, overrides or ()).name
    print(f"{recipe}: valid (recipe {name!r}). To train it: timeception train {recipe}")


def schema(
    format_: Annotated[
        Literal["json", "markdown"],
        typer.Option("--format", help="json: a schema for editors; markdown: the reference page."),
    ] = "json",
) -> None:
    """Print every field of recipes with its type, default, range and meaning."""
    from timeception.recipes.reference import json_schema, reference_page

    if format_ == "markdown":
        print(reference_page(), end="")
    else:
        print(json.dumps(json_schema(), indent=2))
