"""Protocols of scores over time, against examples worked out by hand and against scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from timeception.metrics.intervals import interval_average_precision, proposals
from timeception.metrics.segments import edit_score, f1_score, segment_counts
from timeception.metrics.timeline_protocols import (
    TIMELINE_PROTOCOLS,
    charades_localize,
    find_timeline_protocol,
    interval_map,
    is_timeline_protocol,
    per_frame_map,
    register_timeline_protocol,
    segments,
)
from timeception.metrics.timelines import TimedClass, Timelines, VideoTimeline


def video(
    scores: Sequence[Sequence[float]],
    targets: Sequence[Sequence[int]],
    intervals: Sequence[TimedClass] = (),
    duration: float = 0.0,
    name: str = "a",
) -> VideoTimeline:
    """A video with one step per second."""
    starts = np.arange(len(scores), dtype=np.float64)
    values = np.array(scores, dtype=np.float64)
    truth = np.array(targets, dtype=bool)
    return VideoTimeline(name, values, truth, starts, starts + 1, tuple(intervals), duration)


def one_hot(labels: Sequence[int], n_classes: int = 3) -> list[list[int]]:
    return np.eye(n_classes, dtype=int)[list(labels)].tolist()


def test_segments_by_hand() -> None:
    # a: true 1 1 2 2 2, predicted 1 2 2 2 2: both segments are right at 0.5 (IoU 1/2 and 3/4)
    # b: true 0 1 1 1 1, predicted 1 1 0 2 1: IoU of the first 1 is 1/5, of the second 1/4
    a = video(one_hot([1, 2, 2, 2, 2]), one_hot([1, 1, 2, 2, 2]))
    b = video(one_hot([1, 1, 0, 2, 1]), one_hot([0, 1, 1, 1, 1]), name="b")
    found = segments(Timelines(("none", "cut", "pour"), (a, b), False, background="none"))
    # at 10 %: hits 2 + 1; found 2 + 3, true 2 + 1: F1 = 6 / 8; at 25 %: 1/4 suffices: the same
    # at 50 %: hits 2; F1 = 4 / 8. Edit: a 1; b 1 2 1 against 1: 1 - 2/3
    assert found.values == pytest.approx(
        {"f1_10": 6 / 8, "f1_25": 6 / 8, "f1_50": 4 / 8, "edit": 2 / 3, "frame_accuracy": 6 / 10}
    )
    assert found.per_class == pytest.approx({"none": 0.0, "cut": 3 / 6, "pour": 1.0})
    whole = segments(Timelines(("none", "cut", "pour"), (a, b), False))
    assert whole.values["edit"] == pytest.approx((1 + 2 / 4) / 2)  # 1 0 2 1 and 0 1


def test_timelines_without_segments() -> None:
    empty = np.zeros(4, dtype=np.int64)
    assert edit_score(empty, empty, 0) == 1.0
    assert f1_score([(empty, empty)], 0.5, 0) == 1.0
    assert segment_counts(empty, [1, 1, 0, 0], 0.5, 0) == (0, 0, 1)
    assert segment_counts([1, 1, 0, 0], empty, 0.5, 0) == (0, 1, 0)


def test_a_segment_counts_once_and_the_threshold_is_included() -> None:
    assert segment_counts([1, 1, 0, 1], [1, 1, 1, 1], 0.5, 0) == (1, 1, 0)
    assert segment_counts([1, 1, 0, 0], [1, 1, 1, 1], 0.51, 0) == (0, 1, 1)


def test_per_frame_map_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores, targets = rng.random((40, 3)), rng.random((40, 3)) < 0.3
    parts = [video(scores[:15], targets[:15]), video(scores[15:], targets[15:], name="b")]
    found = per_frame_map(Timelines(("x", "y", "z"), tuple(parts), True))
    expected = [average_precision_score(targets[:, c], scores[:, c]) for c in range(3)]
    assert list(found.per_class.values()) == pytest.approx(expected)
    assert found.values["mean_average_precision"] == pytest.approx(np.mean(expected))
    assert found.values["chance"] == pytest.approx(targets.mean())
    assert found.n_items == 40
    with_background = per_frame_map(Timelines(("x", "y", "z"), tuple(parts), True, "x"))
    assert list(with_background.per_class) == ["y", "z"]


def test_charades_by_hand() -> None:
    # 50 s, so timepoints 0, 2, ..., 48; the action from 10 to 14 holds at 10, 12 and 14, ends
    # included. Steps of 25 s: the first, with score 0.2, has timepoints 0 to 24 (13 of them), the
    # second, with 0.9, has 26 to 48 (12). Ranks 12 + (6, 7, 8) in input order are the positives.
    times = np.array([0.0, 25.0])
    one = VideoTimeline(
        "a",
        np.array([[0.2], [0.9]]),
        np.zeros((2, 1), dtype=bool),
        times,
        times + 25,
        ((0, 10.0, 14.0),),
        50.0,
    )
    expected = np.mean([1 / 18, 2 / 19, 3 / 20])
    found = charades_localize(Timelines(("cut",), (one,), True))
    assert found.values["mean_average_precision"] == pytest.approx(expected)
    assert found.n_items == 25
    # a video without scores ranks below; its one positive timepoint, 0, comes after the 25
    empty = np.zeros((0, 1))
    none = VideoTimeline(
        "b", empty, empty.astype(bool), empty[:, 0], empty[:, 0], ((0, 0.0, 0.5),), 50.0
    )
    found = charades_localize(Timelines(("cut",), (one, none), True))
    expected = np.mean([1 / 18, 2 / 19, 3 / 20, 4 / 26])
    assert found.values["mean_average_precision"] == pytest.approx(expected)


def test_intervals_by_hand() -> None:
    # truths [0, 4) and [6, 8); found [0, 3) with 0.9 (IoU 3/4) and [6, 10) with 0.6 (IoU 1/2)
    scores = [[0.9]] * 3 + [[0.0]] * 3 + [[0.6]] * 4
    one = video(scores, [[0]] * 10, [(0, 0.0, 4.0), (0, 6.0, 8.0)], 10)
    found = interval_map(Timelines(("cut",), (one,), True))
    assert found.values == pytest.approx(
        {
            **dict.fromkeys(("map_0.3", "map_0.4", "map_0.5"), 1.0),
            **dict.fromkeys(("map_0.6", "map_0.7"), 0.5),
            "mean_average_precision": 0.8,
        }
    )
    assert found.n_items == 2


def test_each_true_interval_is_found_once_and_precision_is_interpolated() -> None:
    wanted = [(0, 0.0, 4.0), (0, 10.0, 14.0)]
    found = [(0, 0.0, 4.0, 0.9), (0, 0.0, 4.0, 0.8), (0, 10.0, 14.0, 0.7)]
    assert interval_average_precision(found, wanted, 0.5) == pytest.approx((1 + 2 / 3) / 2)
    found = [(0, 20.0, 24.0, 0.9), (0, 0.0, 4.0, 0.8), (0, 10.0, 14.0, 0.7)]
    assert interval_average_precision(found, wanted, 0.5) == pytest.approx(2 / 3)  # not 7/12
    assert interval_average_precision([(1, 0.0, 4.0, 0.9)], wanted, 0.5) == 0.0


def test_overlapping_proposals_are_dropped() -> None:
    # at 0.1 to 0.4: [0, 4); at 0.5: [1, 4); at 0.6 to 0.9: [1, 3), which overlaps [1, 4) by 2/3
    one = video([[0.4], [0.9], [0.9], [0.5]], [[0]] * 4)
    found = proposals(Timelines(("cut",), (one,), True))
    assert found == [[(0, 1.0, 3.0, 0.9), (0, 0.0, 4.0, pytest.approx(0.675))]]


def test_one_label_per_step_proposes_its_segments() -> None:
    one = video([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]], one_hot([0, 1, 1], 2))
    found = proposals(Timelines(("cut", "pour"), (one,), False))
    assert found == [[(0, 0.0, 1.0, 0.8)], [(0, 1.0, 3.0, pytest.approx(0.65))]]


def test_protocols_by_name() -> None:
    assert is_timeline_protocol("segments") and not is_timeline_protocol("accuracy")
    assert find_timeline_protocol("segments", False).main == "f1_50"
    with pytest.raises(ValueError, match=r"data\.step_labels=several"):
        find_timeline_protocol("segments", True)
    with pytest.raises(ValueError, match="protocol must be one of"):
        is_timeline_protocol("segmentz")
    with pytest.raises(ValueError, match="name must be new"):
        register_timeline_protocol(TIMELINE_PROTOCOLS["segments"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"targets": [[1, 0]]}, r"targets of a must have shape \(2, 2\)"),
        ({"scores": [[np.nan, 0], [0, 1]]}, "scores of a must be numbers; got '1 NaN'"),
    ],
)
def test_bad_videos(words: dict[str, object], message: str) -> None:
    given = {"scores": [[1, 0], [0, 1]], "targets": [[1, 0], [0, 1]], **words}
    with pytest.raises(ValueError, match=message):
        video(**given)  # type: ignore[arg-type]


def test_bad_timelines() -> None:
    one = video([[1, 0], [0, 1]], [[1, 0], [1, 1]])
    with pytest.raises(ValueError, match=r"have one class per step.*per_frame_map"):
        segments(Timelines(("x", "y"), (one,), False))
    with pytest.raises(ValueError, match="background must be one of"):
        Timelines(("x", "y"), (one,), False, background="z")
    with pytest.raises(ValueError, match="scores must have 1 columns"):
        Timelines(("x",), (one,), False)
