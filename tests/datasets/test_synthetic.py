"""Synthetic activities: plans that pooling cannot tell apart, files that a seed fixes."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timeception.datasets import from_csv, from_folder, read_timed
from timeception.datasets.synthetic import (
    ACTIVITIES,
    ONE_ACTIONS,
    Activity,
    make_plan,
    make_synthetic_activities,
)
from timeception.datasets.synthetic.generate import render
from timeception.datasets.synthetic.plans import FILLERS, REST, Bout, Plan

FPS = 8
SMALL = {"fps": 4, "side": 64}


def plan_of(activity, seed):
    return make_plan(activity, FPS, np.random.default_rng(seed))


def frames_by_action(plan):
    return {
        name: sum(b.stop - b.start for b in plan.bouts if b.action == name) for name in ONE_ACTIONS
    }


@given(st.sampled_from(sorted(ACTIVITIES)), st.integers(0, 10**6))
def test_plans_keep_to_their_activity(activity, seed):
    plan, parts = plan_of(activity, seed), ACTIVITIES[activity]
    bouts = plan.bouts
    assert bouts[0].start > 0 and bouts[-1].stop < plan.n_frames  # a pause first and last
    assert all(bout.stop > bout.start for bout in bouts)
    gaps = [later.start - bout.stop for bout, later in pairwise(bouts)]
    core = [bout.action for bout in bouts if bout.action not in FILLERS]
    if parts.kind == "order":
        assert core == [parts.first, parts.second] * 3
        assert len(bouts) == 7
        for bout, later, gap in zip(bouts, bouts[1:], gaps, strict=False):
            is_round = (bout.action, later.action) == (parts.first, parts.second)
            assert (gap == 0) == is_round  # nothing within a round, a pause everywhere else
    else:
        short = [parts.second] * 4
        assert core in ([parts.first, *short], [*short, parts.first])
        assert len(bouts) == 5
        assert min(gaps) > 0
        assert min(bout.stop - bout.start for bout in bouts) >= round(0.5 * FPS)
    assert 5 < plan.n_frames / FPS < 12
    for bout in bouts:
        assert plan.action_at(bout.start) == plan.action_at(bout.stop - 1) == bout.action
    assert plan.action_at(0) == plan.action_at(plan.n_frames - 1) == REST


@pytest.mark.parametrize("activity", sorted(ACTIVITIES))
def test_each_activity_has_a_twin_with_the_same_times(activity):
    parts = ACTIVITIES[activity]
    twins = [
        name
        for name, other in ACTIVITIES.items()
        if (other.kind, other.first, other.second) == (parts.kind, parts.second, parts.first)
    ]
    assert len(twins) == 1
    seeds = range(400)
    ours, theirs = (
        np.array([list(frames_by_action(plan_of(name, seed)).values()) for seed in seeds])
        for name in (activity, twins[0])
    )
    errors = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / len(seeds))
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) <= 4 * errors).all()
    rests = [
        np.array([plan_of(name, seed).n_frames for seed in seeds]) - times.sum(axis=1)
        for name, times in ((activity, ours), (twins[0], theirs))
    ]
    assert abs(rests[0].mean() - rests[1].mean()) < 1  # frames of rest, of about 19


def test_one_actions_look_different():
    frames = {}
    for name in (*ONE_ACTIONS, REST):
        plan = Plan((Bout(name, 0, 1),), n_frames=1)
        (frame,) = render(plan, FPS, 64, np.random.default_rng(0))
        frames[name] = frame.astype(int)
    for one in frames:
        for other in frames:
            if one != other:
                assert np.abs(frames[one] - frames[other]).mean() > 1


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "data"
    return out, make_synthetic_activities(out, 2, seed=5, test_fraction=0.5, **SMALL)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_files_agree_with_what_is_returned(made):
    out, data = made
    assert from_csv(out / "videos.csv") == data
    assert data.classes == tuple(sorted(ACTIVITIES))
    assert len(data.subset("train")) == len(data.subset("test")) == 6
    assert from_folder(out).video_ids == data.video_ids
    timed = read_timed(out / "annotations.csv")
    assert set(timed.classes) <= set(ONE_ACTIONS)
    assert timed.video_ids == data.video_ids
    assert [v.split for v in timed.videos] == [r.split for r in data.records]
    for video in timed.videos:
        with av.open(str(out / f"{video.video_id}.mp4")) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height, stream.average_rate) == (64, 64, 4)
            seconds = sum(1 for _ in container.decode(stream)) / 4
        ends = [interval.end_seconds for interval in video.intervals]
        assert seconds - 1 < max(ends) < seconds
    assert "synthetic" in (out / "README.txt").read_text()


def test_a_seed_fixes_every_byte_and_more_videos_change_none(made, tmp_path):
    out, _ = made
    make_synthetic_activities(tmp_path / "again", 2, seed=5, test_fraction=0.5, **SMALL)
    assert contents(tmp_path / "again") == contents(out)
    make_synthetic_activities(tmp_path / "more", 3, seed=5, test_fraction=0.5, **SMALL)
    more = contents(tmp_path / "more")
    videos = {name: data for name, data in contents(out).items() if name.suffix == ".mp4"}
    assert videos.items() <= more.items()
    make_synthetic_activities(tmp_path / "other", 2, seed=6, test_fraction=0.5, **SMALL)
    other = contents(tmp_path / "other")
    assert all(other[name] != data for name, data in videos.items())


def test_a_broken_off_run_is_taken_up(made, tmp_path):
    out, _ = made
    first = Path("guitar_then_umbrella/000.mp4")
    make_synthetic_activities(tmp_path, 2, seed=5, test_fraction=0.5, **SMALL)
    (tmp_path / first).unlink()
    (tmp_path / "videos.csv").unlink()
    make_synthetic_activities(tmp_path, 2, seed=5, test_fraction=0.5, **SMALL)
    assert contents(tmp_path) == contents(out)


def test_progress_sees_every_video(tmp_path):
    seen = []
    make_synthetic_activities(tmp_path, 2, track=lambda jobs: seen.extend(jobs) or jobs, **SMALL)
    assert len(seen) == 2 * len(ACTIVITIES)


def test_activities_of_ones_own(tmp_path):
    own = {
        "read_then_ball": Activity("order", "read", "ball"),
        "ball_then_read": Activity("order", "ball", "read"),
    }
    data = make_synthetic_activities(tmp_path, 2, activities=own, **SMALL)
    assert data.classes == tuple(sorted(own)) and len(data) == 4
    for video in read_timed(tmp_path / "annotations.csv").videos:
        first = own[video.video_id.split("/")[0]].first
        assert next(i.label for i in video.intervals if i.label in ("ball", "read")) == first
    with pytest.raises(ValueError, match="from a run with these settings"):
        make_synthetic_activities(tmp_path, 2, activities=dict(list(own.items())[:1]), **SMALL)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("order", "wave", "bal"), r"one-action must be one of .*Did you mean 'ball'"),
        (("orders", "wave", "ball"), "kind of activity must be one of 'order', 'extent'"),
    ],
)
def test_activities_that_cannot_be(parts, message):
    with pytest.raises(ValueError, match=message):
        make_plan(Activity(*parts), FPS, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_videos_per_class": 1}, "n_videos_per_class must be at least 2"),
        ({"test_fraction": 1.0}, r"test_fraction must lie in \[0, 1\)"),
        ({"side": 65}, "side must be even"),
        ({"fps": 0}, "fps must be a whole number"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_synthetic_activities(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_other_data_are_not_overwritten(made, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match="out must be empty or from a run with these settings"):
        make_synthetic_activities(tmp_path, 2)
    with pytest.raises(ValueError, match="out must be empty or from a run with these settings"):
        make_synthetic_activities(made[0], 2, seed=6, **SMALL)
    with pytest.raises(ValueError, match="activity must be one of"):
        make_plan("juggling", FPS, np.random.default_rng(0))
