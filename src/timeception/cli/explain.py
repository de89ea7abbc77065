"""``timeception explain``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timeception.cli import usage

if TYPE_CHECKING:
    from timeception.inference.explanation import Explanation


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(explain)


def explain(
    run: Annotated[str, typer.Argument(help="A run folder, a saved-model folder or a hub id.")],
    video: Annotated[
        Path | None, typer.Argument(help="A video file.", show_default="none: only --kernels")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--class", help="Class to explain.", show_default="the highest score"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="maximum: the exact parts of the score behind global max pooling; gradients: "
            "integrated gradients; occlusion: what the score loses without a part.",
            show_default="maximum",
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Number of moments to print.", show_default="5")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights file of the backbone, if it has moved since training.",
            show_default="the file recorded in the model",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Also write a page: frames above the contributions over time.",
            show_default="none",
        ),
    ] = None,
    kernels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Draw the temporal kernels by layer and branch.",
            show_default="none",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all steps and places as JSON.")
    ] = False,
) -> None:
    """Show which moments of a video decided the score of a class, and the learned kernels."""
    given = {"class": label, "method": method, "top": top, "weights": weights, "report": report}
    usage.require("VIDEO", video, **given, json=as_json)
    usage.exclude(top=top, json=as_json)
    if video is None and kernels is None:
        raise ValueError("nothing to explain: pass a VIDEO, or --kernels FILE.html.")
    if report is not None or kernels is not None:
        from timeception.report.page import require_plotly

        require_plotly()
    if video is not None:
        _explain_video(run, video, label, method or "maximum", top or 5, weights, report, as_json)
    if kernels is not None:
        from timeception.inference.saved_model import load_saved
        from timeception.report.kernels import write_kernels

        write_kernels(load_saved(run), run, kernels)
        if not as_json:
            print(f"Kernels: {kernels}")


def _explain_video(
    run: str,
    video: Path,
    label: str | None,
    method: str,
    top: int,
    weights: str | None,
    report: Path | None,
    as_json: bool,
) -> None:
    from timeception.inference.explanation import explain as explain_features
    from timeception.inference.explanation import require_method
    from timeception.inference.predictor import Predictor

    require_method(method)
    predictor = Predictor.load(run, weights=weights)
    features = predictor.video_features(video)
    found = explain_features(predictor.model, features, label, method)
    if report is not None:
        from timeception.report.videos import write_explanation

        write_explanation(found, video, report)
    if as_json:
        print(json.dumps({"video": str(video), **found.to_dict()}, indent=2))
        return
    _print(found, video, top)
    if report is not None:
        print(f"Report: {report}")


def _print(found: Explanation, video: Path, top: int) -> None:
    from timeception.cli.tables import show, table

    rows = [
        (f"{start:.2f} - {end:.2f}", f"{value:+.3f}")
        for start, end, value in found.top_moments(top)
    ]
    title = f"{video}: {found.label} {found.score:.3f}, by {found.method}"
    show(table(title, ("seconds", "contribution to the logit"), rows))
    print(f"all moments {found.moments.sum():+.3f}, rest {found.rest:+.3f}")
