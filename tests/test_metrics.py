"""Metrics against worked examples, scikit-learn and torchmetrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, confusion_matrix, top_k_accuracy_score

from timeception import metrics

SCORES = st.sampled_from([-np.inf, -1.5, 0.0, 0.25, 0.5, 0.5000001, 1.0, 7.0])  # with ties


@st.composite
def multilabel(draw):
    shape = (draw(st.integers(1, 20)), draw(st.integers(1, 5)))
    return draw(arrays(np.float64, shape, elements=SCORES)), draw(
        arrays(np.int64, shape, elements=st.integers(0, 1))
    )


@st.composite
def single_label(draw):
    n_items, n_classes = draw(st.integers(1, 20)), draw(st.integers(2, 6))
    rows = [draw(st.permutations(range(n_classes))) for _ in range(n_items)]
    return np.array(rows, float), draw(
        arrays(np.int64, n_items, elements=st.integers(0, n_classes - 1))
    )


@pytest.mark.parametrize(
    ("scores", "targets", "ties", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], "together", (1 / 1 + 2 / 3) / 2),
        ([0.9, 0.8, 0.7, 0.6], [0, 0, 0, 1], "together", 1 / 4),
        ([3, 2, 1], [1, 1, 1], "together", 1.0),
        ([5, 5, 5, 5], [1, 0, 0, 1], "together", 2 / 4),  # one threshold: precision 2 of 4
        ([5, 5, 5, 5], [1, 0, 0, 1], "in_order", (1 / 1 + 2 / 4) / 2),
        ([-np.inf, 1, -np.inf], [0, 1, 1], "in_order", (1 / 1 + 2 / 3) / 2),
    ],
)
def test_average_precision_by_hand(scores, targets, ties, expected):
    assert metrics.average_precision(scores, targets, ties) == pytest.approx(expected, abs=1e-15)


@given(multilabel())
def test_average_precision_is_scikit_learns(case):
    scores, targets = case
    finite = np.where(np.isinf(scores), -99.0, scores)  # scikit-learn takes no infinities
    for column in np.flatnonzero(targets.any(axis=0)):
        ours = metrics.average_precision(scores[:, column], targets[:, column])
        theirs = average_precision_score(targets[:, column], finite[:, column])
        assert ours == pytest.approx(theirs, abs=1e-12)


@given(multilabel())
def test_mean_is_over_the_classes_with_positives(case):
    scores, targets = case
    names = [f"class {i}" for i in range(targets.shape[1])]
    if not targets.any():
        with pytest.raises(ValueError, match="targets must contain at least one positive"):
            metrics.mean_average_precision(scores, targets, names)
        return
    result = metrics.mean_average_precision(scores, targets, names)
    held = [name for name, some in zip(names, targets.any(axis=0), strict=True) if some]
    assert list(result.per_class) == held
    assert list(result.classes_without_positives) == [n for n in names if n not in held]
    assert result.mean == pytest.approx(np.mean(list(result.per_class.values())))
    assert 0 < result.mean <= 1
    assert result.to_dict()["n_items"] == len(scores)


def test_mean_average_precision_is_torchmetrics():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(0)
    scores = rng.random((200, 7)).astype(np.float32).round(2)  # ties
    targets = (rng.random((200, 7)) < 0.2).astype(np.int64)
    theirs = functional.multilabel_average_precision(
        torch.from_numpy(scores), torch.from_numpy(targets), num_labels=7, average=None
    )
    ours = metrics.mean_average_precision(scores, targets)
    np.testing.assert_allclose(list(ours.per_class.values()), theirs.numpy(), atol=1e-6)


@given(multilabel(), st.randoms(use_true_random=False))
def test_order_of_items_does_not_matter(case, random):
    scores, targets = case
    if not targets[:, 0].any():
        return
    order = list(range(len(scores)))
    random.shuffle(order)
    assert metrics.average_precision(scores[order, 0], targets[order, 0]) == pytest.approx(
        metrics.average_precision(scores[:, 0], targets[:, 0])
    )


@given(single_label())
def test_accuracy_and_confusion_are_scikit_learns(case):
    scores, true = case
    labels = range(scores.shape[1])
    for k in range(1, scores.shape[1]):
        theirs = (
            top_k_accuracy_score(true, scores, k=k, labels=labels)
            if scores.shape[1] > 2
            else (scores.argmax(1) == true).mean()
        )
        assert metrics.top_k_accuracy(scores, true, k) == pytest.approx(theirs)
    assert metrics.top_k_accuracy(scores, true, scores.shape[1]) == 1
    one_hot = np.eye(scores.shape[1])[true]
    assert metrics.accuracy(scores, one_hot) == metrics.accuracy(scores, true)
    counts = metrics.confusion_matrix(scores, true)
    np.testing.assert_array_equal(counts, confusion_matrix(true, scores.argmax(1), labels=labels))
    assert counts.trace() / counts.sum() == pytest.approx(metrics.accuracy(scores, true))


def test_equal_scores_are_never_right_by_luck():
    assert metrics.accuracy(np.zeros((4, 3)), [0, 1, 2, 0]) == 0
    assert metrics.top_k_accuracy(np.zeros((4, 3)), [0, 1, 2, 0], k=3) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.average_precision([1.0], [0]),
            "targets must contain a positive; got 'none'",
        ),
        (lambda: metrics.average_precision([np.nan, 1], [0, 1]), "1 NaN of 2"),
        (lambda: metrics.average_precision([1, 2], [0, 2]), r"be 0 or 1; got \[0, 2\]"),
        (lambda: metrics.average_precision([[1.0]], [[1]]), r"scores must have shape \(N,\)"),
        (lambda: metrics.average_precision([1, 2], [1, 0], "last"), "ties must be one of"),
        (lambda: metrics.mean_average_precision([[1, 2]], [[1]]), "shape of the scores"),
        (lambda: metrics.mean_average_precision(np.zeros((0, 2)), np.zeros((0, 2))), "not empty"),
        (
            lambda: metrics.mean_average_precision([[1, 2]], [[1, 0]], ["a", "a"]),
            "class_names must be 2 unique names",
        ),
        (lambda: metrics.accuracy([[1, 2]], [2]), "class indices below 2"),
        (lambda: metrics.accuracy([[1, 2]], [0.0]), "class indices below 2"),
        (lambda: metrics.accuracy([[1, 2]], [[1, 1]]), "exactly one class"),
        (lambda: metrics.accuracy([[1, 2]], [0, 1]), r"have shape \(1,\)"),
        (lambda: metrics.top_k_accuracy([[1, 2]], [0], k=3), "at most the 2 classes"),
        (lambda: metrics.top_k_accuracy([[1, 2]], [0], k=0), "at least 1"),
    ],
)
def test_bad_input_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def official_charades(scores, targets):
    """The evaluation script's own words, loop by loop; labelled videos first to last."""
    pairs = zip(scores, targets, strict=True)
    scores = [row if labels.any() else [-np.inf] * len(row) for row, labels in pairs]
    precisions = []
    for column in range(targets.shape[1]):
        ranked = sorted(range(len(scores)), key=lambda item: -scores[item][column])  # stable
        hits, total = 0, 0.0
        for rank, item in enumerate(ranked, start=1):
            if targets[item, column]:
                hits += 1
                total += hits / rank
        if hits:
            precisions.append(total / hits)
    return np.mean(precisions)


