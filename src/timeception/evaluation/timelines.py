"""Tests of scores over time: whole videos, measured by the protocols of timelines.

RUN/results/SPLIT.json            the report
RUN/results/SPLIT_timelines.npz   scores, truth and times of every video, for comparisons
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.timelines import TimelineSampler, read_timeline_data
from timeception.evaluation.scores import TestScores
from timeception.features.bank import FeatureBank
from timeception.files import write_bytes, write_json
from timeception.inference.model_features import check_model_bank
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import SavedModel, TimelineModel, load_model
from timeception.inference.video_timelines import features_timeline
from timeception.metrics.timeline_protocols import (
    default_timeline_protocol,
    find_timeline_protocol,
)
from timeception.metrics.timelines import Timelines, VideoTimeline
from timeception.recipes.recipe import Recipe
from timeception.training.runs import Run

#: Maps the features of a whole video (T, C, H, W) to scores (T, n_classes).
VideoScorer = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True)
class TimelineReport:
    """What ``timeception test`` reports for scores over time.

    ``protocols`` maps each protocol's name to its measurements. ``is_weakly_supervised``: the model
    is a classifier that never saw a time, and its evidence was measured. ``bank`` is the bank that
    replaced the recipe's.
    """

    run: str
    split: str
    n_videos: int
    n_timesteps: int
    protocols: dict[str, dict[str, Any]]
    left_out: list[str]
    is_weakly_supervised: bool = False
    bank: str | None = None

    @property
    def stem(self) -> str:
        """Name of the result files, without suffix."""
        return self.split if self.bank is None else f"{self.split}_on_{Path(self.bank).name}"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it; the bank only if it is not the recipe's."""
        return {key: value for key, value in asdict(self).items() if key != "bank" or value}


def evaluate_timelines(
    run: Run,
    scorer: VideoScorer | None = None,
    *,
    split: str = "test",
    protocols: Sequence[str] = (),
    bank: str | Path | None = None,
    device: str | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> TimelineReport:
    """Score the whole videos of a split, and measure them.

    Args:
        run: a finished run. A classifier is scored by its evidence, against timed annotations that
            it was not trained on (weak supervision).
        scorer: function from features to scores; ``None`` loads the run's model.
        split: ``test``, ``validation`` or ``train``.
        protocols: names of timeline protocols; empty uses the recipe's.
        bank: bank of the same videos that replaces the recipe's.
        device: device of the network; ``None`` is the CPU.
        track: wraps the indices of the videos, to show progress.

    Raises:
        ValueError: if the split does not exist, a protocol is unknown or is for other data, or the
            features of ``bank`` are of another kind than those of training.
    """
    recipe = run.recipe()
    saved, is_weak = load_model(run.root, device), not recipe.is_timeline
    recipe = as_timeline(recipe) if is_weak else recipe
    if bank is not None:
        check_model_bank(saved, FeatureBank(bank))
    data = read_timeline_data(recipe, None if bank is None else Path(bank))
    checks.require(
        data.classes == saved.classes,
        f"classes of {recipe.data.source}",
        f"be those of {run.root}",
        data.classes[:5],
    )
    names = protocols or [recipe.protocol(data.is_multilabel)]
    chosen = [find_timeline_protocol(name, data.is_multilabel) for name in names]
    sampler: TimelineSampler = data.split(split).sampler  # type: ignore[assignment]
    score = scorer or video_scorer(saved)
    videos = []
    for index in track(range(len(sampler))):
        features, _ = sampler.sample(index, None)
        videos.append(sampler.timeline(index, score(features)))
    timelines = Timelines(data.classes, tuple(videos), data.is_multilabel, recipe.data.background)
    report = TimelineReport(
        run=str(run.root),
        split=split,
        n_videos=len(videos),
        n_timesteps=sum(len(video.scores) for video in videos),
        protocols={each.name: each.measure(timelines).to_dict() for each in chosen},
        left_out=list(data.left_out),
        is_weakly_supervised=is_weak,
        bank=None if bank is None else str(bank),
    )
    write_timelines(run.results / f"{report.stem}_timelines.npz", timelines, names[0])
    write_json(run.results / f"{report.stem}.json", report.to_dict())
    return report


def as_timeline(recipe: Recipe) -> Recipe:
    """Return the recipe of a classifier as one of timelines: the same videos, whole.

    Raises:
        ValueError: if the recipe reads video files.
    """
    advice = "Train its head on a bank: training.scheme=timeception_only."
    where = f"recipe {recipe.name}"
    checks.require(not recipe.is_end_to_end, where, "have a bank", recipe.training.scheme, advice)
    data = {"task": "timeline", "windows": None, "step_labels": "several", "background": None}
    sampling = {"n_timesteps": None, "stride_steps": 1}
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=data),
            "sampling": recipe.sampling.model_copy(update=sampling),
        }
    )


