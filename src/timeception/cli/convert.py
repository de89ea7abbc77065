"""``timeception convert``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Framework = StrEnum("Framework", ["torch", "keras", "jax"])


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(convert)


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="Weights of any known kind, told apart by content: PyTorch or Keras files of "
            "2019, files of this project, a saved-model folder.",
        ),
    ],
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="DST",
            help="torch: .pt, .safetensors; keras: .keras, .weights.h5; jax: .safetensors, .npz; "
            "or a saved-model folder, which all three read.",
        ),
    ],
    to: Annotated[Framework, typer.Option("--to", help="The framework that will read DST.")],
) -> None:
    """Convert weights between PyTorch, Keras and JAX, number for number."""
    from timeception.weights import convert as convert_weights

    checkpoint = convert_weights(source, destination, to.value)
    count = len(checkpoint.arrays)
    print(f"Converted {source} to {destination}: {count} arrays for {to.value}.")
