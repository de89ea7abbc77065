"""Confusions, calibration and mistakes, on examples worked out by hand."""

from __future__ import annotations

import numpy as np

from timeception.evaluation.scores import TestScores
from timeception.report.measures import calibration, confusion, mistakes, precision_recall


def test_a_missed_class_is_divided_among_the_wrong_ones() -> None:
    scores = np.array([[0.1, 0.9, 0.8, 0.0], [0.9, 0.8, 0.1, 0.0]])
    targets = np.array([[1, 0, 0, 1], [1, 1, 0, 0]])
    expected = [[1, 0.5, 0.5, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0.5, 0.5, 0]]
    assert confusion(scores, targets).tolist() == expected
    assert (confusion(scores, targets).sum(1) == targets.sum(0)).all()


def test_single_labels_make_the_usual_matrix() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 4, 50), rng.random((50, 4))
    expected = np.zeros((4, 4))
    np.add.at(expected, (labels, scores.argmax(1)), 1)
    assert (confusion(scores, np.eye(4)[labels]) == expected).all()


def test_calibration_counts_all_scores_or_the_highest() -> None:
    scores = np.array([[0.95, 0.05], [0.65, 0.35]])
    targets = np.array([[1.0, 0.0], [0.0, 1.0]])
    several = calibration(scores, targets, is_multilabel=True)
    assert several.counts.tolist() == [1, 1, 1, 1]
    assert several.frequencies.tolist() == [0, 1, 0, 1]
    assert np.isclose(several.expected_error, (0.05 + 0.65 + 0.65 + 0.05) / 4)
    one = calibration(scores, targets, is_multilabel=False)
    assert one.mean_scores.tolist() == [0.65, 0.95] and one.frequencies.tolist() == [0, 1]
    assert np.isclose(one.expected_error, (0.65 + 0.05) / 2)


def test_the_score_1_is_in_the_last_bin() -> None:
    found = calibration(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]), is_multilabel=True)
    assert found.counts.tolist() == [1, 1] and found.expected_error == 0


def test_curves_keep_their_ends() -> None:
    rng = np.random.default_rng(0)
    recall, precision = precision_recall(rng.random(1000), rng.random(1000) < 0.5)
    assert len(recall) == 100 and recall[0] == 0 and recall[-1] == 1
    assert precision[0] == 1 and (np.diff(recall) >= 0).all()


def test_the_worst_mistakes_come_first() -> None:
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    found = TestScores(("a", "b"), ("x", "y", "z"), scores, np.array([[0.0, 1], [0, 1], [0, 1]]))
    one = mistakes(found, is_multilabel=False, count=5)
    assert [(m.record, m.label, m.score, m.is_missed) for m in one] == [
        ("x", "a", 0.9, False),
        ("y", "a", 0.6, False),
    ]
    several = mistakes(found, is_multilabel=True, count=1)
    assert [(m.record, m.label, m.is_missed) for m in several] == [
        ("x", "a", False),
        ("x", "b", True),
    ]