def video_scorer(model: SavedModel) -> VideoScorer:
    """Return what scores each timestep: a localizer, or the evidence of a classifier.

    A timestep has the score of the output step (or the mean of the windows) that it belongs to.

    Raises:
        ValueError: if the classifier cannot say when.
    """
    if isinstance(model, TimelineModel):
        return model.score_video
    predictor = Predictor(model)

    def score(features: NDArray[np.float32]) -> NDArray[np.float64]:
        edges = np.arange(len(features) + 1, dtype=np.float64)
        timeline = features_timeline(predictor, features, edges)
        advice = "Leave it out, or train with fewer layers."
        checks.require(timeline.error is None, "video", "be long enough", timeline.error, advice)
        steps = np.searchsorted(timeline.start_seconds, edges[:-1], side="right") - 1
        return timeline.scores[steps]

    return score


def write_timelines(path: Path, timelines: Timelines, protocol: str) -> None:
    """Write scores, truth and times; ``protocol`` is the one that runs are compared by."""
    head = {
        "classes": timelines.classes,
        "is_multilabel": timelines.is_multilabel,
        "background": timelines.background,
        "protocol": protocol,
        "videos": [
            {"id": v.video_id, "intervals": v.intervals, "seconds": v.duration_seconds}
            for v in timelines.videos
        ],
    }
    arrays: dict[str, NDArray[Any]] = {"head": np.array(json.dumps(head))}
    for index, video in enumerate(timelines.videos):
        arrays[f"scores_{index}"] = video.scores.astype(np.float32)
        arrays[f"targets_{index}"] = video.targets
        arrays[f"times_{index}"] = np.stack([video.start_seconds, video.end_seconds])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_timelines(path: str | Path) -> tuple[Timelines, str]:
    """Read what ``write_timelines`` wrote: the timelines, and the protocol.

    Raises:
        ValueError: if the file is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            head = json.loads(str(arrays["head"]))
            videos = tuple(
                VideoTimeline(
                    each["id"],
                    arrays[f"scores_{index}"].astype(np.float64),
                    arrays[f"targets_{index}"],
                    arrays[f"times_{index}"][0],
                    arrays[f"times_{index}"][1],
                    tuple((int(c), float(a), float(b)) for c, a, b in each["intervals"]),
                    float(each["seconds"]),
                )
                for index, each in enumerate(head["videos"])
            )
    except (OSError, KeyError, ValueError, TypeError) as error:
        must = "be timelines that `timeception test` wrote"
        raise ValueError(checks.problem(f"{path}", must, str(error), "Test again.")) from error
    classes, background = tuple(head["classes"]), head["background"]
    return Timelines(classes, videos, head["is_multilabel"], background), head["protocol"]


def timeline_scores(path: str | Path) -> TestScores:
    """Read timelines as test scores: one record per video, whose score is its timeline.

    The targets are digests of the truth: two tests on the same truth have equal ones.
    """
    timelines, _ = read_timelines(path)
    scores = np.empty(len(timelines.videos), dtype=object)
    scores[:] = timelines.videos
    truth = [sha256(v.targets.tobytes() + v.start_seconds.tobytes()) for v in timelines.videos]
    return TestScores(
        timelines.classes,
        tuple(video.video_id for video in timelines.videos),
        scores,
        np.array([digest.hexdigest() for digest in truth]),
    )


def timeline_metric(path: str | Path) -> tuple[str, Callable[[Any, Any], float]]:
    """Return the name and the function of the metric that timelines are compared by."""
    timelines, name = read_timelines(path)
    protocol = find_timeline_protocol(
        name or default_timeline_protocol(timelines.is_multilabel), timelines.is_multilabel
    )

    def metric(videos: Any, truth: Any) -> float:
        part = replace(timelines, videos=tuple(videos))
        return protocol.measure(part).values[protocol.main]

    return f"{protocol.name} {protocol.main}", metric
