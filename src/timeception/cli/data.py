"""``timeception data``: make synthetic videos and check data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from timeception.datasets.check import CheckReport

MAX_SHOWN = 10  # places printed for each finding; --json prints all


def register(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer(help="Make synthetic videos and check data sets.", no_args_is_help=True)
    group.command()(synthesize)
    group.command()(check)
    app.add_typer(group, name="data")


def synthesize(
    out: Annotated[Path, typer.Argument(help="New folder for the videos and annotations.")],
    videos_per_class: Annotated[
        int, typer.Option(min=2, help="Videos per activity (6 activities), about 8 s each.")
    ] = 24,
    test_fraction: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Fraction of each activity's videos that is kept for testing."
        ),
    ] = 0.3,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    fps: Annotated[int, typer.Option(min=1, help="Frame rate, frames per second.")] = 8,
    side: Annotated[
        int, typer.Option(min=32, help="Height and width of the frames, in pixels; even.")
    ] = 256,
) -> None:
    """Make synthetic videos of complex activities that differ only in temporal order or extent.

    Writes OUT/ACTIVITY/NNN.mp4, videos.csv (path,labels,split), annotations.csv
    (video,label,start,end; seconds) and README.txt. Run the same command again to continue after an
    interruption.
    """
    from timeception.cli.progress import say_next, track
    from timeception.datasets.synthetic import make_synthetic_activities

    dataset = make_synthetic_activities(
        out,
        videos_per_class,
        seed,
        test_fraction=test_fraction,
        fps=fps,
        side=side,
        track=lambda videos: track(videos, "making synthetic videos"),
    )
    sizes = ", ".join(f"{len(dataset.subset(split))} {split}" for split in dataset.splits)
    print(f"{len(dataset)} synthetic videos of {len(dataset.classes)} activities ({sizes}): {out}")
    say_next("extract features", "extract", out, "--out", f"{out}_bank")


def check(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with the annotations, or a CSV file; the kind of data set is detected "
            "from the files."
        ),
    ],
    videos: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the video files.", show_default="the folder of the annotations"
        ),
    ] = None,
    open_files: Annotated[
        bool, typer.Option("--open/--no-open", help="Open every video file to check its duration.")
    ] = True,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0,
            help="Largest accepted difference between the durations of a file and of its "
            "annotation, in seconds.",
        ),
    ] = 1.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with every place of every finding.")
    ] = False,
) -> None:
    """Check a data set: counts, missing, extra and duplicate videos, classes, durations.

    Reads Charades, Breakfast, MultiTHUMOS and Kinetics-400 in their official formats, CSV files of
    videos or of timed actions, and one folder of videos per class. The exit status is 1 if there
    are problems.
    """
    from timeception.cli.progress import say_next, track
    from timeception.datasets.check import check_folder
    from timeception.video import probe

    report = check_folder(
        folder,
        videos,
        seconds_of=(lambda path: probe(path).duration_seconds) if open_files else None,
        tolerance_seconds=tolerance,
        track=lambda files: track(files, "opening videos", is_json=as_json),
    )
    if as_json:
        print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        _print_check(report)
        if report.is_ok:
            place = videos or (folder.parent if folder.is_file() else folder)
            say_next("extract features", "extract", place, "--out", f"{place.resolve().name}_bank")
    if not report.is_ok:
        raise typer.Exit(1)


def _print_check(report: CheckReport) -> None:
    from timeception.cli.tables import show, table

    print(f"{report.folder}: {report.title}, {report.n_video_files} video files")
    if report.counts:
        rows = [(n, str(f), "" if k is None else str(k)) for n, (f, k) in report.counts.items()]
        show(table("counts", ("", "found", "expected"), rows))
    for finding in report.findings:
        mark = "PROBLEM" if finding.is_problem else "note"
        print(f"{mark}: {finding.what} ({len(finding.items)})")
        for item in finding.items[:MAX_SHOWN]:
            print(f"  {item}")
        if len(finding.items) > MAX_SHOWN:
            print(f"  ... {len(finding.items) - MAX_SHOWN} more; --json prints all")
    print("no problems found" if report.is_ok else "problems found")
