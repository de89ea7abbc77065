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
            help="Weights to read: a PyTorch or Keras file of 2019, a file of this project, or a "
            "saved-model folder. The format is detected from the content.",
        ),
    ],
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="DST",
            help="File to write: .pt or .safetensors for torch; .keras or .weights.h5 for keras; "
            ".safetensors or .npz for jax. Or a saved-model folder, which all three read.",
        ),
    ],
    to: Annotated[Framework, typer.Option("--to", help="The framework that will read DST.")],
) -> None:
    """Convert weights between PyTorch, Keras and JAX; every value is preserved exactly."""
    from timeception.cli.progress import say_next
    from timeception.weights import convert as convert_weights

    checkpoint = convert_weights(source, destination, to.value)
    count = len(checkpoint.arrays)
    print(f"Converted {source} to {destination}: {count} arrays for {to.value}.")
    say_next("start a training from it", "train", "RECIPE", f"init_from={destination}")
