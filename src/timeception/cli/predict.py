"""``timeception predict``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timeception import checks

if TYPE_CHECKING:
    from timeception.video import StreamSource

_STREAM = "Streams"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(predict)


def predict(
    run: Annotated[str, typer.Argument(help="A run folder, a saved-model folder or a hub id.")],
    videos: Annotated[
        list[Path] | None, typer.Argument(help="Video files.", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show.")] = 5,
    draws: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Random draws to average; 1 takes the equidistant draw.",
            show_default="1",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Backbone weights, where they have moved since training.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; of a stream, one object a line.")
    ] = False,
    stream: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Score one stream as it comes, in memory that does not grow: a file, - for the "
            "standard input, an address (rtsp://..., http://...) or, with --input-format, a "
            "device. Every timestep is taken, none is drawn.",
            rich_help_panel=_STREAM,
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Seconds of video from one line to the next.",
            show_default="10",
            rich_help_panel=_STREAM,
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Frames from one timestep to the next. Training drew n_timesteps from each whole "
            "video (or window); a message tells the stride that comes closest to that, if the "
            "stream's timesteps lie clearly closer or wider.",
            show_default="as the model's features were made",
            rich_help_panel=_STREAM,
        ),
    ] = None,
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence",
            help="Show the best class of each last output step (or window) alone.",
            rich_help_panel=_STREAM,
        ),
    ] = False,
    input_format: Annotated[
        str | None,
        typer.Option(
            "--input-format",
            "-f",
            help="FFmpeg's name of the format or kind of device: v4l2, avfoundation, dshow, ...",
            rich_help_panel=_STREAM,
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="For FFmpeg, such as rtsp_transport=tcp; it passes over those that it does not "
            "know. Repeatable.",
            rich_help_panel=_STREAM,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds to wait for a frame; 0 waits without end.",
            show_default="30",
            rich_help_panel=_STREAM,
        ),
    ] = None,
) -> None:
    """Score video files, or one stream, through the model's own backbone.

    A video that cannot be read, or a stream that breaks off, is told, and the exit status is 1.
    Ctrl-C ends a stream with the scores so far.
    """
    of_streams = {
        "--interval": interval,
        "--stride": stride,
        "--evidence": evidence or None,
        "--input-format": input_format,
        "--option": option or None,
        "--timeout": timeout,
    }
    if stream is None:
        told = [name for name, value in of_streams.items() if value is not None]
        checks.require(not told, ", ".join(told), "stand with --stream SOURCE", "no --stream")
        checks.require(bool(videos), "VIDEOS", "name a file", "none", "Or tell --stream SOURCE.")
        _predict_files(run, videos or [], top, draws or 1, weights, as_json)
        return
    checks.require(not videos, "VIDEOS", "be none with --stream", [str(v) for v in videos or ()])
    checks.require(draws is None, "--draws", "be left out with --stream", draws)
    from timeception.cli.stream import follow
    from timeception.inference.predictor import Predictor
    from timeception.inference.streams import DEFAULT_INTERVAL_SECONDS

    source = _source(stream, input_format, option or [], timeout)
    interval = DEFAULT_INTERVAL_SECONDS if interval is None else interval
    predictor = Predictor.load(run, weights=weights)
    raise typer.Exit(
        follow(
            predictor,
            source,
            interval_seconds=interval,
            stride=stride,
            top=top,
            has_evidence=evidence,
            as_json=as_json,
        )
    )


def _source(
    location: str, input_format: str | None, options: list[str], timeout: float | None
) -> StreamSource:
    from timeception.video import StreamSource
    from timeception.video.stream import DEFAULT_TIMEOUT_SECONDS

    for option in options:
        checks.require(option.find("=") > 0, "--option", "be KEY=VALUE", option)
    pairs = {key: value for key, _, value in (option.partition("=") for option in options)}
    seconds = DEFAULT_TIMEOUT_SECONDS if timeout is None else timeout
    return StreamSource(location, input_format, pairs, seconds)


def _predict_files(
    run: str, videos: list[Path], top: int, draws: int, weights: str | None, as_json: bool
) -> None:
    from timeception.cli.tables import print_predictions, track
    from timeception.inference.predictor import Predictor

    predictor = Predictor.load(run, weights=weights)
    predictions = [predictor(path, n_draws=draws) for path in track(videos, "videos")]
    if as_json:
        print(json.dumps([prediction.to_dict(top) for prediction in predictions], indent=2))
    else:
        print_predictions(predictions, top)
    if any(prediction.error for prediction in predictions):
        raise typer.Exit(1)
