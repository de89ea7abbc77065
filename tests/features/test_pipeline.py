import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timeception.features.pipeline import Pipeline, is_batch_invariant


class Numbers:
    """A job whose segments hold one number each; keeps what came back."""

    def __init__(self, numbers, side=2, breaks_at=None):
        self.numbers, self.side, self.breaks_at = numbers, side, breaks_at
        self.found, self.events = {}, []

    def segments(self):
        for index, number in enumerate(self.numbers):
            if index == self.breaks_at:
                raise ValueError("broken")
            yield np.full((1, self.side, self.side, 3), number, np.uint16)

    def put(self, step, features):
        for offset, row in enumerate(features):
            assert step + offset not in self.found
            self.found[step + offset] = float(row.mean())

    def finish(self):
        self.events.append("finish")

    def fail(self, error):
        self.events.append(f"fail: {error}")

    def discard(self):
        self.events.append("discard")


def double(batch):
    return 2 * batch[:, 0]


def by_place(batch):
    """A network whose result depends on the place in the batch."""
    return batch[:, 0] + 0.25 * np.arange(len(batch), dtype=np.float32)[:, None, None, None]


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=9),
    sides=st.lists(st.integers(1, 6), min_size=9, max_size=9),
    batch_size=st.integers(1, 5),
    n_decoders=st.integers(1, 4),
    n_computers=st.integers(1, 3),
    spans_videos=st.booleans(),
)
def test_every_step_comes_back_once_in_its_place(
    lengths, sides, batch_size, n_decoders, n_computers, spans_videos
):
    jobs = [
        Numbers(range(100 * index, 100 * index + length), sides[index])
        for index, length in enumerate(lengths)
    ]
    Pipeline(double, batch_size, n_decoders, n_computers, spans_videos).run(jobs)
    for job in jobs:
        assert job.found == {step: 2.0 * number for step, number in enumerate(job.numbers)}
        assert job.events == ["finish", "discard"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(1, 4))
def test_where_the_place_matters_it_depends_on_the_video_alone(lengths, n_decoders):
    jobs = [Numbers([0.0] * length) for length in lengths]
    Pipeline(by_place, 3, n_decoders, 2, spans_videos=False).run(jobs)
    for job in jobs:
        assert job.found == {step: 0.25 * (step % 3) for step in range(len(job.numbers))}


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_invariance_is_found_out(batch_size):
    assert is_batch_invariant(double, batch_size, (1, 4, 4, 3))
    assert not is_batch_invariant(by_place, batch_size, (1, 4, 4, 3))
    assert not is_batch_invariant(lambda b: b[:, 0] - b.mean(), batch_size, (1, 4, 4, 3))


def test_batches_are_full_and_filled_up_with_zeros():
    seen = []

    def record(batch):
        seen.append(batch[:, 0, 0, 0, 0].tolist())
        return double(batch)

    Pipeline(record, 4, 1, 1).run([Numbers([1, 2, 3]), Numbers([4, 5, 6])])
    assert seen == [[1, 2, 3, 4], [5, 6, 0, 0]]


def test_broken_videos_fail_alone():
    jobs = [Numbers(range(5)), Numbers(range(5), breaks_at=3), Numbers(range(5))]
    Pipeline(double, 2, 2, 2).run(jobs)
    assert [job.events[0] for job in jobs] == ["finish", "fail: broken", "finish"]


def test_numbers_that_cannot_be_stored_fail_that_video():
    class Picky(Numbers):
        def put(self, step, features):
            if features.max() > 5:
                raise ValueError("too large")
            super().put(step, features)

    jobs = [Picky([1, 2]), Picky([1, 9, 1, 1, 1, 1, 1]), Picky([2, 1])]
    Pipeline(double, 1, 1, 1).run(jobs)
    assert [job.events for job in jobs] == [
        ["finish", "discard"],
        ["fail: too large", "discard"],
        ["finish", "discard"],
    ]


@pytest.mark.parametrize("where", ["segments", "put", "finish", "compute"])
def test_other_errors_stop_the_run(where):
    class Faulty(Numbers):
        pass

    def fault(*arguments):
        raise ZeroDivisionError(where)

    jobs = [Numbers(range(50)), Faulty(range(50)), Numbers(range(50))]
    if where != "compute":
        setattr(jobs[1], where, fault)
    compute = fault if where == "compute" else double
    n_threads = threading.active_count()
    with pytest.raises(ZeroDivisionError, match=where):
        Pipeline(compute, 2, 2, 2).run(jobs)
    assert [job.events[-1] for job in jobs] == ["discard"] * 3
    assert threading.active_count() == n_threads


def test_little_is_decoded_ahead():
    n_decoded = n_computed = most = 0
    lock = threading.Lock()

    class Counted(Numbers):
        def segments(self):
            nonlocal n_decoded, most
            for segment in super().segments():
                with lock:
                    n_decoded += 1
                    most = max(most, n_decoded - n_computed)
                yield segment

    def compute(batch):
        nonlocal n_computed
        with lock:
            n_computed += len(batch)
        return double(batch)

    Pipeline(compute, 4, 3, 2).run([Counted(range(200)) for _ in range(5)])
    assert n_decoded == n_computed == 1000
    assert most <= 2 * 2 * 4 + 2 * 4 + 4 + 3  # in the queue, with the computers, pending, in hand
