"""``timeception train`` and ``test``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from timeception.cli.recipe import Overrides, Source


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(train)
    app.command()(test)


def train(
    recipe: Source,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder, created.", show_default="runs/RECIPE_NAME")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint in the run folder.")
    ] = False,
) -> None:
    """Train the model that a recipe specifies, and save it in the run folder.

    Recipes of the scheme timeception_only train a head on a feature bank; recipes of the scheme
    end_to_end train the backbone too, on video files.
    """
    from timeception.cli.progress import say_next, training_progress
    from timeception.recipes.recipe import load_recipe
    from timeception.training.train import train as train_recipe

    settings = load_recipe(recipe, overrides or ())
    run = train_recipe(
        settings,
        out or Path("runs") / settings.name,
        resume=resume,
        report=partial(print, flush=True),
        on_progress=training_progress(),
    )
    print(f"Trained {settings.name}. Run folder: {run.root}; model: {run.model}")
    say_next("test it", "test", run.root)


def test(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    draws: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of random clips per record whose scores are averaged.",
            show_default="the recipe's testing.draws",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to score: test, validation or train.")] = "test",
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="Evaluation protocol: charades_official, charades_skip_unlabelled, map, accuracy, "
            "kinetics, ... Repeatable.",
            show_default="the recipe's, else the data set's",
        ),
    ] = None,
    framework: Annotated[
        Literal["torch", "keras"] | None,
        typer.Option(
            help="Framework that computes the scores.",
            show_default="the one that trained the model",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Test a trained run: mAP over the whole split, and accuracy for single-label data.

    Scores are reported for the uniform clip of each record, whose timesteps are equally spaced, and
    averaged over random clips (draws). Records without features are left out and reported, and the
    exit status is 1.
    """
    from timeception.cli.progress import Lines, say_next, track
    from timeception.cli.tables import print_evaluation
    from timeception.evaluation.evaluate import evaluate
    from timeception.training.runs import find_run

    found = find_run(run)
    n_draws = draws or found.recipe().testing.draws

    def show(items: Iterable[int]) -> Iterable[int]:
        Lines(as_json).say(f"testing {found.root} on its {split} split, {n_draws} draws per record")
        return track(items, "scoring draws", is_json=as_json)

    report = evaluate(
        found,
        n_draws=n_draws,
        split=split,
        protocols=protocol or (),
        framework=framework,
        track=show,
    )
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print_evaluation(report, found)
        say_next("score videos", "predict", found.root, "VIDEO.mp4")
    if report.left_out:
        names = ", ".join(report.left_out)
        print(f"left out because the bank has no features of them: {names}", file=sys.stderr)
        raise typer.Exit(1)
