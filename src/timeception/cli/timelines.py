"""Scores over time: ``predict --timeline``, and ``test`` of a run that scores each timestep."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import typer

from timeception import checks
from timeception.cli.progress import Lines, say_next, track
from timeception.cli.tables import score_text, show, table
from timeception.evaluation.timelines import TimelineReport, evaluate_timelines
from timeception.files import write_text
from timeception.inference.timelines import Timeline
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


def predict_timelines(
    names: Sequence[str],
    read: Callable[[str], Timeline],
    output_format: str,
    threshold: str | None,
    out: Path | None,
) -> None:
    """Print or write the timeline of each input; exit with status 1 if one has an error."""
    is_table = output_format == "table"
    if out is not None and is_table:
        raise ValueError("--out requires --format json, csv or vtt.")
    if out is None and len(names) > 1 and output_format in ("csv", "vtt"):
        raise ValueError(f"--format {output_format} of several videos requires --out FOLDER.")
    limit = None if threshold in (None, "auto") else threshold_of(threshold, None)
    stems = _file_names(names)
    has_errors = False
    for name in track(names, "scoring", is_json=not is_table) if len(names) > 1 else names:
        timeline = read(name)
        if timeline.error is not None:
            has_errors = True
            print(f"timeception: {timeline.error}", file=sys.stderr)
        if len(timeline.scores):
            threshold_of(threshold, timeline)
        if output_format == "json" and out is None:
            print(timeline.to_json(threshold=limit), end="", flush=True)
        elif not len(timeline.scores):
            continue
        elif is_table:
            _print_timeline(timeline, limit)
        else:
            text = _text_of(timeline, output_format, limit)
            if out is None:
                print(text, end="")
            else:
                write_text(out / f"{stems[name]}.{output_format}", text)
    if out is not None:
        print(f"Timelines: {out}")
    if has_errors:
        raise typer.Exit(1)


def threshold_of(threshold: str | None, timeline: Timeline | None) -> float | None:
    """Return the number that ``--threshold`` gives; ``None`` leaves the choice to the timeline.

    Raises:
        ValueError: if it is neither a number in [0, 1] nor auto, or the model has no thresholds.
    """
    if threshold == "auto" and timeline is not None and timeline.thresholds is None:
        raise ValueError(
            "--threshold auto requires thresholds that training tuned on validation videos of "
            "multi-label data; this model has none. Pass a number."
        )
    if threshold in (None, "auto"):
        return None
    try:
        value = float(str(threshold))
    except ValueError:
        value = float("nan")
    checks.require(0 <= value <= 1, "--threshold", "be auto or a number in [0, 1]", threshold)
    return value


def _file_names(names: Sequence[str]) -> dict[str, str]:
    """Return a name for the file of each input: its stem, or all of its path if stems repeat."""
    stems = {name: Path(name).stem for name in names}
    if len(set(stems.values())) < len(set(names)):
        return {name: Path(name).with_suffix("").as_posix().strip("/") for name in names}
    return stems


def _text_of(timeline: Timeline, output_format: str, limit: float | None) -> str:
    if output_format == "csv":
        return timeline.to_csv()
    if output_format == "vtt":
        return timeline.to_webvtt(threshold=limit)
    return timeline.to_json(threshold=limit)


def _print_timeline(timeline: Timeline, limit: float | None) -> None:
    found = timeline.segments(limit)
    rows = [
        (f"{each.start_seconds:.1f} - {each.end_seconds:.1f}", each.label, score_text(each.score))
        for each in found
    ]
    kind = "" if timeline.is_trained_on_time else " (evidence of a classifier)"
    title = f"{timeline.video}: {len(found)} intervals{kind}"
    show(table(title, ("seconds", "class", "mean score"), rows))


def print_timeline_report(report: TimelineReport) -> None:
    """Print the measures of each protocol, and its value for each class."""
    for name, found in report.protocols.items():
        measures = {key: value for key, value in found.items() if isinstance(value, float)}
        rows = [(key.replace("_", " "), score_text(value)) for key, value in measures.items()]
        classes = found.get(_PER_CLASS, {})
        rows += [(f"  {label}", score_text(value)) for label, value in classes.items()]
        weak = ", by the evidence of clip labels" if report.is_weakly_supervised else ""
        title = f"{report.run}: {name}, {report.n_videos} {report.split} videos{weak}"
        show(table(title, ("measure", "value"), rows))
