"""``timeception extract``."""

from __future__ import annotations

import json
import sys
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
            help="Video files; folders, which are searched at any depth; .txt files that list one "
            "path per line."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The bank's folder; created, or continued.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe (file, or name of a packaged one) that specifies the backbone, its "
            "preprocessing, stride or fps, and map size. Options given here take precedence over "
            "it.",
            show_default="none",
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a field of the recipe, such as backbone.crop=224. Requires --recipe. "
            "Repeatable.",
            show_default="none",
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Backbone that computes the features: efficientnet_lite0, i3d, timm:NAME, ...",
            show_default=f"the recipe's, else {DEFAULT_BACKBONE}",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights file of the backbone, or 'random'.",
            show_default="the recipe's, else the backbone's own",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="Name of the backbone's feature map to store.",
            show_default="the recipe's, else the backbone's own",
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Distance between successive timesteps, in frames.",
            show_default="the recipe's, else 8, or one segment of the backbone if that is longer",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Timesteps per second, at equal times in videos of any frame rate. Replaces "
            "--stride; use it for videos of different frame rates.",
            show_default="the recipe's, else off",
        ),
    ] = None,
    map_size: Annotated[
        str | None,
        typer.Option(
            help="Average the maps down to HxW cells, such as 2x3.",
            show_default="the recipe's, else full size",
        ),
    ] = None,
    frames_2019: Annotated[
        int | None,
        typer.Option(
            "--frames-2019",
            min=1,
            help="Choose segments as the 2019 code did for a clip of this number of frames (32 to "
            "1024). Replaces --stride.",
            show_default="off",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Arithmetic of the backbone: fp32, or bf16, which is faster on processors that "
            "support it and changes features slightly.",
            show_default="the recipe's, else fp32",
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Type in which features are stored: float16, float32 or bfloat16.")
    ] = "float16",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace stored features that were made with other settings or files.",
        ),
    ] = False,
    engine: Annotated[
        str,
        typer.Option(help="local: threads of this process; ray: a cluster, one task per video."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of videos decoded at once; with --engine ray, number of processes.",
            show_default="one per core",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Segments per forward pass of the backbone.",
            show_default="as many as make 4 frames; 64 on a GPU",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where the backbone runs: cpu, cuda, cuda:1, ...",
            show_default="cuda if available, else cpu",
        ),
    ] = None,
    compiles: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the backbone first: slow to start, then faster on CPUs. Requires a C++ "
            "compiler; features change by rounding only.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Extract features of videos into a bank.

    Run the same command again to continue: finished videos are skipped, failed ones are tried
    again. Unreadable videos do not stop the others: they are reported here and in the bank's
    failures.json, and the exit status is 1.
    """
    from timeception.cli import usage
    from timeception.cli.progress import say_next

    usage.exclude(stride=stride, fps=fps, frames_2019=frames_2019)
    usage.require("--recipe", recipe, set=change)
    cells = parse_map_size(map_size) if map_size else None
    if recipe is None:
        from timeception.backbones import create_backbone

        network = create_backbone(backbone or DEFAULT_BACKBONE, weights, endpoint)
    else:
        from timeception.training.backbone_file import make_backbone

        section = _section_of(recipe, change or [], backbone, weights, endpoint)
        network = make_backbone(section)
        cells, precision = cells or section.map_size, precision or section.precision
        if stride is None and fps is None:
            stride, fps = section.stride_frames, section.fps if frames_2019 is None else None
    report = extract_with_progress(
        videos,
        out,
        network,
        is_json=as_json,
        stride=stride,
        map_size=cells,
        precision=precision or "fp32",
        frames_2019=frames_2019,
        fps=fps,
        dtype=dtype,
        is_overwritten=overwrite,
        engine=engine,
        n_workers=workers,
        batch_size=batch_size,
        device=device,
        is_compiled=compiles,
    )
    if report.done and not as_json:
        say_next("train on it", "train", recipe or "RECIPE", f"data.bank={out}")
    if report.failed:
        raise typer.Exit(1)


def _section_of(
    recipe: str, changes: list[str], name: str | None, weights: str | None, endpoint: str | None
) -> BackboneSection:
    """Return the backbone section of a recipe; options given override its fields."""
    from timeception.recipes.recipe import load_recipe

    given = {"name": name, "weights": weights, "endpoint": endpoint}
    words = [f"backbone.{key}={value}" for key, value in given.items() if value is not None]
    section = load_recipe(recipe, [*changes, *words]).backbone
    if section is None:
        raise ValueError(f"recipe {recipe!r} has no backbone; pass --backbone NAME.")
    return section


def extract_with_progress(
    videos: list[Path], out: Path, network: Backbone, is_json: bool = False, **options: Any
) -> ExtractionReport:
    """Extract with a progress bar and print a summary; failures go to the error stream."""
    from timeception.cli.progress import extraction_progress
    from timeception.features.extraction.extract import extract as extract_into

    with extraction_progress(is_json) as show:
        report = extract_into(videos, out, network, on_progress=show, **options)
    if is_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        counts = f"{len(report.done)} extracted, {len(report.skipped)} already in the bank"
        speed = f"{report.n_frames} frames in {report.seconds:.1f} s"
        print(f"{counts}, {len(report.failed)} failed; {speed} ", end="")
        print(f"({report.frames_per_second:.1f} frames/s). Bank: {out}")
    for video_id, error in report.failed.items():
        print(f"failed: {video_id}: {error}", file=sys.stderr)
    return report


def parse_map_size(text: str) -> tuple[int, int]:
    """Return height and width from ``HxW``.

    Raises:
        ValueError: if the text has another form.

    Example:
        >>> parse_map_size("2x3")
        (2, 3)
    """
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"--map-size must be HxW, such as 2x3; got {text!r}.")
    return int(height), int(width)
