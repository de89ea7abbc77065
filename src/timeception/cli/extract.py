"""``timeception extract``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from timeception.backbones import Backbone
    from timeception.features.extraction.extract import ExtractionReport
    from timeception.recipes.sections import BackboneSection

DEFAULT_BACKBONE = "efficientnet_lite0"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(extract)


def extract(
    videos: Annotated[
        list[Path],
        typer.Argument(
            help="Video files; folders, searched for video files at any depth; .txt files that "
            "list a path a line."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The bank's folder; made, or continued.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Take the network, its preprocessing, stride and map size from this recipe; "
            "options told here go before.",
            show_default="none",
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a field of the recipe. Repeatable."
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Network: efficientnet_lite0, timm:NAME, ...", show_default=DEFAULT_BACKBONE
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Weights file, or 'random'.", show_default="the network's own weights"),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(help="Name of the map to keep.", show_default="the network's choice"),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Frames from one timestep to the next.",
            show_default="8, or a whole segment of the network if that is longer",
        ),
    ] = None,
    map_size: Annotated[
        str | None,
        typer.Option(
            help="Average maps down to HxW cells, such as 2x3.", show_default="the maps as they are"
        ),
    ] = None,
    frames_2019: Annotated[
        int | None,
        typer.Option(
            "--frames-2019",
            min=1,
            help="Choose segments as the code of 2019 did for a clip of so many frames, in place "
            "of --stride.",
            show_default="no",
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="Of weights and maps within the network: fp32, or bf16, which changes features a "
            "little and is faster where the processor multiplies it."
        ),
    ] = "fp32",
    dtype: Annotated[
        str, typer.Option(help="Stored type: float16, float32 or bfloat16.")
    ] = "float16",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Extract again what does not match.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="local: threads of this process; ray: a cluster, one task a video.")
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Videos at once; with ray, processes.", show_default="one a core"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Segments through the network at once.",
            show_default="4 frames' worth; 64 on a GPU",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, ...", show_default="a GPU if there is one"),
    ] = None,
    compiles: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the network first: it takes a while, then is faster on processors. "
            "Needs a C++ compiler; changes features by rounding alone.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Extract features of videos into a bank, once.

    The same command again continues: videos that are done and match are skipped, what failed is
    tried again. A broken video never stops the others: it is named here and in the bank's
    failures.json, and the exit status is 1.
    """
    if stride and frames_2019:
        raise ValueError("--stride and --frames-2019 both choose the segments: tell one of them.")
    cells = parse_map_size(map_size) if map_size else None
    if recipe is None:
        from timeception.backbones import create_backbone

        if change:
            raise ValueError("--set changes a recipe: tell --recipe too.")
        network = create_backbone(backbone or DEFAULT_BACKBONE, weights, endpoint)
    else:
        from timeception.training.backbone_file import make_backbone

        section = _section_of(recipe, change or [], backbone, weights, endpoint)
        network = make_backbone(section)
        stride, cells = stride or section.stride_frames, cells or section.map_size
    report = extract_with_progress(
        videos,
        out,
        network,
        is_json=as_json,
        stride=stride,
        map_size=cells,
        precision=precision,
        frames_2019=frames_2019,
        dtype=dtype,
        is_overwritten=overwrite,
        engine=engine,
        n_workers=workers,
        batch_size=batch_size,
        device=device,
        is_compiled=compiles,
    )
    if report.failed:
        raise typer.Exit(1)


def _section_of(
    recipe: str, changes: list[str], name: str | None, weights: str | None, endpoint: str | None
) -> BackboneSection:
    """The backbone section of a recipe, with what the command line says instead."""
    from timeception.recipes.recipe import load_recipe

    told = {"name": name, "weights": weights, "endpoint": endpoint}
    words = [f"backbone.{key}={value}" for key, value in told.items() if value is not None]
    section = load_recipe(recipe, [*changes, *words]).backbone
    if section is None:
        raise ValueError(f"recipe {recipe!r} names no backbone: tell --backbone instead.")
    return section


def extract_with_progress(
    videos: list[Path], out: Path, network: Backbone, is_json: bool = False, **options: Any
) -> ExtractionReport:
    """Extract with a progress bar and print what was done; failures go to the error stream."""
    from timeception.features.extraction.extract import extract as extract_into

    with _progress() as show:
        report = extract_into(videos, out, network, on_progress=show, **options)
    if is_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        counts = f"{len(report.done)} extracted, {len(report.skipped)} there already"
        speed = f"{report.n_frames} frames in {report.seconds:.1f} s"
        print(f"{counts}, {len(report.failed)} failed; {speed} ", end="")
        print(f"({report.frames_per_second:.1f} frames/s). Bank: {out}")
    for video_id, error in report.failed.items():
        print(f"failed: {video_id}: {error}", file=sys.stderr)
    return report


def parse_map_size(text: str) -> tuple[int, int]:
    """Height and width from ``HxW``.

    Raises:
        ValueError: if the text is of another form.

    Example:
        >>> parse_map_size("2x3")
        (2, 3)
    """
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"--map-size must be HxW, such as 2x3; got {text!r}.")
    return int(height), int(width)


@contextmanager
def _progress() -> Iterator[Callable[[ExtractionReport], None]]:
    """A bar with videos, frames per second and an estimate, if the error stream is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("extracting"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}% {task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("extract", total=None, state="")

        def show(report: ExtractionReport) -> None:
            n_over = len(report.done) + len(report.skipped) + len(report.failed)
            failed = f", {len(report.failed)} failed" if report.failed else ""
            rate = len(report.done) / report.seconds if report.seconds else 0.0
            state = (
                f"{n_over}/{report.n_videos} videos{failed}, {rate:.2f} videos/s, "
                f"{report.frames_per_second:.1f} frames/s, left:"
            )
            bar.update(task, total=report.n_bytes, completed=report.n_bytes_done, state=state)

        yield show
