"""``timeception predict --report``: scores of video files, and a page that shows them over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from timeception import checks

if TYPE_CHECKING:
    from timeception.datasets.records import Interval
    from timeception.inference.predictor import Prediction, Predictor
    from timeception.report.videos import VideoResult


def predict_with_report(
    run: str,
    files: Sequence[str],
    weights: str | None,
    device: str | None,
    top: int,
    report: Path,
    annotations: Path | None,
    as_json: bool,
) -> bool:
    """Score video files, print the scores, write the page; return whether a video failed."""
    from timeception.cli.progress import track
    from timeception.cli.tables import print_predictions
    from timeception.inference.feature_files import is_feature_file
    from timeception.inference.predictor import Predictor
    from timeception.report.page import require_plotly
    from timeception.report.videos import write_video_report

    require_plotly()
    checks.require(bool(files), "INPUT", "be at least one video file with --report", "none")
    features = [name for name in files if is_feature_file(Path(name))]
    checks.require(not features, "INPUT", "be video files with --report", features[:3])
    truth = _read_truth(annotations)
    predictor = Predictor.load(run, weights=weights, device=device)
    shown = track(files, "scoring videos", is_json=as_json)
    predictions, results = [], []
    for name in shown:
        prediction, result = _predict(predictor, name, truth)
        predictions.append(prediction)
        results.append(result)
    write_video_report(results, report, top)
    if as_json:
        print(json.dumps([prediction.to_dict(top) for prediction in predictions], indent=2))
    else:
        print_predictions(predictions, top)
        print(f"Report: {report}")
    return any(prediction.error for prediction in predictions)


def _predict(
    predictor: Predictor, name: str, truth: dict[str, tuple[Interval, ...]]
) -> tuple[Prediction, VideoResult]:
    """Score one video; a localizer's score of a class is the highest one over time."""
    from timeception.inference.explanation import explain
    from timeception.inference.predictor import Prediction
    from timeception.inference.saved_model import TimelineModel
    from timeception.inference.video_timelines import video_features_timeline
    from timeception.report.videos import VideoResult
    from timeception.torch import TimeceptionClassifier
    from timeception.video import VideoError

    model, known = predictor.model, _truth_of(name, truth)
    if isinstance(model, TimelineModel):
        scored = predictor.timeline(name)
        if scored.error is not None:
            failed = Prediction(name, model.classes, error=scored.error)
            return failed, VideoResult(name, None, note=f"Could not be read: {scored.error}")
        highest = Prediction(name, model.classes, scored.scores.max(axis=0))
        return highest, VideoResult(name, scored, truth=known)
    try:
        features = predictor.video_features(name)
    except VideoError as error:
        failed = Prediction(name, model.classes, error=str(error))
        return failed, VideoResult(name, None, note=f"Could not be read: {error}")
    prediction = predictor.predict_video_features(name, features)
    timeline, note = None, ""
    try:
        timeline = video_features_timeline(predictor, features, video=name)
    except ValueError as error:  # this kind of model cannot say when
        note = f"No scores over time: {error}"
    if timeline is not None and timeline.error is not None:
        note = f"No scores over time: {timeline.error}"
    has_maximum = isinstance(model.head, TimeceptionClassifier)
    explanation = explain(model, features) if has_maximum else None
    best = prediction.top(len(model.classes))
    return prediction, VideoResult(name, timeline, best, explanation, known, note)


def _read_truth(annotations: Path | None) -> dict[str, tuple[Interval, ...]]:
    from timeception.datasets.timed import read_timed

    if annotations is None:
        return {}
    return {video.video_id: video.intervals for video in read_timed(annotations).videos}


def _truth_of(name: str, truth: dict[str, tuple[Interval, ...]]) -> tuple[Interval, ...] | None:
    """Return the intervals of the longest id with which the path of the video ends."""
    parts = Path(name).with_suffix("").parts
    ids = ("/".join(parts[first:]) for first in range(len(parts)))
    return next((truth[video_id] for video_id in ids if video_id in truth), None)
