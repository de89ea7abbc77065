"""``timeception predict``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from timeception import checks
from timeception.cli import usage

if TYPE_CHECKING:
    from timeception.inference.predictor import Prediction, Predictor
    from timeception.inference.saved_model import SavedModel
    from timeception.inference.timelines import OpenIntervals, Timeline
    from timeception.video import StreamSource

    Predict = Callable[[str, int], Prediction]

_features_option = partial(typer.Option, rich_help_panel="Features")
_timeline_option = partial(typer.Option, rich_help_panel="Timelines")
_stream_option = partial(typer.Option, rich_help_panel="Streams")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(predict)


def predict(
    run: Annotated[str, typer.Argument(help="A run folder, a saved-model folder or a hub id.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT]...",
            help="Video files, folders of them, or files of features (.npy, .npz, HDF5, "
            "safetensors, .mat, ...; one per video, detected from the content). With --bank: ids "
            "of videos.",
            show_default=False,
        ),
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
    device: Annotated[
        str | None,
        typer.Option(
            help="Where the networks run: cpu, cuda, cuda:1, ...; with --stream, the backbone.",
            show_default="the head on the CPU, the backbone on a GPU if there is one",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --stream, one object per line.")
    ] = False,
    timeline: Annotated[
        bool,
        _timeline_option(
            "--timeline",
            help="Score every timestep instead of the whole video: when, not only what. A "
            "localizer was trained for it; from a classifier, it is the evidence of each output "
            "step.",
        ),
    ] = False,
    threshold: Annotated[
        str | None,
        _timeline_option(
            metavar="auto|X",
            help="Score from which a timestep belongs to an interval: a number, or auto, the "
            "thresholds that training tuned on validation videos.",
            show_default="auto if the model has tuned thresholds; else 0.5, or, with one class per "
            "timestep, the best class",
        ),
    ] = None,
    output_format: Annotated[
        Literal["table", "json", "csv", "vtt"] | None,
        _timeline_option(
            "--format",
            help="table: the intervals; json: intervals and scores; csv: the scores of each "
            "timestep; vtt: the intervals as subtitles (WebVTT).",
            show_default="table",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        _timeline_option(
            help="Folder for one file per video, in the format json, csv or vtt.",
            show_default="print",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Also write a page: frames above scores over time, intervals, evidence; video "
            "files only.",
            show_default="none",
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="True intervals for the page of --report: columns video,label,start,end, in "
            "seconds. A video is found by the end of its path.",
            show_default="none",
        ),
    ] = None,
    bank: Annotated[
        Path | None,
        _features_option(
            help="Score features of this bank: the videos with the ids INPUT, or all.",
            show_default="none",
        ),
    ] = None,
    key: Annotated[
        str | None,
        _features_option(
            help="Name of the feature array in each feature file.",
            show_default="the only array",
        ),
    ] = None,
    axes: Annotated[
        str | None,
        _features_option(
            help="Order of the axes in each feature file, such as TC or THWC, as for `timeception "
            "bank import`.",
            show_default="inferred from the shape",
        ),
    ] = None,
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
    intervals: Annotated[
        bool,
        _stream_option(
            "--intervals", help="Also print each interval of a class when it ends; see --threshold."
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
    """Score video files, features, or one stream.

    Videos go through the model's backbone and head, features through the head alone: a model
    trained on imported features has no backbone. Unreadable files and interrupted streams are
    reported, and the exit status is 1. Ctrl-C ends a stream and prints the scores so far.
    """
    usage.exclude(INPUT=inputs, stream=stream)
    usage.exclude(timeline=timeline, stream=stream)
    usage.exclude(timeline=timeline, draws=draws)
    usage.require("--timeline", timeline, format=output_format, out=out)
    usage.require("--timeline or --intervals", timeline or intervals, threshold=threshold)
    usage.exclude(bank=bank, stream=stream)
    usage.exclude(draws=draws, stream=stream)
    usage.exclude(report=report, stream=stream)
    usage.exclude(report=report, timeline=timeline)
    usage.exclude(report=report, bank=bank)
    usage.exclude(report=report, draws=draws)
    usage.require("--report", report, annotations=annotations)
    usage.exclude(stride=stride, fps=fps)
    usage.require(
        "--stream",
        stream,
        interval=interval,
        stride=stride,
        fps=fps,
        evidence=evidence,
        intervals=intervals,
        input_format=input_format,
        option=option,
        timeout=timeout,
    )
    if report is not None:
        usage.require("feature files", None, key=key, axes=axes)
        from timeception.cli.predict_report import predict_with_report

        failed = predict_with_report(
            run, inputs or [], weights, device, top, report, annotations, as_json
        )
        raise typer.Exit(int(failed))
    if timeline:
        from timeception.cli.timelines import predict_timelines

        usage.exclude(json=as_json, format=output_format)
        chosen = "json" if as_json else output_format or "table"
        names, read = _timelines_of(run, inputs or [], bank, key, axes, weights, device)
        predict_timelines(names, read, chosen, threshold, out)
        return
    if stream is None:
        _predict_inputs(
            run, inputs or [], bank, key, axes, weights, device, draws or 1, top, as_json
        )
        return
    usage.require("feature files", None, key=key, axes=axes)
    from timeception.cli.stream import follow
    from timeception.devices import check_device
    from timeception.inference.predictor import Predictor
    from timeception.inference.streams import DEFAULT_INTERVAL_SECONDS

    source = _source(stream, input_format, option or [], timeout)
    interval = DEFAULT_INTERVAL_SECONDS if interval is None else interval
    check_device(device)
    predictor = Predictor.load(run, weights=weights)
    raise typer.Exit(
        follow(
            predictor,
            source,
            interval_seconds=interval,
            stride=stride,
            fps=fps,
            device=device,
            top=top,
            has_evidence=evidence,
            intervals=_open_intervals(predictor.model, threshold) if intervals else None,
            as_json=as_json,
        )
    )


def _open_intervals(model: SavedModel, threshold: str | None) -> OpenIntervals:
    from timeception.cli.timelines import threshold_of
    from timeception.inference.timelines import OpenIntervals
    from timeception.inference.video_timelines import empty_timeline

    timeline = empty_timeline(model, "stream")
    return OpenIntervals(timeline, threshold_of(threshold, timeline))


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


def _predict_inputs(
    run: str,
    inputs: list[str],
    bank: Path | None,
    key: str | None,
    axes: str | None,
    weights: str | None,
    device: str | None,
    draws: int,
    top: int,
    as_json: bool,
) -> None:
    """Score every input, print the scores, and exit with status 1 if one could not be read."""
    from timeception.cli.progress import Lines, say_next, track
    from timeception.cli.tables import print_predictions

    if bank is not None:
        usage.exclude(bank=bank, key=key)
        usage.exclude(bank=bank, axes=axes)
        usage.exclude(bank=bank, weights=weights)
        names, predict = _of_bank(run, inputs, bank, device)
    else:
        names = _with_folders(inputs)
        predict = _of_files(run, list(names), key, axes, weights, device)
    if len(names) > 1:
        Lines(as_json).say(f"scoring {len(names)} videos with {run}")
    shown = track(names, "scoring videos", is_json=as_json)
    predictions = [predict(name, draws) for name in shown]
    if as_json:
        print(json.dumps([prediction.to_dict(top) for prediction in predictions], indent=2))
    else:
        print_predictions(predictions, top)
        if draws == 1 and not any(prediction.error for prediction in predictions):
            given = {"--bank": bank, "--key": key, "--axes": axes, "--weights": weights}
            options = [word for pair in given.items() if pair[1] is not None for word in pair]
            say_next("average more clips", "predict", run, *inputs[:1], *options, "--draws", 10)
    if any(found.time_unit == "steps" and len(found.windows) > 1 for found in predictions):
        text = "the frame rate of these features is unknown: times are in steps, not seconds."
        print(text, file=sys.stderr)
    if any(prediction.error for prediction in predictions):
        raise typer.Exit(1)


def _of_bank(
    run: str, ids: list[str], root: Path, device: str | None
) -> tuple[Sequence[str], Predict]:
    """Return the ids to score, and what scores them."""
    from timeception.features.bank import FeatureBank
    from timeception.inference.predictor import Predictor

    bank = FeatureBank(root)
    for video_id in ids:
        bank.file(video_id)  # reports a missing id before anything is scored
    predictor = Predictor.for_features(run, device)
    predictor.check_bank(bank)
    return ids or bank.video_ids, partial(predictor.predict_bank, bank)


def _with_folders(inputs: list[str]) -> list[str]:
    """Replace each folder by the videos in it."""
    from timeception.datasets.video_files import find_videos

    found: list[str] = []
    for name in inputs:
        if not Path(name).is_dir():
            found.append(name)
            continue
        is_bank = (Path(name) / "bank.json").is_file()
        checks.require(not is_bank, "INPUT", "be files", name, f"Pass --bank {name}.")
        videos = [str(path) for path in find_videos(name).values()]
        checks.require(bool(videos), f"folder {name}", "hold video files", "none")
        found += videos
    return found


def _timelines_of(
    run: str,
    inputs: list[str],
    bank: Path | None,
    key: str | None,
    axes: str | None,
    weights: str | None,
    device: str | None,
) -> tuple[Sequence[str], Callable[[str], Timeline]]:
    """Return the names to score, and what makes their timelines."""
    from timeception.inference.predictor import Predictor
    from timeception.inference.timelines import Timeline
    from timeception.inference.video_timelines import (
        bank_timeline,
        features_timeline,
        video_timeline,
    )

    if bank is not None:
        from timeception.features.bank import FeatureBank

        usage.exclude(bank=bank, key=key)
        usage.exclude(bank=bank, axes=axes)
        usage.exclude(bank=bank, weights=weights)
        opened = FeatureBank(bank)
        for video_id in inputs:
            opened.file(video_id)  # reports a missing id before anything is scored
        predictor = Predictor.for_features(run, device)
        predictor.check_bank(opened)
        return inputs or opened.video_ids, partial(bank_timeline, predictor, opened)
    names = _with_folders(inputs)
    predictor, features, read = _loaded(run, names, key, axes, weights, device)

    def timeline(name: str) -> Timeline:
        if name not in features:
            return video_timeline(predictor, name, device=device)[0]
        try:
            steps = read(name)
        except (ValueError, OSError) as error:
            return Timeline.failed(name, predictor.model.classes, str(error))
        return features_timeline(predictor, steps, video=name)

    return names, timeline


def _of_files(
    run: str,
    files: list[str],
    key: str | None,
    axes: str | None,
    weights: str | None,
    device: str | None,
) -> Predict:
    """Return what scores video files and files of features."""
    from timeception.features.bank.arrays import KeyRequiredError
    from timeception.inference.feature_files import AxesError
    from timeception.inference.predictor import Prediction

    predictor, features, read = _loaded(run, files, key, axes, weights, device)

    def predict(name: str, n_draws: int) -> Prediction:
        if name not in features:
            return predictor(name, n_draws)
        try:
            steps = read(name)
        except (KeyRequiredError, AxesError):
            raise
        except (ValueError, OSError) as error:
            return Prediction(name, predictor.model.classes, error=str(error))
        return predictor.predict_features(steps, video=name, n_draws=n_draws)

    return predict


def _loaded(
    run: str,
    files: list[str],
    key: str | None,
    axes: str | None,
    weights: str | None,
    device: str | None,
) -> tuple[Predictor, set[str], Callable[[str], Any]]:
    """Return the predictor, which files hold features, and what reads those."""
    from timeception.inference.feature_files import is_feature_file, read_features
    from timeception.inference.predictor import Predictor

    if not files:
        raise ValueError(
            "no input: name at least one file, or pass --bank BANK or --stream SOURCE."
        )
    features = {name for name in files if is_feature_file(Path(name))}
    if not features:
        usage.require("feature files", None, key=key, axes=axes)
    if len(features) == len(files):
        usage.require("video files", None, weights=weights)
        predictor = Predictor.for_features(run, device)
    else:
        predictor = Predictor.load(run, weights=weights, device=device)

    def read(name: str) -> Any:
        return read_features(Path(name), predictor.in_channels, key, axes)

    return predictor, features, read
