"""``timeception train`` and ``test``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from timeception.cli.recipe import Overrides


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(train)
    app.command()(test)


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe file, or the name of a packaged recipe.", show_default="none"
        ),
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder, created.", show_default="runs/RECIPE_NAME")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint in the run folder.")
    ] = False,
    videos: Annotated[
        Path | None,
        typer.Option(
            help="Train on this folder of videos instead of a recipe: one folder per class, or "
            "--labels.",
            show_default="none",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="With --videos: CSV file with the columns path,labels and optionally split.",
            show_default="none",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="With --videos: column of --labels, or pattern such as "
            "`(?P<subject>P[0-9]+)_`, for groups that the split must not divide.",
            show_default="none",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="With --videos: time for the whole command, which the settings should fit.",
            show_default="10",
        ),
    ] = None,
    scheme: Annotated[
        Literal["auto", "end_to_end", "timeception_only"] | None,
        typer.Option(
            help="With --videos: train the backbone too (end_to_end), or only the head.",
            show_default="auto",
        ),
    ] = None,
) -> None:
    """Train the model that a recipe specifies, or a model of a folder of videos.

    `timeception train RECIPE [KEY=VALUE]...` trains and saves in the run folder. Recipes of the
    scheme timeception_only train a head on a feature bank; recipes of the scheme end_to_end train
    the backbone too, on video files.

    `timeception train --videos DIR --out RUN [KEY=VALUE]...` does everything: it prints what it
    finds, chooses settings and gives the reasons, extracts features, trains, tests on held-out
    videos, and compares with baselines. The same command continues after an interruption.
    """
    from timeception.cli.progress import say_next, training_progress
    from timeception.cli.usage import exclude, require

    words = list(overrides or ())
    if videos is not None:
        if recipe is not None and "=" in recipe:
            words, recipe = [recipe, *words], None
        exclude(RECIPE=recipe, videos=videos)
        exclude(resume=resume, videos=videos)
        require("--out", out, videos=videos)
        from timeception.cli.own_videos import train_videos

        train_videos(
            videos,
            labels,
            out or Path(),
            group=group,
            minutes=minutes or 10.0,
            scheme=scheme or "auto",
            overrides=words,
        )
        return
    require("--videos", videos, labels=labels, group=group, minutes=minutes, scheme=scheme)
    if recipe is None:
        raise ValueError("pass a RECIPE, or a folder of videos with --videos.")
    from timeception.recipes.recipe import load_recipe
    from timeception.training.processes import is_first
    from timeception.training.train import train as train_recipe

    settings = load_recipe(recipe, words)
    run = train_recipe(
        settings,
        out or Path("runs") / settings.name,
        resume=resume,
        report=partial(print, flush=True),
        on_progress=training_progress(),
    )
    if not is_first(settings.training):
        return  # the first process reports
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
            "kinetics, ...; over time: segments, per_frame_map, charades_localize, interval_map, "
            "which score a classifier by its evidence. Repeatable.",
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
    bank: Annotated[
        Path | None,
        typer.Option(
            help="Test on the features of this bank instead: the same videos and split, features "
            "of the same kind as those of training.",
            show_default="the recipe's data.bank",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where the network runs: cpu, cuda, cuda:1, ...",
            show_default="the CPU; for a backbone, a GPU if there is one",
        ),
    ] = None,
    report_file: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE.html",
            help="Also write a page with charts and the worst mistakes.",
            show_default="none",
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
    from timeception.cli.usage import refuse
    from timeception.evaluation.evaluate import evaluate
    from timeception.metrics.timeline_protocols import is_timeline_protocol
    from timeception.training.runs import find_run

    found = find_run(run)
    if found.recipe().is_timeline or any(map(is_timeline_protocol, protocol or ())):
        from timeception.cli.timelines import test_timelines

        given = {"draws": draws, "framework": framework, "report": report_file}
        refuse("on scores over time: PyTorch scores whole videos", **given)
        test_timelines(found, split, protocol or (), bank, device, as_json)
        return
    if report_file is not None:
        from timeception.report.page import require_plotly

        require_plotly()
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
        bank=bank,
        device=device,
        track=show,
    )
    if report_file is not None:
        from timeception.report.testing import write_test_report

        write_test_report(found, report_file, stem=report.stem)
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print_evaluation(report, found)
        if report_file is not None:
            print(f"Report: {report_file}")
        say_next("score videos", "predict", found.root, "VIDEO.mp4")
    if report.left_out:
        names = ", ".join(report.left_out)
        print(f"left out because the bank has no features of them: {names}", file=sys.stderr)
        raise typer.Exit(1)
