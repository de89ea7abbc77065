"""Splits and windows: a video lies on one side, windows cover it, labels are what occurs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timeception.datasets import (
    Interval,
    TimedDataset,
    TimedVideo,
    VideoDataset,
    VideoRecord,
    make_windows,
    split_by_fraction,
    split_by_globs,
    step_edges_seconds,
)
from timeception.datasets.windows import window_starts


def single_label(counts):
    records = [
        VideoRecord(f"{name}/{i}", (name,)) for name, count in counts.items() for i in range(count)
    ]
    return VideoDataset("made", tuple(sorted(counts)), tuple(records), is_multilabel=False)


def test_globs():
    ids = ["S1_tea", "S2_tea", "S3_tea"]
    assert split_by_globs(ids, {"test": ["S1_*"], "validation": ["S[2]*"]}) == {
        "S1_tea": "test",
        "S2_tea": "validation",
        "S3_tea": "train",
    }
    assert split_by_globs(ids, {"test": ["S1_*"], "train": ["S2_*"]})["S3_tea"] == ""


@pytest.mark.parametrize(
    ("globs", "message"),
    [
        ({"test": ["s1_*"]}, "split test must match videos; got 's1_.*Ids look like 'S1_tea'"),
        ({"test": ["S1*"], "val": ["*tea"]}, "not take videos of split test; got 'S1_tea'"),
    ],
)
def test_bad_globs(globs, message):
    with pytest.raises(ValueError, match=message):
        split_by_globs(["S1_tea", "S2_tea"], globs)


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(2, 12), min_size=1),
    st.floats(0.05, 0.95),
    st.integers(0, 99),
)
def test_fraction_is_stratified_and_needs_the_seed_alone(counts, fraction, seed):
    data = single_label(counts)
    splits = split_by_fraction(data, fraction, seed)
    back = VideoDataset(data.name, data.classes, data.records[::-1], data.is_multilabel)
    assert split_by_fraction(back, fraction, seed) == splits
    assert set(splits) == set(data.video_ids)
    for name, count in counts.items():
        tested = sum(splits[f"{name}/{i}"] == "test" for i in range(count))
        assert 1 <= tested <= count - 1
        assert abs(tested - fraction * count) <= 1
    assigned = data.with_splits(splits)
    assert len(assigned.subset("train")) + len(assigned.subset("test")) == len(data)


def test_fraction_keeps_windows_of_a_video_together():
    windows = tuple(
        VideoRecord(f"v{i}", ("x",), steps=(start, start + 4)) for i in range(6) for start in (0, 4)
    )
    data = VideoDataset("made", ("x",), windows, is_multilabel=True)
    assigned = data.with_splits(split_by_fraction(data, 0.3, seed=1))
    train, test = assigned.subset("train"), assigned.subset("test")
    assert (len(train), len(test)) == (8, 4)
    assert not set(train.video_ids) & set(test.video_ids)


def test_fraction_needs_two_videos():
    with pytest.raises(ValueError, match="leave videos in both splits"):
        split_by_fraction(single_label({"a": 1, "b": 1}), 0.5)
    with pytest.raises(ValueError, match=r"fraction must lie in \(0, 1\); got 1"):
        split_by_fraction(single_label({"a": 2}), 1)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([VideoRecord("a", ("x",)), VideoRecord("a", ("y",))], r"records must be unique.*'a'"),
        ([VideoRecord("a", ("z",))], "labels of a must be one of 'x', 'y'; got 'z'"),
        ([VideoRecord("a", ())], "labels of a must be exactly one"),
        (
            [
                VideoRecord("a", ("x",), "train", steps=(0, 2)),
                VideoRecord("a", ("x",), "test", steps=(2, 4)),
            ],
            "split of a must be one: 'train'; got 'test'",
        ),
    ],
)
def test_data_sets_refuse(records, message):
    with pytest.raises(ValueError, match=message):
        VideoDataset("made", ("x", "y"), tuple(records), is_multilabel=False)


def test_data_sets_name_what_they_have():
    data = single_label({"a": 2, "b": 2}).with_splits({"a/0": "train"})
    with pytest.raises(ValueError, match="split must be one of '', 'train'; got 'trian'"):
        data.subset("trian")
    with pytest.raises(ValueError, match=r"name known videos; got \['c/0'\]"):
        data.with_splits({"c/0": "train"})
    with pytest.raises(ValueError, match="class must be one of 'a', 'b'; got 'c'"):
        data.without_classes(["c"])
    with pytest.raises(ValueError, match="classes must be unique"):
        TimedDataset("made", ("a", "a"), ())


def test_keys_of_windows_and_clips():
    assert VideoRecord("a", ()).key == "a"
    assert VideoRecord("a", (), steps=(0, 4), start_seconds=0.0, end_seconds=2.0).key == "a@0-4"
    assert VideoRecord("a", (), start_seconds=1.5).key == "a@1.5s-end"
    assert VideoRecord("a", (), end_seconds=2).key == "a@0s-2s"


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 60))
def test_windows_cover_the_video(n_steps, length, stride):
    starts = window_starts(n_steps, length, stride)
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts)[:-1] == stride).all()
    assert starts[-1] == max(0, n_steps - length)
    if stride <= length:
        covered = {s for start in starts for s in range(start, min(start + length, n_steps))}
        assert covered == set(range(n_steps))


def test_step_edges():
    assert step_edges_seconds([0, 16, 32], fps=8).tolist() == [0, 2, 4, 6]
    assert step_edges_seconds([0, 7, 16], fps=1).tolist() == [0, 7, 16, 24]  # a median of 8
    assert step_edges_seconds([0], fps=4, stride_frames=8).tolist() == [0, 2]
    with pytest.raises(ValueError, match="start_frames must increase"):
        step_edges_seconds([0, 0], fps=1)
    with pytest.raises(ValueError, match="fps must be positive"):
        step_edges_seconds([0, 1], fps=0)


def kitchen(*intervals, n_steps=8):
    video = TimedVideo("a", tuple(Interval(*i) for i in intervals), "train")
    data = TimedDataset("kitchen", ("cut", "pour"), (video,))
    return data, {"a": step_edges_seconds(np.arange(n_steps) * 2, fps=1)}  # steps of 2 s


def test_windows_are_labelled_by_what_occurs():
    data, edges = kitchen(("pour", 0, 1), ("pour", 7, 9), ("cut", 8, 16))
    windows = make_windows(data, edges, length_steps=4, stride_steps=4)
    assert [(w.steps, w.labels) for w in windows.records] == [
        ((0, 4), ("pour",)),
        ((4, 8), ("cut", "pour")),
    ]
    assert [(w.start_seconds, w.end_seconds, w.split) for w in windows.records] == [
        (0.0, 8.0, "train"),
        (8.0, 16.0, "train"),
    ]
    assert windows.is_multilabel
    # pour covers half a step + half a step of the first window, half a step of the second
    strict = make_windows(data, edges, 4, 4, min_overlap_steps=1.0)
    assert [w.labels for w in strict.records] == [("pour",), ("cut",)]


def test_overlapping_intervals_of_a_class_count_once():
    data, edges = kitchen(("pour", 0, 3), ("pour", 1, 4))
    assert make_windows(data, edges, 8, 8, 2.0).records[0].labels == ("pour",)
    assert make_windows(data, edges, 8, 8, 2.1).records[0].labels == ()


@given(
    st.lists(
        st.tuples(st.sampled_from(["cut", "pour"]), st.integers(0, 15), st.integers(1, 9)),
        max_size=6,
    ),
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 3),
)
def test_window_labels_by_brute_force(actions, length, stride, least):
    data, edges = kitchen(*((name, start, start + span) for name, start, span in actions))
    least = min(least, length)
    for window in make_windows(data, edges, length, stride, min_overlap_steps=least).records:
        start, stop = window.steps
        for name in data.classes:
            seconds = {t for label, s, span in actions if label == name for t in range(s, s + span)}
            held = len(seconds & set(range(start * 2, stop * 2))) / 2
            assert (name in window.labels) == (held >= least), (name, window)


def test_bad_windows():
    data, edges = kitchen(("pour", 0, 3))
    with pytest.raises(ValueError, match=r"be in the bank; got \['a'\]"):
        make_windows(data, {}, 4, 4)
    with pytest.raises(ValueError, match=r"lie in \[0, length_steps\]; got 5"):
        make_windows(data, edges, 4, 4, min_overlap_steps=5)
    with pytest.raises(ValueError, match="stride_steps must be a whole number"):
        make_windows(data, edges, 4, 0)
    late, edges = kitchen(("pour", 16, 17))
    with pytest.raises(ValueError, match=r"features end at 16.00 s; are the times in seconds\?"):
        make_windows(late, edges, 4, 4)
