"""``timeception train`` and ``test``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(train)
    app.command()(test)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a packaged recipe's name.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Fields to change: training.epochs=10"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder.", show_default="runs/NAME")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run folder.")
    ] = False,
) -> None:
    """Train a recipe's head on its feature bank; save the model in the run folder."""
    from timeception.recipes.recipe import load_recipe
    from timeception.training.train import train as train_recipe

    settings = load_recipe(recipe, overrides or ())
    run = train_recipe(
        settings,
        out or Path("runs") / settings.name,
        resume=resume,
        report=partial(print, flush=True),
    )
    print(f"Trained {settings.name}. Run folder: {run.root}; model: {run.model}")


def test(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    draws: Annotated[
        int | None,
        typer.Option(min=1, help="Random draws to average.", show_default="the recipe's, 10"),
    ] = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="What is measured, by name: charades_official, charades_skip_unlabelled, map, "
            "accuracy, kinetics, ... Repeatable.",
            show_default="the recipe's, or its data set's",
        ),
    ] = None,
    framework: Annotated[
        Literal["torch", "keras"] | None,
        typer.Option(help="That scores; the model is the same.", show_default="that of training"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Test a run: mAP over the whole set (and accuracy), equidistant and averaged over draws."""
    from timeception.cli.tables import print_evaluation, track
    from timeception.evaluation.evaluate import evaluate
    from timeception.training.runs import find_run

    found = find_run(run)

    def show(items: Iterable[int]) -> Iterable[int]:
        return track(items, "scoring draws")

    report = evaluate(
        found,
        n_draws=draws or found.recipe().testing.draws,
        split=split,
        protocols=protocol or (),
        framework=framework,
        track=show,
    )
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print_evaluation(report, found)
    if report.left_out:
        names = ", ".join(report.left_out)
        print(f"left out, for the bank has no features of them: {names}", file=sys.stderr)
        raise typer.Exit(1)
