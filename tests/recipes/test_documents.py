"""What the documents say about recipes is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from timeception.metrics import PROTOCOLS
from timeception.recipes.recipe import build_recipe, load_recipe, packaged_recipes

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name: str) -> list[dict[str, object]]:
    text = (DOCS / name).read_text(encoding="utf-8")
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


MINIMAL = {"name": "x", "data": {"kind": "csv", "source": "a", "bank": "b"}}


@pytest.mark.parametrize("name", ["recipes.md", "fine-tuning.md"])
def test_recipes_in_the_documents_are_valid(name: str) -> None:
    found = blocks(name)
    assert len(found) == 2
    for block in found:
        recipe = build_recipe(MINIMAL | block)
        assert recipe.name == block.get("name", "x")


def test_defaults_in_the_documents_are_those_of_the_code() -> None:
    block = blocks("recipes.md")[0]
    defaults = build_recipe(MINIMAL).model_dump(mode="json")
    sections = ("sampling", "model", "training", "testing")
    shown = [(section, field) for section in sections for field in block[section]]
    assert len(shown) >= 12
    for section, field in shown:
        assert defaults[section][field] == block[section][field], f"{section}.{field}"


def test_every_protocol_is_listed() -> None:
    text = (DOCS / "recipes.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in PROTOCOLS)


def test_the_table_of_published_rows_is_that_of_the_recipes() -> None:
    text = (DOCS / "model-zoo.md").read_text(encoding="utf-8")
    listed = re.findall(
        r"^\| (charades_\w+) \| .*? \| (\d) \| (\d+) \| (\d+) \| ([\d.]+) \|$", text, re.M
    )
    ours = [name for name in packaged_recipes() if name.startswith(("charades_i", "charades_r"))]
    assert sorted(name for name, *_ in listed) == ours
    for name, n_layers, n_frames, n_timesteps, percent in listed:
        recipe = load_recipe(name)
        assert recipe.model.n_layers == int(n_layers)
        assert recipe.sampling.n_timesteps == int(n_timesteps)
        assert recipe.sampling.n_timesteps * recipe.backbone.frames_per_segment == int(n_frames)
        assert recipe.published.percent == float(percent)
