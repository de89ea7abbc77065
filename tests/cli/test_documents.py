"""Every command line in the documents is one that the commands take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from timeception.cli.app import _register_commands, app
from timeception.recipes.recipe import load_recipe, packaged_recipes

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def lines_of(page: Path) -> Iterator[str]:
    """Indented commands, and those between backquotes that are more than a name."""
    text = page.read_text(encoding="utf-8").replace("\\\n", "")
    indented = re.findall(r"^ {4}(timeception .*)$", text, re.M)
    for line in [*indented, *re.findall(r"`(timeception [^`\n]*)`", text)]:
        command = line.partition("#")[0].replace("...", "").strip()
        is_name = re.fullmatch(r"timeception( (bank|data|recipe|zoo))?( [a-z]+)?", command)
        is_grammar = "|" in command or "[" in command.partition("=")[0]
        if not is_name and not is_grammar:
            yield command


LINES = sorted({line for page in PAGES for line in lines_of(page)})


@pytest.fixture(scope="module")
def commands() -> Any:
    _register_commands()
    return typer.main.get_command(app)


@pytest.mark.parametrize("line", LINES)
def test_it_parses(line: str, commands: Any) -> None:
    command, words = commands, shlex.split(line)[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context(line, words)  # unknown options and missing arguments raise
    told = context.params
    recipe = told.get("recipe")
    if command.name == "train" and re.fullmatch("[a-z0-9_]+", recipe or ""):
        load_recipe(recipe, told["overrides"] or ())
    elif recipe in packaged_recipes() and told.get("change"):
        load_recipe(recipe, told["change"])
    elif command.name == "show" and "name" in told:  # of the zoo
        assert told["name"] == "RECIPE" or told["name"] in packaged_recipes()


def test_the_lines_are_found() -> None:
    assert len(LINES) > 20
    assert "timeception train OLD.yaml" in LINES
    assert "timeception bank import FILES --out banks/charades_i3d --axes THWC" in LINES
