"""``timeception report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(report)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="A tested run; or several tested runs or cross-validations."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE.html", help="The page, created or replaced.")
    ] = Path("report.html"),
    split: Annotated[str, typer.Option(help="Split whose results are shown.")] = "test",
    videos: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the video files, for thumbnails.",
            show_default="the recipe's data.videos",
        ),
    ] = None,
) -> None:
    """Write one page that shows the results of a test, or compares several; it works offline.

    Of one run: average precision by class, precision and recall, confusions, calibration, the worst
    mistakes with thumbnails, training curves. Of several: the paired comparison.
    """
    from timeception.report.comparisons import write_comparison_report
    from timeception.report.testing import write_test_report
    from timeception.training.runs import find_run

    if len(runs) == 1:
        write_test_report(find_run(runs[0]), out, stem=split, videos=videos)
    elif videos is not None:
        raise ValueError("--videos requires a single RUN: comparisons have no thumbnails.")
    else:
        write_comparison_report(runs, out, split=split)
    print(f"Report: {out}")
