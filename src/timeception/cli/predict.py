"""``timeception predict``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timeception import checks
from timeception.cli import usage

if TYPE_CHECKING:
    from timeception.video import StreamSource

_stream_option = partial(typer.Option, rich_help_panel="Streams")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(predict)


def predict(
    run: Annotated[str, typer.Argument(help="A run folder, a saved-model folder or a hub id.")],
    videos: Annotated[
        list[Path] | None,
        typer.Argument(help="Video files to score; or pass --stream.", show_default=False),
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="Number of classes to print, highest scores first.")
    ] = 5,
    draws: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of random clips per video whose scores are averaged; 1 scores the uniform "
            "clip, whose timesteps are equally spaced.",
            show_default="1",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights file of the backbone, if it has moved since training.",
            show_default="the file recorded in the model",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --stream, one object per line.")
    ] = False,
    stream: Annotated[
        str | None,
        _stream_option(
            metavar="SOURCE",
            help="Score one stream while it arrives, in constant memory: a file, - for standard "
            "input, a URL (rtsp://..., http://...) or, with --input-format, a device. Every "
            "timestep is used; no clip is sampled.",
            show_default="none",
        ),
    ] = None,
    interval: Annotated[
        float | None,
        _stream_option(help="Time between printed scores, in seconds of video.", show_default="10"),
    ] = None,
    stride: Annotated[
        int | None,
        _stream_option(
            min=1,
            help="Distance between successive timesteps, in frames. Training sampled n_timesteps "
            "from each whole video (or window); if the stream's timesteps are spaced very "
            "differently, a message suggests a stride.",
            show_default="the stride of the model's training features",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        _stream_option(
            help="Timesteps per second, whatever the frame rate of the stream. Replaces --stride.",
            show_default="the rate of the model's training features, if they were sampled by time",
        ),
    ] = None,
    evidence: Annotated[
        bool,
        _stream_option(
            "--evidence", help="Also print the best class of each recent output step (or window)."
        ),
    ] = False,
    input_format: Annotated[
        str | None,
        _stream_option(
            "--input-format",
            "-f",
            help="FFmpeg's name of the format or device type: v4l2, avfoundation, dshow, ...",
            show_default="detected",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        _stream_option(
            metavar="KEY=VALUE",
            help="Option for FFmpeg, such as rtsp_transport=tcp; FFmpeg ignores options that it "
            "does not know. Repeatable.",
            show_default="none",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        _stream_option(
            help="Longest wait for a frame, in seconds; 0 waits indefinitely.", show_default="30"
        ),
    ] = None,
) -> None:
    """Score video files, or one stream, with the model's backbone and head.

    Unreadable videos and interrupted streams are reported, and the exit status is 1. Ctrl-C ends a
    stream and prints the scores so far.
    """
    usage.exclude(VIDEOS=videos, stream=stream)
    usage.exclude(draws=draws, stream=stream)
    usage.exclude(stride=stride, fps=fps)
    usage.require(
        "--stream",
        stream,
        interval=interval,
        stride=stride,
        fps=fps,
        evidence=evidence,
        input_format=input_format,
        option=option,
        timeout=timeout,
    )
    if stream is None:
        if not videos:
            raise ValueError("no input: name at least one video file, or pass --stream SOURCE.")
        _predict_files(run, videos, top, draws or 1, weights, as_json)
        return
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
            fps=fps,
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
    from timeception.cli.progress import Lines, say_next, track
    from timeception.cli.tables import print_predictions
    from timeception.inference.predictor import Predictor

    predictor = Predictor.load(run, weights=weights)
    if len(videos) > 1:
        n_classes = len(predictor.model.classes)
        Lines(as_json).say(f"scoring {len(videos)} videos for {n_classes} classes with {run}")
    shown = track(videos, "scoring videos", is_json=as_json)
    predictions = [predictor(path, n_draws=draws) for path in shown]
    if as_json:
        print(json.dumps([prediction.to_dict(top) for prediction in predictions], indent=2))
    else:
        print_predictions(predictions, top)
        if draws == 1 and not any(prediction.error for prediction in predictions):
            say_next("average more clips", "predict", run, *videos[:1], "--draws", 10)
    if any(prediction.error for prediction in predictions):
        raise typer.Exit(1)
