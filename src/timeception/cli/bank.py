"""``timeception bank import``, ``resize``, ``stat`` and ``check``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Bank = Annotated[Path, typer.Argument(help="The bank's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    bank = typer.Typer(
        help="Import, resize, inspect and check banks of features.", no_args_is_help=True
    )
    bank.command("import")(import_)
    bank.command()(resize)
    bank.command()(stat)
    bank.command()(check)
    app.add_typer(bank, name="bank")


def import_(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Feature files, one per video, or folders of them: .npy, .npz, HDF5, safetensors, "
            "MATLAB .mat, PyTorch or pickle. The format is detected from the content."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The bank's folder; created, or added to.")],
    axes: Annotated[
        str | None,
        typer.Option(
            help="Order of the axes: T time, C channels, H height, W width, N batch of one clip. "
            "Examples: TC, CT, TCHW, THWC, CTHW, NTHWC.",
            show_default="inferred from the shape; if ambiguous, you are asked",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Name of the feature array in each file; '*' imports every array as a separate "
            "video.",
            show_default="the only array",
        ),
    ] = None,
    fps: Annotated[
        float,
        typer.Option(
            help="Frame rate of the videos, frames per second. With 1, times count frames."
        ),
    ] = 1.0,
    stride: Annotated[
        int, typer.Option(min=1, help="Distance between successive timesteps, in frames.")
    ] = 1,
    dtype: Annotated[
        str, typer.Option(help="Type in which features are stored: float16, float32 or bfloat16.")
    ] = "float16",
    frame_labels: Annotated[
        str | None,
        typer.Option(
            help="Name of an array, in the same files, with one label per timestep. Requires "
            "--annotations.",
            show_default="none",
        ),
    ] = None,
    class_names: Annotated[
        str | None,
        typer.Option(
            help="Names of the labels 0, 1, ...: a comma-separated list, or a text file with one "
            "name per line, optionally preceded by its number.",
            show_default="the numbers",
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            help="Number (or name) of the label that means no action.", show_default="none"
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="CSV file to write the labels to, with the columns video, label, start, end; "
            "times in seconds. Requires --frame-labels.",
            show_default="none",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace features that were imported with other settings or files."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Import features that were made elsewhere into a bank.

    Unreadable files are reported and skipped, and the exit status is then 1.
    """
    from timeception.cli import usage
    from timeception.cli.progress import Lines, say_next, track
    from timeception.features.bank.importing import FrameLabels, import_features

    usage.require("--annotations", annotations, frame_labels=frame_labels)
    usage.require(
        "--frame-labels",
        frame_labels,
        annotations=annotations,
        class_names=class_names,
        background=background,
    )
    labels = None
    if frame_labels is not None and annotations is not None:
        names = read_class_names(class_names) if class_names else None
        labels = FrameLabels(frame_labels, annotations, names, background)

    def show(files: Sequence[Any]) -> Iterable[Any]:
        Lines(as_json).say(f"files to import: {len(files)}; bank: {out}")
        return track(files, "importing", is_json=as_json)

    report = import_features(
        sources,
        out,
        axes=axes,
        key=key,
        fps=fps,
        stride=stride,
        dtype=dtype,
        labels=labels,
        is_overwritten=overwrite,
        ask=_ask if _is_interactive() else None,
        track=show,
    )
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        counts = f"{len(report.done)} imported, {len(report.skipped)} already in the bank"
        where = f"Bank: {out}" if out.exists() else "No bank was made."
        print(f"{counts}, {len(report.failed)} failed; axes {report.axes}. {where}")
        if report.annotations:
            print(f"Annotations: {report.annotations}")
        if report.done:
            say_next("train on it", "train", "RECIPE", f"data.bank={out}", "backbone=null")
    _report("failed", report.failed)


def resize(
    bank: Bank,
    out: Annotated[Path, typer.Option(help="Folder of the new bank; created, or continued.")],
    map_size: Annotated[
        str, typer.Option(help="Height and width of the new maps, HxW, such as 2x3.")
    ],
    as_json: Json = False,
) -> None:
    """Average the maps of a bank into a new bank, without the videos.

    Run the same command again to continue. Damaged files are reported and skipped, and the exit
    status is then 1.
    """
    from timeception.cli.extract import parse_map_size
    from timeception.cli.progress import Lines, say_next, track
    from timeception.features.bank import FeatureBank
    from timeception.features.bank.resizing import resize_bank

    def show(ids: Sequence[str]) -> Iterable[str]:
        Lines(as_json).say(f"videos to average: {len(ids)}; bank: {out}")
        return track(ids, "averaging", is_json=as_json)

    report = resize_bank(FeatureBank(bank), out, parse_map_size(map_size), track=show)
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        counts = f"{len(report.done)} averaged to {map_size}, {len(report.skipped)} already done"
        where = f"Bank: {out}" if out.exists() else "No bank was made."
        print(f"{counts}, {len(report.failed)} failed. {where}")
        if report.done:
            say_next("train on it", "train", "RECIPE", f"data.bank={out}")
    _report("failed", report.failed)


