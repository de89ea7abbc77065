"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from timeception.evaluation.evaluate import EvaluationReport
    from timeception.inference.predictor import Prediction
    from timeception.training.runs import Run

MAX_NAMED = 8  # names printed in a line; --json prints all


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Make a table with a left-aligned first column; the others are right-aligned."""
    made = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index else "left", no_wrap=not index)
    for row in rows:
        made.add_row(*row)
    return made


def show(made: Table) -> None:
    """Print a table; its width is limited only in a terminal."""
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    title, made.title = made.title, None  # rich would wrap it to the width of the table
    console.print(title, soft_wrap=True, highlight=False)
    console.print(made)


def print_evaluation(report: EvaluationReport, run: Run) -> None:
    """Print the results of ``timeception test``, per class and overall."""
    even, drawn = report.equidistant, report.average_of_draws
    titles = ("class", "AP, uniform clip", f"AP, average of {report.n_draws} draws")
    even_ap, drawn_ap = even.average_precision, drawn.average_precision
    rows = [(name, score_text(even_ap[name]), score_text(drawn_ap[name])) for name in drawn_ap]
    rows.append(
        ("mAP", score_text(even.mean_average_precision), score_text(drawn.mean_average_precision))
    )
    if even.accuracy is not None and drawn.accuracy is not None:
        rows.append(("accuracy", score_text(even.accuracy), score_text(drawn.accuracy)))
    show(table(f"{report.run}: {report.n_records} {report.split} records", titles, rows))
    _print_protocols(report)
    if report.classes_without_positives:
        without = report.classes_without_positives
        names = ", ".join(without[:MAX_NAMED]) + (", ..." if len(without) > MAX_NAMED else "")
        print(f"{len(without)} class(es) without positives, excluded from the mean: {names}")
    print(f"Results: {run.results / report.stem}.json, {run.results / report.stem}_scores.csv")


def _print_protocols(report: EvaluationReport) -> None:
    """Print the measures of each protocol and the number of records that it covers."""
    average = f"average of {report.n_draws} draws"
    titles = ("protocol", "measure", "uniform clip", average, "records")
    rows = []
    for name, found in report.protocols.items():
        even, drawn = found["equidistant"], found["average_of_draws"]
        n_records = f"{drawn['n_items']} of {drawn['n_items'] + drawn['n_left_out']}"
        measures = [key for key, value in drawn.items() if isinstance(value, float)]
        for key in measures:
            scores = score_text(even[key]), score_text(drawn[key])
            rows.append((name, key.replace("_", " "), *scores, n_records))
    show(table("by protocol", titles, rows))


def print_predictions(predictions: Sequence[Prediction], top: int) -> None:
    """Print the highest classes of every video, or the error of an unreadable one."""
    for prediction in predictions:
        if prediction.error:
            Console(stderr=True, soft_wrap=True).print(f"{prediction.error}", style="red")
            continue
        rows = [(name, score_text(score)) for name, score in prediction.top(top)]
        show(table(prediction.video, ("class", "score"), rows))
        if len(prediction.windows) > 1:
            titles, lines = (prediction.time_unit, "highest classes"), []
            for window in prediction.windows:
                span = f"{window.start_seconds:.1f} - {window.end_seconds:.1f}"
                best = window.top(prediction.classes, 3)
                lines.append(
                    (span, ", ".join(f"{name} {score_text(score)}" for name, score in best))
                )
            show(table("windows", titles, lines))


def score_text(value: float) -> str:
    """Format a score for a table."""
    return f"{value:.3f}"
