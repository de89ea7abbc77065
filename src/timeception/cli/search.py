"""``timeception search``."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timeception.cli.recipe import Overrides, Source

if TYPE_CHECKING:
    from timeception.search.study import SearchResult

MAX_ROWS = 10


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(search)


def search(
    recipe: Source,
    overrides: Overrides = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Number of trials, those already in --out included.")
    ] = 20,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|KEY=RANGE",
            help="What varies: KEY=low:high, KEY=low:high:log, KEY=[choice,choice], or a YAML file "
            "of such lines. Repeatable.",
            show_default="learning rate, weight decay, schedule, dropout, width and layers",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Maximise the mean over this number of folds of the training and validation "
            "videos.",
            show_default="one training, on the recipe's validation split",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="As --folds, but leave one group out: a name in data.group, a column of the CSV "
            "file, or a pattern such as `(?P<subject>P[0-9]+)_`.",
            show_default="none",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the search.", show_default="runs/RECIPE_NAME_search"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search for the settings of a recipe that give the highest validation mAP.

    Each trial trains with other settings, which Optuna proposes; unpromising trials end early. The
    test videos are never used: test the best recipe once, at the end. The same command continues
    after an interruption, and repeats the trial that was interrupted. A trial that fails is
    reported and does not end the search; the exit status is then 1.

    Writes trials.csv, history.png, best.yaml (a recipe for `timeception train`) and one run folder
    per trial. Requires `pip install 'timeception[search]'`.
    """
    from timeception.cli.progress import Lines, say_next, training_progress
    from timeception.cli.usage import exclude
    from timeception.recipes import load_recipe
    from timeception.search.space import default_space, read_space
    from timeception.search.study import BEST_FILE
    from timeception.search.study import search as run_search

    exclude(folds=folds, group=group)
    settings = load_recipe(recipe, overrides or ())
    chosen = read_space(space) if space else default_space(settings)
    root = out or Path("runs") / f"{settings.name}_search"
    report = Lines(as_json).say
    report(f"{trials} trials of {settings.name} in {root}; what varies:")
    for key, values in chosen.items():
        report(f"  {key}={values}")
    result = run_search(
        settings,
        root,
        trials,
        chosen,
        n_folds=folds,
        group=group,
        report=report,
        progress_of=partial(training_progress, is_json=as_json),
    )
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        _print_trials(result, list(chosen))
    for one in result.failed:
        print(f"{one}", file=sys.stderr)
    if result.best is None:
        raise ValueError(f"no trial is complete; see {root / 'trials.csv'}.")
    if not as_json:
        print(f"Best: trial {result.best.number}; its recipe: {root / BEST_FILE}")
        say_next("train with the best settings", "train", root / BEST_FILE)
    if result.failed:
        raise typer.Exit(1)


def _print_trials(result: SearchResult, keys: list[str]) -> None:
    from timeception.cli.tables import show, table

    done = [one for one in result.trials if one.value is not None]
    best = sorted(done, key=lambda one: (-(one.value or 0.0), one.number))[:MAX_ROWS]
    rows = [
        (
            str(one.number),
            f"{one.value:.4f}",
            str(one.epochs),
            *(_shown(one.settings.get(key)) for key in keys),
        )
        for one in best
    ]
    counts = {
        state: sum(one.state == state for one in result.trials)
        for state in ("complete", "pruned", "failed")
    }
    title = ", ".join(f"{count} {state}" for state, count in counts.items())
    columns = ("trial", "validation mAP", "epochs", *(key.partition(".")[2] or key for key in keys))
    show(table(f"{len(result.trials)} trials: {title}; the best:", columns, rows))


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
