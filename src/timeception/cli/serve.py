"""``timeception serve``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(serve)


def serve(
    run: Annotated[str, typer.Argument(help="A run folder, a saved-model folder or a hub id.")],
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other computers connect.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 7860,
    examples: Annotated[
        Path | None,
        typer.Option(help="Folder of videos to choose from.", show_default="none"),
    ] = None,
    max_megabytes: Annotated[float, typer.Option(help="Largest upload, in MB.")] = 200.0,
    max_minutes: Annotated[float, typer.Option(help="Longest video, in minutes.")] = 10.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Videos that are scored at once.")] = 1,
    queue: Annotated[int, typer.Option(min=0, help="Videos that may wait.")] = 20,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights file of the backbone, if it has moved since training.",
            show_default="the file recorded in the model",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where the networks run: cpu, cuda, cuda:1, ...",
            show_default="the head on the CPU, the backbone on a GPU if there is one",
        ),
    ] = None,
) -> None:
    """Serve a web page and an HTTP API that score uploaded videos, until Ctrl-C.

    The page has no login. It loads nothing from the network, and uploads are deleted after ten
    minutes.
    """
    from timeception.inference.predictor import Predictor
    from timeception.serving.limits import Limits
    from timeception.serving.scoring import VideoService
    from timeception.serving.server import LOOPBACK, read_examples, require_gradio
    from timeception.serving.server import serve as serve_app

    limits = Limits(max_megabytes, max_minutes, concurrency, queue)
    require_gradio()
    found = read_examples(examples)
    predictor = Predictor.load(run, weights=weights, device=device)
    shown = f"[{host}]" if ":" in host else host
    print(f"Serving {run} at http://{shown}:{port} (Ctrl-C stops)", flush=True)
    if host not in LOOPBACK:
        print("Every computer that reaches this one can use the page.", file=sys.stderr)
    serve_app(VideoService(predictor, limits), f"{Path(run).name}: scores", found, host, port)
