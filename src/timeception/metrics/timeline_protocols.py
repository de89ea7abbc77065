"""Protocols of scores over time, by name.

A protocol of another package registers with ``register_timeline_protocol``, from the entry-point
group ``timeception.protocols``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from timeception import checks, plugins
from timeception.metrics.intervals import interval_average_precision, proposals
from timeception.metrics.protocols import ENTRY_POINT_GROUP, PROTOCOLS, ProtocolResult
from timeception.metrics.ranking import mean_average_precision
from timeception.metrics.segments import edit_score, f1_score
from timeception.metrics.timelines import Timelines

CHARADES_TIMEPOINTS = 25
SEGMENT_OVERLAPS = (0.10, 0.25, 0.50)
INTERVAL_OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True)
class TimelineProtocol:
    """A named set of metrics of scores over time.

    Args:
        name: unique name, reported with the numbers.
        description: one sentence.
        measure: computes the metrics.
        main: the metric that epochs are chosen and runs are compared by.
        is_multilabel: the steps that it is for: with any number of classes, with exactly one, or
            both (``None``).
    """

    name: str
    description: str
    measure: Callable[[Timelines], ProtocolResult]
    main: str
    is_multilabel: bool | None = None


#: Every protocol by name. Use ``find_timeline_protocol``, which also finds those of plug-ins.
TIMELINE_PROTOCOLS: dict[str, TimelineProtocol] = {}


def register_timeline_protocol(protocol: TimelineProtocol) -> None:
    """Make a protocol available to recipes and to ``timeception test``.

    Raises:
        ValueError: if another protocol has its name.
    """
    known = {*TIMELINE_PROTOCOLS, *PROTOCOLS}
    checks.require(protocol.name not in known, "name", "be new", protocol.name)
    TIMELINE_PROTOCOLS[protocol.name] = protocol


def is_timeline_protocol(name: str) -> bool:
    """Whether a name is that of a protocol of scores over time.

    Raises:
        ValueError: if no protocol has it; the error lists the names.
    """
    if name not in TIMELINE_PROTOCOLS and name not in PROTOCOLS:
        plugins.load(ENTRY_POINT_GROUP)
        checks.one_of("protocol", name, (*PROTOCOLS, *TIMELINE_PROTOCOLS))
    return name in TIMELINE_PROTOCOLS


def find_timeline_protocol(name: str, is_multilabel: bool) -> TimelineProtocol:
    """Return the protocol of a name for steps with one or with any number of classes.

    Raises:
        ValueError: if there is none, or it is for other data.
    """
    if name not in TIMELINE_PROTOCOLS:
        plugins.load(ENTRY_POINT_GROUP)
    fitting = [
        known.name
        for known in TIMELINE_PROTOCOLS.values()
        if known.is_multilabel in (None, is_multilabel)
    ]
    labels = "several" if is_multilabel else "one"
    advice = f"These are for data.task=timeline with data.step_labels={labels}."
    return TIMELINE_PROTOCOLS[checks.one_of("protocol", name, fitting, advice)]


def default_timeline_protocol(is_multilabel: bool) -> str:
    """Return the protocol of data that name none: per_frame_map, or segments."""
    return "per_frame_map" if is_multilabel else "segments"


def per_frame_map(timelines: Timelines) -> ProtocolResult:
    """Mean average precision over all steps of all videos; ``chance`` is the mean prevalence.

    The background, if there is one, is not a class.
    """
    scores, targets = timelines.stacked()
    kept = [c for c in range(len(timelines.classes)) if c != timelines.background_index]
    names = [timelines.classes[c] for c in kept]
    result = mean_average_precision(scores[:, kept], targets[:, kept], names)
    prevalence = targets[:, kept].mean(axis=0)
    return ProtocolResult(
        "per_frame_map",
        n_items=len(scores),
        n_left_out=0,
        values={
            "mean_average_precision": result.mean,
            "chance": float(prevalence[prevalence > 0].mean()),
        },
        per_class=result.per_class,
        classes_without_positives=result.classes_without_positives,
    )


def charades_localize(timelines: Timelines) -> ProtocolResult:
    """Charades localisation: mean average precision at 25 timepoints of each video.

    The timepoints are 0, T/25, ..., 24T/25 seconds. An action holds at t if start <= t <= end, both
    included. A timepoint has the score of the step that contains it; videos without scores rank
    last. Equal scores rank in input order.

    Source: ``Charades_v1_localize.m`` of the Charades evaluation code, and its README.
    """
    scores, targets = [], []
    shape = (CHARADES_TIMEPOINTS, len(timelines.classes))
    for video in timelines.videos:
        where = f"duration of {video.video_id}"
        checks.require(video.duration_seconds > 0, where, "be positive", video.duration_seconds)
        times = np.arange(CHARADES_TIMEPOINTS) * video.duration_seconds / CHARADES_TIMEPOINTS
        holds = np.zeros(shape, dtype=bool)
        for label, start, end in video.intervals:
            holds[:, label] |= (start <= times) & (times <= end)
        has_scores = len(video.scores) > 0
        lowest = np.full(shape, -np.inf)
        scores.append(video.scores[video.step_at(times)] if has_scores else lowest)
        targets.append(holds)
    result = mean_average_precision(
        np.concatenate(scores), np.concatenate(targets), timelines.classes, "in_order"
    )
    return ProtocolResult(
        "charades_localize",
        n_items=len(scores) * CHARADES_TIMEPOINTS,
        n_left_out=0,
        values={"mean_average_precision": result.mean},
        per_class=result.per_class,
        classes_without_positives=result.classes_without_positives,
    )


def segments(timelines: Timelines) -> ProtocolResult:
    """Frame accuracy, segmental edit score, and F1 at overlaps of 10, 25 and 50 %.

    Accuracy counts every step; the background is left out of edit score and F1.
    """
    pairs, background = timelines.labels(), timelines.background_index
    predicted, true = (np.concatenate(column) for column in zip(*pairs, strict=True))
    edits = [edit_score(one, other, background) for one, other in pairs]
    found = np.unique(true).tolist()
    names = timelines.classes
    values = {
        f"f1_{overlap * 100:.0f}": f1_score(pairs, overlap, background)
        for overlap in SEGMENT_OVERLAPS
    }
    return ProtocolResult(
        "segments",
        n_items=len(true),
        n_left_out=0,
        values={
            **values,
            "edit": float(np.mean(edits)),
            "frame_accuracy": float((predicted == true).mean()),
        },
        per_class={names[c]: float((predicted[true == c] == c).mean()) for c in found},
        classes_without_positives=tuple(n for c, n in enumerate(names) if c not in found),
    )


def interval_map(timelines: Timelines) -> ProtocolResult:
    """Mean average precision of intervals at temporal IoU 0.3 to 0.7, and their mean.

    The intervals of a timeline are those of ``proposals``. The average precision is that of
    ActivityNet's evaluation (interpolated); a class without annotated intervals is left out.
    """
    background = timelines.background_index
    kept = [c for c in range(len(timelines.classes)) if c != background]
    wanted = {
        c: [
            (v, start, end)
            for v, video in enumerate(timelines.videos)
            for label, start, end in video.intervals
            if label == c and end > start
        ]
        for c in kept
    }
    names, measured = timelines.classes, [c for c in kept if wanted[c]]
    must = "have annotated intervals of at least one class"
    checks.require(bool(measured), "videos", must, "none")
    found = proposals(timelines)
    table = {
        overlap: {
            names[c]: interval_average_precision(found[c], wanted[c], overlap) for c in measured
        }
        for overlap in INTERVAL_OVERLAPS
    }
    means = {
        f"map_{overlap:.1f}": float(np.mean(list(by.values()))) for overlap, by in table.items()
    }
    return ProtocolResult(
        "interval_map",
        n_items=sum(map(len, wanted.values())),
        n_left_out=0,
        values={"mean_average_precision": float(np.mean(list(means.values()))), **means},
        per_class={n: float(np.mean([by[n] for by in table.values()])) for n in table[0.5]},
        classes_without_positives=tuple(names[c] for c in kept if not wanted[c]),
    )


for _protocol in (
    TimelineProtocol(
        "per_frame_map",
        "mAP over every step of every video; chance is the mean prevalence",
        per_frame_map,
        "mean_average_precision",
    ),
    TimelineProtocol(
        "charades_localize",
        "Charades mAP at 25 timepoints of each video",
        charades_localize,
        "mean_average_precision",
        is_multilabel=True,
    ),
    TimelineProtocol(
        "segments",
        "frame accuracy, edit score and F1 at 10, 25 and 50 % overlap, one class per step",
        segments,
        "f1_50",
        is_multilabel=False,
    ),
    TimelineProtocol(
        "interval_map",
        "mAP of intervals at temporal IoU 0.3 to 0.7",
        interval_map,
        "mean_average_precision",
    ),
):
    register_timeline_protocol(_protocol)
