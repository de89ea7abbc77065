"""The report of a test: ``timeception test --report`` and ``timeception report RUN``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timeception import checks
from timeception.datasets.video_files import find_videos
from timeception.evaluation.evaluate import EvaluationReport
from timeception.evaluation.scores import TestScores, read_scores
from timeception.features.bank import BankError, FeatureBank
from timeception.recipes.recipe import Recipe
from timeception.report import charts
from timeception.report.measures import (
    Array,
    Mistake,
    calibration,
    confusion,
    mistakes,
    precision_recall,
)
from timeception.report.page import Card, Cards, Chart, Section, Table, write_page
from timeception.report.thumbnails import data_uri, thumbnails
from timeception.training.curves import read_curves
from timeception.training.runs import Run
from timeception.video import VideoError

N_MISTAKES = 12
N_CONFUSIONS = 20
_N_FRAMES = 4
_N_LABELS = 5


@dataclass(frozen=True)
class VideoFiles:
    """Finds the videos of records, to show thumbnails.

    Args:
        paths: file of each video, by id.
        bank: the bank of the run, which has the times of windows; ``None`` without one.
    """

    paths: Mapping[str, Path]
    bank: FeatureBank | None = None

    def card(self, mistake: Mistake) -> Card:
        """Make the card of a mistake, with thumbnails if the video can be read."""
        heading = f"{mistake.label}: {mistake.score:.3f}"
        what = "missed" if mistake.is_missed else "wrong"
        names, n_more = mistake.true_labels[:_N_LABELS], len(mistake.true_labels) - _N_LABELS
        truth = ", ".join(names) + (f" and {n_more} more" if n_more > 0 else "")
        text = f"{what}; {mistake.record}; true: {truth or 'no class'}"
        video = mistake.record.partition("@")[0]
        if video not in self.paths:
            return Card(None, "No video file: no thumbnails.", heading, text)
        try:
            start, end = self.span(mistake.record)
            frames = thumbnails(self.paths[video], _N_FRAMES, start, end)
        except (VideoError, OSError) as error:
            return Card(None, f"No thumbnails: {error}", heading, text)
        alternative = f"{_N_FRAMES} frames of {mistake.record}, equally spaced"
        return Card(data_uri(np.concatenate(frames, axis=1)), alternative, heading, text)

    def span(self, record: str) -> tuple[float, float | None]:
        """Return start and end of a record in seconds; ``None`` is the end of the video."""
        video, _, window = record.partition("@")
        start, _, end = window.partition("-")
        if window.count("s") or end == "end":  # 3.0s-9.0s
            return float(start.rstrip("s")), None if end == "end" else float(end.rstrip("s"))
        if not window or self.bank is None:
            return 0.0, None
        try:
            entry = self.bank[video]
        except (BankError, ValueError):
            return 0.0, None
        seconds = np.asarray(entry.start_frames) / entry.fps
        first, last = int(start), int(end)
        return float(seconds[first]), float(seconds[last]) if last < len(seconds) else None


def videos_of(recipe: Recipe, folder: Path | None = None) -> VideoFiles:
    """Find the video files of a recipe: in ``folder``, or in its ``data.videos``.

    Raises:
        ValueError: if ``folder`` does not exist, or two files have the same id.
    """
    root = folder or recipe.data.videos
    is_found = root is not None and (folder is not None or root.is_dir())
    bank = recipe.data.bank
    has_bank = bank is not None and (bank / "bank.json").is_file()
    return VideoFiles(
        find_videos(root) if root is not None and is_found else {},
        FeatureBank(bank) if bank is not None and has_bank else None,
    )


def write_test_report(
    run: Run, path: Path, *, stem: str = "test", videos: Path | None = None
) -> None:
    """Write the report of a test that was made before.

    Args:
        run: the tested run.
        path: the HTML file, created or replaced.
        stem: name of the result files: the split, with ``_on_BANK`` if another bank was tested.
        videos: folder of the video files; ``None`` uses the recipe's ``data.videos``.

    Raises:
        ValueError: if the run was not tested.
    """
    results = run.results / f"{stem}.json"
    advice = f"Test it: timeception test {run.root}"
    checks.require(results.is_file(), f"{run.root}", f"have results of {stem}", "none", advice)
    report = EvaluationReport.from_dict(json.loads(results.read_text(encoding="utf-8")))
    found = read_scores(run.results / f"{stem}_scores.csv")
    files = videos_of(run.recipe(), videos)
    even, drawn = report.equidistant, report.average_of_draws
    summary = [
        ("split", report.split),
        ("records", str(report.n_records)),
        ("videos", str(report.n_videos)),
        (f"mAP, {report.n_draws} draws", f"{drawn.mean_average_precision:.3f}"),
        ("mAP, uniform clip", f"{even.mean_average_precision:.3f}"),
    ]
    if drawn.accuracy is not None and even.accuracy is not None:
        summary += [(f"accuracy, {report.n_draws} draws", f"{drawn.accuracy:.3f}")]
        summary += [("accuracy, uniform clip", f"{even.accuracy:.3f}")]
    if report.bank is not None:
        summary += [("bank", report.bank)]
    title = f"Test of {run.root.absolute().name}"
    write_page(path, title, summary, sections_of(report, found, files, run))


def sections_of(
    report: EvaluationReport, found: TestScores, files: VideoFiles, run: Run
) -> list[Section]:
    """Return the parts of the page: classes, confusions, calibration, mistakes, training."""
    is_multilabel = report.average_of_draws.accuracy is None
    matrix = confusion(found.scores, found.targets)
    curves = curves_of(found, report.average_of_draws.average_precision)
    measured = calibration(found.scores, found.targets, is_multilabel)
    text = "Each record predicts as many classes as it has. "
    text += "A missed class is divided equally among those predicted in its place."
    what = "every score of every class" if is_multilabel else "the highest score of each record"
    calibrated = f"Of {what}. Expected calibration error: {measured.expected_error:.3f}."
    sections = [
        Section("Classes", "", [class_table(report, found)]),
        Section("Precision and recall", "", [charts.precision_recall_chart(curves)])
        if curves
        else None,
        Section(
            "Confusions",
            text if is_multilabel else "",
            [charts.confusion_chart(matrix, found.classes), confusion_table(matrix, found.classes)],
        ),
        Section("Calibration", calibrated, [charts.calibration_chart(measured)]),
        mistake_section(found, is_multilabel, files),
    ]
    drawn: list[Chart] = charts.curve_charts(read_curves(run.logs))
    if drawn:
        sections.append(Section("Training", "", drawn))
    return [section for section in sections if section is not None]


def class_table(report: EvaluationReport, found: TestScores) -> Table:
    """Return AP and number of positives of each class; a class without positives has no AP."""
    counts = found.targets.sum(axis=0).astype(int).tolist()
    even, drawn = report.equidistant, report.average_of_draws
    rows = [
        (
            name,
            count,
            drawn.average_precision.get(name) if count else None,
            even.average_precision.get(name) if count else None,
        )
        for name, count in zip(found.classes, counts, strict=True)
    ]
    columns = ("class", "positives", f"AP, {report.n_draws} draws", "AP, uniform clip")
    return Table("Average precision of each class", columns, rows, bar=2)


def curves_of(
    found: TestScores, average_precision: Mapping[str, float]
) -> dict[str, tuple[Array, Array, float]]:
    """Return recall, precision and AP of each class that has positives."""
    columns = zip(found.classes, found.scores.T, found.targets.T, strict=True)
    return {
        name: (*precision_recall(scores, targets), average_precision[name])
        for name, scores, targets in columns
        if targets.any()
    }


def confusion_table(matrix: Array, classes: tuple[str, ...]) -> Table:
    """Return the largest entries beside the diagonal."""
    others = matrix * (1 - np.eye(len(classes)))
    rows: list[tuple[str, str, float, float]] = []
    for place in np.argsort(-others, axis=None, kind="stable")[:N_CONFUSIONS]:
        true, predicted = divmod(int(place), len(classes))
        count = float(others[true, predicted])
        if count > 0:
            share = count / float(matrix[true].sum())
            rows.append((classes[true], classes[predicted], count, share))
    columns = ("true class", "predicted instead", "records", "share of the class")
    return Table("Most frequent confusions", columns, rows, bar=3)


def mistake_section(found: TestScores, is_multilabel: bool, files: VideoFiles) -> Section:
    """Return the most confident mistakes, with thumbnails of the videos that were found."""
    worst = mistakes(found, is_multilabel, N_MISTAKES)
    advice = "Thumbnails require the video files: name their folder with timeception report RUN "
    text = "" if files.paths else f"{advice}--videos DIR, or in the recipe's data.videos."
    wrong = [files.card(mistake) for mistake in worst if not mistake.is_missed]
    missed = [files.card(mistake) for mistake in worst if mistake.is_missed]
    items = [Cards("Wrong, with high scores", wrong)] if wrong else []
    items += [Cards("Missed, with low scores", missed)] if missed else []
    return Section("Mistakes", text if items else "There are none.", items)
