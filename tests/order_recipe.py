"""The recipe of the tiny problem that only the order of time solves (``order_data``)."""

from __future__ import annotations

import csv
from pathlib import Path

from timeception.recipes.recipe import Recipe, build_recipe


def order_recipe(root: Path, **changes: object) -> Recipe:
    """A recipe on the data in ``root``; ``section__field=value`` changes one field of a section."""
    fields: dict[str, object] = {
        "name": "order",
        "data": {"kind": "csv", "source": str(root / "videos.csv"), "bank": str(root / "bank")},
        "sampling": {"n_timesteps": 24},
        "model": {"n_layers": 2, "n_groups": 1, "expansion": 4.0, "hidden": 32},
        "training": {"epochs": 30, "batch_size": 8, "learning_rate": 0.005},
        "testing": {"draws": 3},
    }
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        fields[section] = {**fields.get(section, {}), leaf: value} if leaf else value
    return build_recipe(fields)


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(path.read_text().splitlines()))
