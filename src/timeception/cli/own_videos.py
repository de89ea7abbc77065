"""``timeception train --videos``: from a folder of videos to a tested model."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer

from timeception.files import write_text

if TYPE_CHECKING:
    from timeception.evaluation.evaluate import EvaluationReport
    from timeception.evaluation.scores import TestScores
    from timeception.evaluation.uncertainty import Difference, Interval
    from timeception.recipes.recipe import Recipe
    from timeception.training.own_videos import Survey
    from timeception.training.runs import Run

BASELINE = "pooling"
N_WEAKEST = 3
MIN_TEST_VIDEOS = 50  # below it, the interval is wide and cross-validation is advised

say = partial(print, flush=True)


def train_videos(
    videos: Path,
    labels: Path | None,
    out: Path,
    *,
    group: str | None,
    minutes: float,
    scheme: str,
    overrides: list[str],
) -> None:
    """Survey, choose, extract, train and test; continue what an earlier call has done."""
    from timeception.cli.progress import track
    from timeception.training.own_videos import describe, survey_videos
    from timeception.training.runs import Run

    began, run = time.monotonic(), Run(out)
    say(f"[1/5] Videos in {videos}")
    survey = survey_videos(videos, labels, group, lambda ids: track(ids, "opening videos"))
    for line in describe(survey):
        say(f"  {line}")
    recipe = _settings(run, survey, minutes, scheme, overrides)
    failed = dict(survey.broken)
    if recipe.is_end_to_end:
        say("[3/5] Features: none, the backbone is trained on the video files")
    else:
        say(f"[3/5] Features into {recipe.data.bank}, each video once")
        failed |= _extract(recipe, videos)
    say(f"[4/5] Training {recipe.model.head} and the baseline {BASELINE}")
    reports = {
        head: _train_and_test(head_recipe(recipe, head), run_of(run, head))
        for head in (recipe.model.head, BASELINE)
    }
    say("[5/5] Result on videos that were not in training")
    report_results(run, reports, survey)
    say(f"Done in {(time.monotonic() - began) / 60:.1f} minutes.")
    if failed:
        names = ", ".join(sorted(failed)[:5])
        print(f"{len(failed)} videos could not be read: {names}", file=sys.stderr)
        raise typer.Exit(1)


def run_of(run: Run, head: str) -> Run:
    """Return the run folder of a head; the baseline's lies below the model's."""
    from timeception.training.runs import Run

    return Run(run.root / "baselines" / head) if head == BASELINE else run


def head_recipe(recipe: Recipe, head: str) -> Recipe:
    """Return the recipe with another head."""
    model = recipe.model.model_copy(update={"head": head})
    return recipe.model_copy(update={"model": model})


def _settings(
    run: Run, survey: Survey, minutes: float, scheme: str, overrides: list[str]
) -> Recipe:
    """Choose the recipe and write it to the run folder, or read the one that is there."""
    from timeception.recipes.recipe import apply_overrides
    from timeception.training.own_videos import choose_recipe
    from timeception.training.runs import require_same_recipe

    cores = os.cpu_count() or 1
    recipe, reasons = choose_recipe(
        survey, run.root / "bank", minutes=minutes, n_cores=cores, scheme=scheme
    )
    recipe = apply_overrides(recipe, overrides).with_absolute_paths()
    recipe.require_one_process("train --videos")
    if run.recipe_file.is_file():
        require_same_recipe(run, recipe)
        say(f"[2/5] Settings of {run.recipe_file}, written by an earlier call")
        return recipe
    say(f"[2/5] Settings, written to {run.recipe_file}")
    for line in (*reasons, *(f"{override}: given" for override in overrides)):
        say(f"  {line}")
    write_text(run.recipe_file, recipe.to_yaml())
    return recipe


def _extract(recipe: Recipe, videos: Path) -> dict[str, str]:
    """Extract features; return the errors of videos that failed."""
    from timeception.cli.extract import extract_with_progress
    from timeception.training.backbone_file import make_backbone

    section = recipe.backbone
    if section is None or recipe.data.bank is None:
        raise ValueError("the recipe names no backbone or no bank.")
    report = extract_with_progress(
        [videos],
        recipe.data.bank,
        make_backbone(section),
        fps=section.fps,
        stride=None if section.fps else section.stride_frames,
        map_size=section.map_size,
    )
    return dict(report.failed)


def _train_and_test(recipe: Recipe, run: Run) -> EvaluationReport:
    """Train and test one head, unless that is done."""
    from timeception.cli.progress import training_progress
    from timeception.evaluation.evaluate import EvaluationReport, evaluate
    from timeception.training.train import train

    if not run.is_finished:
        began = time.monotonic()
        is_begun, progress = run.recipe_file.is_file(), training_progress(title="  ")
        train(recipe, run.root, resume=is_begun, report=say, on_progress=progress)
        say(f"  {recipe.model.head}: trained in {(time.monotonic() - began) / 60:.1f} minutes")
    file = run.results / "test.json"
    if file.is_file() and (run.results / "test_scores.csv").is_file():
        return EvaluationReport.from_dict(json.loads(file.read_text(encoding="utf-8")))
    return evaluate(run, n_draws=recipe.testing.draws)


def report_results(run: Run, reports: dict[str, EvaluationReport], survey: Survey) -> None:
    """Print the table of results, the weakest classes, and what to do next."""
    from timeception.cli.tables import show, table
    from timeception.evaluation.scores import read_scores
    from timeception.evaluation.uncertainty import (
        confidence_interval,
        metric_of,
        paired_difference,
        resample,
    )

    scores = {head: read_scores(run_of(run, head).results / "test_scores.csv") for head in reports}
    head = next(iter(scores))
    own, is_multilabel = scores[head], survey.dataset.is_multilabel
    name, metric = metric_of(is_multilabel)
    drawn = {each: resample(metric, [found]) for each, found in scores.items()}
    intervals = {each: confidence_interval(found) for each, found in drawn.items()}
    difference = paired_difference(drawn[head], drawn[BASELINE])
    rows = [(each, str(interval)) for each, interval in intervals.items()]
    rows += trivial_results(own, survey)
    title = f"{run.root}: {name} on {len(own.records)} test videos"
    show(table(title, ("", f"{name} [95 % interval]"), rows))
    for line in weakest_classes(reports[head], own):
        say(line)
    for line in next_steps(run, survey, intervals[head], difference, len(own.records)):
        say(line)


def trivial_results(scores: TestScores, survey: Survey) -> list[tuple[str, str]]:
    """Return what a model reaches that looks at no video: majority class, and chance."""
    if survey.dataset.is_multilabel:
        return [("chance (share of positives)", f"{scores.targets.mean():.3f}")]
    test = set(scores.records)
    labels = [r.labels[0] for r in survey.dataset.records if r.video_id not in test]
    majority = Counter(sorted(labels)).most_common(1)[0][0]
    share = scores.targets[:, scores.classes.index(majority)].mean()
    chance = 1 / len(scores.classes)
    return [(f"majority class ({majority})", f"{share:.3f}"), ("chance", f"{chance:.3f}")]


def weakest_classes(report: EvaluationReport, scores: TestScores) -> list[str]:
    """Return lines about the classes with the lowest average precision, and their confusions."""
    precision = report.average_of_draws.average_precision
    weakest = sorted(precision, key=precision.__getitem__)[:N_WEAKEST]
    if precision[weakest[0]] == 1:
        return ["No class is weak: the average precision of each is 1."]
    lines = ["Weakest classes:"]
    for name in weakest:
        column = scores.classes.index(name)
        positive = scores.targets[:, column] > 0
        line = f"  {name}: average precision {precision[name]:.3f} on {positive.sum()} test videos"
        if report.average_of_draws.accuracy is not None:
            guesses = scores.scores[positive].argmax(axis=1)
            wrong = guesses[guesses != column]
            if wrong.size:
                confused = scores.classes[np.bincount(wrong).argmax()]
                line += f", most often taken for {confused}"
        lines.append(line)
    return lines


def next_steps(
    run: Run, survey: Survey, interval: Interval, difference: Difference, n_test: int
) -> list[str]:
    """Return two or three concrete things to do next."""
    lines = ["Next:", f"  timeception predict {run.root} VIDEO.mp4"]
    if survey.suggested_group:
        lines.append(
            f"  keep groups apart: the same command with --group '{survey.suggested_group}' "
            "and another --out"
        )
    if n_test < MIN_TEST_VIDEOS:
        lines.append(
            f"  {n_test} test videos leave an interval of ±{(interval.high - interval.low) / 2:.2f}"
            f"; test on all videos: timeception cross-validate {run.recipe_file} --folds 5"
        )
    if difference.p_value > 0.05:
        lines.append(
            f"  no clear difference to {BASELINE} (p = {difference.p_value:.2f}): the order of "
            "time may not matter for these classes, or there are too few videos to learn it"
        )
    return lines