@given(multilabel())
def test_charades_is_the_official_script(case):
    scores, targets = case
    if not targets.any():
        return
    result = metrics.measure("charades_official", scores, targets)
    mean = result.values["mean_average_precision"]
    assert mean == pytest.approx(official_charades(scores, targets), abs=1e-12)
    assert (result.n_items, result.n_left_out) == (len(scores), 0)


@given(multilabel())
def test_minus_infinity_and_skipping_agree_where_scores_are_finite(case):
    scores, targets = case
    scores = np.where(np.isinf(scores), -9.0, scores)
    if not targets.any():
        for name in ("charades_official", "charades_skip_unlabelled"):
            with pytest.raises(ValueError, match="contain at least one positive"):
                metrics.measure(name, scores, targets)
        return
    official = metrics.measure("charades_official", scores, targets)
    skipping = metrics.measure("charades_skip_unlabelled", scores, targets)
    assert skipping.per_class == pytest.approx(official.per_class)
    assert skipping.values == pytest.approx(official.values)
    labelled = int(targets.any(axis=1).sum())
    assert (skipping.n_items, skipping.n_left_out) == (labelled, len(scores) - labelled)


def test_protocols_differ_where_unlabelled_items_score_high():
    scores, targets = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], [[0, 0], [1, 0], [1, 1]]
    plain = metrics.measure("map", scores, targets, ["a", "b"])
    assert plain.per_class == pytest.approx({"a": (1 / 2 + 2 / 3) / 2, "b": 1.0})
    weighted = plain.values["weighted_average_precision"]
    assert weighted == pytest.approx((2 * plain.per_class["a"] + 1 * plain.per_class["b"]) / 3)
    official = metrics.measure("charades_official", scores, targets, ["a", "b"])
    assert official.per_class == {"a": 1.0, "b": 1.0}


def test_single_label_protocols_by_hand():
    scores = np.array([[3, 2, 1, 0, 0, 0], [3, 2, 1, 0, 0, 0], [0, 0, 5, 4, 3, 2]], float)
    result = metrics.measure("kinetics", scores, [0, 2, 3], [*"abcdef"])
    assert result.values == pytest.approx(
        {"top_1_accuracy": 1 / 3, "top_5_accuracy": 1.0, "mean_class_accuracy": 1 / 3}
    )
    assert result.per_class == {"a": 1.0, "c": 0.0, "d": 0.0}
    assert result.classes_without_positives == ("b", "e", "f")
    few = metrics.measure("kinetics", scores[:, :3], [0, 2, 2])
    assert few.values["top_5_accuracy"] == 1.0  # of three classes
    assert few.to_dict()["top_1_accuracy"] == pytest.approx(2 / 3)


def test_unknown_protocols_are_named():
    with pytest.raises(ValueError, match=r"protocol must be one of .*Did you mean 'charades_offic"):
        metrics.measure("charades_oficial", [[1.0]], [[1]])
    with pytest.raises(ValueError, match="exactly one class"):
        metrics.measure("breakfast_activities", [[1.0, 2.0]], [[1, 1]])
    for name, protocol in metrics.PROTOCOLS.items():
        assert protocol.name == name
        result = protocol.measure([[2.0, 1.0], [1.0, 2.0]], [[1, 0], [0, 1]], None)
        assert set(result.per_class.values()) == {1.0}
        assert result.protocol == name
