"""``timeception test`` of a run that scores each timestep."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from timeception.cli.progress import Lines, say_next, track
from timeception.cli.tables import score_text, show, table
from timeception.evaluation.timelines import TimelineReport, evaluate_timelines
from timeception.training.runs import Run

#: Measures that are not scores of classes: named first.
_PER_CLASS = "per_class"


def test_timelines(
    run: Run,
    split: str,
    protocols: Sequence[str],
    bank: Path | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Score the videos of a split, print the measures, and exit with 1 if videos were left out."""

    def progress(items: Iterable[int]) -> Iterable[int]:
        Lines(as_json).say(f"testing {run.root} on its {split} split, whole videos")
        return track(items, "scoring videos", is_json=as_json)

    report = evaluate_timelines(
        run, split=split, protocols=protocols, bank=bank, device=device, track=progress
    )
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print_timeline_report(report)
        print(f"Results: {run.results / report.stem}.json, {report.stem}_timelines.npz")
        say_next("see when", "predict", run.root, "VIDEO.mp4", "--timeline")
    if report.left_out:
        names = ", ".join(report.left_out)
        print(f"left out because the bank has no features of them: {names}", file=sys.stderr)
        raise typer.Exit(1)


test_timelines.__test__ = False  # type: ignore[attr-defined]  # not a test of pytest


def print_timeline_report(report: TimelineReport) -> None:
    """Print the measures of each protocol, and its value for each class."""
    for name, found in report.protocols.items():
        measures = {key: value for key, value in found.items() if isinstance(value, float)}
        rows = [(key.replace("_", " "), score_text(value)) for key, value in measures.items()]
        classes = found.get(_PER_CLASS, {})
        rows += [(f"  {label}", score_text(value)) for label, value in classes.items()]
        title = f"{report.run}: {name}, {report.n_videos} {report.split} videos"
        show(table(title, ("measure", "value"), rows))
