"""``timeception cross-validate`` and ``compare``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated

import typer

from timeception.cli.recipe import Overrides, Source

if TYPE_CHECKING:
    from timeception.evaluation.comparison import Comparison
    from timeception.evaluation.cross_validation import CrossValidation

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("cross-validate")(cross_validate)
    app.command()(compare)


def cross_validate(
    recipe: Source,
    overrides: Overrides = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Number of stratified folds.", show_default="none")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Leave one group out: the name of the group in data.group, such as subject, a "
            "column of the CSV file, or a pattern such as `(?P<subject>P[0-9]+)_`.",
            show_default="none",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per fold.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default="runs/RECIPE_NAME_cv")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings at once.", show_default="one per core")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train and test a recipe on every fold; print mean, spread and confidence interval.

    In data.bank, data.source and data.videos, {fold} is replaced by the number of the fold, and
    {group} by its group. The same command continues after an interruption. Compare the results of
    several recipes with `timeception compare`.
    """
    from timeception.cli.progress import Lines, say_next, training_progress
    from timeception.evaluation.cross_validation import cross_validate as run_folds
    from timeception.evaluation.cross_validation import make_folds
    from timeception.recipes import load_recipe

    settings = load_recipe(recipe, overrides or ())
    chosen = make_folds(settings, folds, group)
    root = out or Path("runs") / f"{settings.name}_cv"
    report = Lines(as_json).say
    sizes = ", ".join(f"{fold.name} ({len(fold.test)})" for fold in chosen)
    report(f"{len(chosen)} folds with their test videos: {sizes}; {seeds} seed(s) each")
    result = run_folds(
        settings,
        root,
        chosen,
        n_seeds=seeds,
        n_workers=workers,
        report=report,
        progress_of=partial(training_progress, is_json=as_json),
    )
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
        return
    _print_folds(result, settings.name)
    say_next("compare it with another recipe", "compare", root, "OTHER")


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Tested runs or cross-validations.")
    ],
    split: Annotated[str, typer.Option(help="Split whose scores are compared.")] = "test",
    as_json: Json = False,
) -> None:
    """Compare models on the same test records: intervals, and the paired difference of each pair.

    Intervals are 95 % bootstrap intervals over test videos. They do not cover the choice of
    training videos.
    """
    from timeception.evaluation.comparison import compare as compare_runs

    found = compare_runs(runs, split)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        _print_comparison(found)


def _print_folds(result: CrossValidation, name: str) -> None:
    from timeception.cli.tables import show, table

    seeds = list(next(iter(result.values.values())))
    rows = [
        (fold, *(f"{value:.3f}" for value in by_seed.values()), f"{mean(by_seed.values()):.3f}")
        for fold, by_seed in result.values.items()
    ]
    rows.append(("mean", *(f"{value:.3f}" for value in result.seed_means), str(result.interval)))
    titles = ("fold", *(f"seed {seed}" for seed in seeds), f"{result.metric} [95 % interval]")
    show(table(f"{name}: {result.metric}", titles, rows))
    for what, values in (("folds", result.fold_means.values()), ("seeds", result.seed_means)):
        if len(values) > 1:
            print(f"standard deviation over {what}: {stdev(values):.3f}")


def _print_comparison(found: Comparison) -> None:
    from timeception.cli.tables import show, table

    best = sorted(found.intervals.items(), key=lambda item: -item[1].value)
    rows = [(run, f"{i.value:.3f}", f"{i.low:.3f} - {i.high:.3f}") for run, i in best]
    show(table(f"{found.metric} on the same records", ("run", found.metric, "95 % interval"), rows))
    pairs = [
        (
            f"{one} - {other}",
            f"{difference.interval.value:+.3f}",
            f"{difference.interval.low:+.3f} - {difference.interval.high:+.3f}",
            f"{difference.p_value:.3f}" if difference.p_value >= 0.001 else "< 0.001",
        )
        for (one, other), difference in found.differences.items()
    ]
    show(table("paired differences", ("runs", "difference", "95 % interval", "p"), pairs))