def stat(bank: Bank, as_json: Json = False) -> None:
    """Summarise a bank: videos, timesteps, map sizes, file size, origin, failures."""
    from timeception.cli.progress import say_next
    from timeception.cli.tables import show, table
    from timeception.features.bank import FeatureBank
    from timeception.features.bank.inspection import statistics

    found = statistics(FeatureBank(bank))
    if as_json:
        print(json.dumps(found, indent=2, sort_keys=True))
        return
    lengths = f"{found['n_steps_least']} to {found['n_steps_most']} per video"
    maps = ", ".join(f"{shape} ({count})" for shape, count in found["maps"].items())
    rows = [
        ("videos", str(found["n_videos"])),
        ("timesteps", f"{found['n_steps']} ({lengths})"),
        ("hours", f"{found['hours']:.2f}"),
        ("maps, CxHxW", maps),
        ("type", found["dtype"]),
        ("size", f"{found['n_bytes'] / 1e6:.1f} MB"),
        ("made by", _origin(found["settings"])),
        ("timestep", _spacing(found["settings"])),
        ("fingerprint", found["fingerprint"][:16]),
        ("failures", str(len(found["failures"]))),
        ("damaged files", str(len(found["damaged"]))),
    ]
    show(table(str(bank), ("", ""), rows))
    say_next("check its files", "bank", "check", bank)
    for video_id, failure in found["failures"].items():
        print(f"failed: {video_id}: {failure['error']}", file=sys.stderr)
    for video_id, error in found["damaged"].items():
        print(f"damaged: {video_id}: {error}", file=sys.stderr)


def check(
    bank: Bank,
    videos: Annotated[
        list[Path] | None,
        typer.Option(
            help="Files that the features were made from, or their folder; checks that they have "
            "not changed. Repeatable.",
            show_default="none",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read a whole bank and check files, settings, shapes and values; exit status 1 on problems."""
    from timeception.cli.progress import say_next, track
    from timeception.features.bank import FeatureBank
    from timeception.features.bank.inspection import inspect

    opened = FeatureBank(bank)
    problems = inspect(opened, videos or (), lambda ids: track(ids, "checking", is_json=as_json))
    if as_json:
        report = {"n_videos": len(opened), "problems": problems, "failures": opened.failures}
        print(json.dumps(report, indent=2, sort_keys=True))
    elif not problems:
        n_failures = len(opened.failures)
        known = f"; {n_failures} unreadable video(s) when the bank was made" if n_failures else ""
        print(f"{bank}: {len(opened)} videos, no problems{known}.")
        say_next("train on it", "train", "RECIPE", f"data.bank={bank}")
    _report("problem", problems)


def read_class_names(text: str) -> tuple[str, ...]:
    """Class names from ``a,b,c``, or a file with one per line, optionally preceded by its number.

    Raises:
        ValueError: if a name is empty or occurs twice, or the numbers are not 0, 1, 2, ...

    Example:
        >>> read_class_names("background, pour,stir")
        ('background', 'pour', 'stir')
    """
    path = Path(text)
    if not path.is_file():
        names = [name.strip() for name in text.split(",")]
    else:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        names = [line for line in lines if line]
        numbered = [line.split(maxsplit=1) for line in names]
        if all(len(words) == 2 and words[0].isdecimal() for words in numbered):
            by_number = {int(number): name for number, name in numbered}
            if sorted(by_number) != list(range(len(names))):
                got = f"got {names[:4]}, ..."
                raise ValueError(f"{path} must number its classes 0, 1, 2, ...; {got}")
            names = [by_number[number] for number in range(len(names))]
    if not all(names) or len(set(names)) != len(names):
        raise ValueError(f"--class-names must be unique and not empty; got {names}.")
    return tuple(names)


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: str, options: tuple[str, ...]) -> str:
    text = f"{question}\nWhich order is right, {' or '.join(options)}?"
    return str(typer.prompt(text, prompt_suffix=" ", err=True))


def _origin(settings: dict[str, Any]) -> str:
    backbone = settings.get("backbone")
    if isinstance(backbone, dict):
        weights = backbone.get("weights", {})
        return f"{backbone.get('name')}, {backbone.get('endpoint')}, {weights.get('source')}"
    return str(settings.get("kind", "unknown"))


def _spacing(settings: dict[str, Any]) -> str:
    from timeception.features.bank.store import timesteps_per_second

    rate = timesteps_per_second(settings)
    if rate is not None:
        return f"every {1 / rate:.3g} s ({rate:g} fps)"
    if "frames_2019" in settings:
        return f"as in 2019, for clips of {settings['frames_2019']} frames"
    return f"every {settings['stride']} frames" if "stride" in settings else "unknown"


def _report(word: str, problems: dict[str, str]) -> None:
    """Print every problem on the error stream; exit with status 1 if there is one."""
    for video_id, text in problems.items():
        print(f"{word}: {video_id}: {text}", file=sys.stderr)
    if problems:
        raise typer.Exit(1)
