"""Intervals and paired differences, against worked examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from timeception.evaluation.scores import TestScores, read_scores
from timeception.evaluation.uncertainty import (
    confidence_interval,
    mean_ap,
    metric_of,
    paired_difference,
    resample,
)
from timeception.metrics import accuracy


def scores_of(correct: list[bool], videos: list[str] | None = None) -> TestScores:
    """Two classes; every record is of the first, and right where ``correct`` says so."""
    rows = np.array([[1.0, 0.0] if right else [0.0, 1.0] for right in correct])
    names = videos or [f"v{index}" for index in range(len(correct))]
    targets = np.tile([1.0, 0.0], (len(correct), 1))
    return TestScores(("a", "b"), tuple(names), rows, targets)


def test_the_interval_of_accuracy_is_near_the_binomial_one() -> None:
    found = confidence_interval(resample(accuracy, [scores_of([True] * 64 + [False] * 36)]))
    assert found.value == 0.64
    half = 1.96 * np.sqrt(0.64 * 0.36 / 100)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_where_all_are_right_the_interval_is_the_exact_one() -> None:
    found = confidence_interval(resample(accuracy, [scores_of([True] * 12)]))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 12))
    assert str(found) == "1.000 [0.735, 1.000]"


def test_windows_of_one_video_are_resampled_together() -> None:
    """Ten windows of each of ten videos say no more than ten videos."""
    videos = [f"v{index // 10}@{index % 10}-9" for index in range(100)]
    correct = [index // 10 < 6 for index in range(100)]
    windows = confidence_interval(resample(accuracy, [scores_of(correct, videos)]))
    whole = confidence_interval(resample(accuracy, [scores_of([True] * 6 + [False] * 4)]))
    assert windows.high - windows.low == pytest.approx(whole.high - whole.low, rel=0.05)


def test_the_mean_over_folds() -> None:
    folds = [scores_of([True] * 8 + [False] * 2), scores_of([True] * 4 + [False] * 6)]
    found = confidence_interval(resample(accuracy, folds))
    assert found.value == pytest.approx(0.6)
    errors = [confidence_interval(resample(accuracy, [fold])) for fold in folds]
    half = np.sqrt(sum(((e.high - e.low) / 2) ** 2 for e in errors)) / 2
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)


def test_paired_differences_are_narrower_than_unpaired_ones() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.6
    better = right.copy()
    better[np.flatnonzero(~right)[:10]] = True  # the same mistakes, ten fewer
    first, second = scores_of(better.tolist()), scores_of(right.tolist())
    found = paired_difference(resample(accuracy, [first]), resample(accuracy, [second]))
    assert found.interval.value == pytest.approx(0.05)
    assert found.interval.low > 0 and found.p_value < 0.01
    same = paired_difference(resample(accuracy, [second]), resample(accuracy, [second]))
    assert (same.interval.value, same.p_value) == (0.0, 1.0)


def test_other_records_are_refused() -> None:
    one, more = scores_of([True, False]), scores_of([True, False, True])
    with pytest.raises(ValueError, match=r"test records of both must be the same; got \['v2'\]"):
        paired_difference(resample(accuracy, [one]), resample(accuracy, [more]))
    flipped = TestScores(one.classes, one.records, one.scores, one.targets[:, ::-1])
    with pytest.raises(ValueError, match="order and labels"):
        paired_difference(resample(accuracy, [one]), resample(accuracy, [flipped]))


def test_the_metric_of_a_task() -> None:
    assert metric_of(True) == ("mAP", mean_ap) and metric_of(False) == ("accuracy", accuracy)
    assert np.isnan(mean_ap(np.ones((2, 2)), np.zeros((2, 2))))


def test_one_video_cannot_be_resampled() -> None:
    found = resample(accuracy, [scores_of([True, False], ["a@0-1", "a@1-2"])], n_resamples=5)
    assert found.resamples[0].tolist() == [0.5] * 5
    assert confidence_interval(found).low == confidence_interval(found).high == 0.5


def test_tables_of_scores_are_read(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("record,labels,b,a\nx@0-4,a;b,0.25,0.5\ny,,0.125,1\n")
    found = read_scores(file)
    assert found.classes == ("b", "a") and found.videos == ("x", "y")
    np.testing.assert_array_equal(found.scores, [[0.25, 0.5], [0.125, 1]])
    np.testing.assert_array_equal(found.targets, [[1, 1], [0, 0]])
    file.write_text("video,labels,a\n")
    with pytest.raises(ValueError, match="begin 'record,labels'"):
        read_scores(file)
