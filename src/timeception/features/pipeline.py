"""Decode and compute at the same time: several threads, batches that span videos.

Every batch has the same size; the last one is padded with zeros. The features of a segment are
therefore independent of its neighbours in the batch and of the other videos of a run, provided
that the network computes the same result at every position of a batch (``is_batch_invariant``).
If it does not, batches do not span videos, and the position of a segment depends on its video
alone.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol, TypeVar

import av
import numpy as np
from numpy.typing import NDArray

#: The 8-bit levels of successive frames, (T, H, W, 3).
Segment = NDArray[np.uint8]
#: A batch of segments (B, T, H, W, 3) to their features (B, C, H', W').
Compute = Callable[[Segment], NDArray[Any]]

#: Errors that a broken video may raise. All others are errors of the program and stop the run.
BROKEN_VIDEO = (ValueError, OSError, av.FFmpegError)

BATCHES_AHEAD = 2  # decoded in advance for each computing thread
POLL_SECONDS = 0.1
_N_SHAPES_PENDING = 4  # batches of further frame sizes are not held back until they are full

_T = TypeVar("_T")


class Job(Protocol):
    """One video in the pipeline. ``segments`` runs in a decoding thread."""

    def segments(self) -> Generator[Segment]:
        """Open the video and yield its segments in order."""

    def put(self, step: int, features: NDArray[Any]) -> None:
        """Receive the features of successive steps, (n, C, H, W), from ``step`` on."""

    def finish(self) -> None:
        """Called once all features have been put. By default, nothing happens."""
        return

    def fail(self, error: Exception) -> None:
        """The video is broken and its features are incomplete. Called at most once."""

    def discard(self) -> None:
        """Release all resources, if any; called for every job at the end of the run."""
        return


class StoppedError(Exception):
    """Another thread failed, or the run was interrupted."""


def put_until_stopped(items: queue.Queue[_T], item: _T, *stops: threading.Event) -> None:
    """Put an item into a bounded queue, waiting for room.

    Raises:
        StoppedError: as soon as one of the events is set.
    """
    while not any(stop.is_set() for stop in stops):
        try:
            return items.put(item, timeout=POLL_SECONDS)
        except queue.Full:
            continue
    raise StoppedError


@dataclass(eq=False)
class _Track:
    """The progress of a job."""

    job: Job
    lock: threading.Lock = field(default_factory=threading.Lock)
    n_sent: int = 0
    n_put: int = 0
    is_sent: bool = False
    is_over: bool = False

    def put(self, step: int, features: NDArray[Any]) -> None:
        with self.lock:
            if self.is_over:
                return
            try:
                self.job.put(step, features)
            except ValueError as error:  # numbers that cannot be stored
                self._fail(error)
                return
            self.n_put += len(features)
            self._finish_if_complete()

    def end(self) -> None:
        with self.lock:
            self.is_sent = True
            self._finish_if_complete()

    def fail(self, error: Exception) -> None:
        with self.lock:
            if not self.is_over:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.is_over = True
        self.job.fail(error)

    def _finish_if_complete(self) -> None:
        if self.is_sent and not self.is_over and self.n_put == self.n_sent:
            self.is_over = True
            self.job.finish()


@dataclass(frozen=True, eq=False)
class _Item:
    track: _Track
    step: int
    segment: Segment


#: Segments with the same key may share a batch: (video unless batches span videos, frame shape).
_Key = tuple[_Track | None, tuple[int, ...]]


@dataclass(eq=False)
class Pipeline:
    """Runs jobs: some threads decode one video each, others compute batches.

    Args:
        compute: the network; called from several threads at once.
        batch_size: segments in every batch.
        n_decoders: videos decoded at once.
        n_computers: batches computed at once.
        spans_videos: whether a batch may hold segments of several videos.
    """

    compute: Compute
    batch_size: int
    n_decoders: int
    n_computers: int
    spans_videos: bool = True

    def run(self, jobs: Sequence[Job], on_tick: Callable[[], None] = lambda: None) -> None:
        """Run jobs to completion.

        Args:
            jobs: started in this order.
            on_tick: called by this thread several times a second.

        Raises:
            Exception: the first error of a thread that is not among ``BROKEN_VIDEO``; it ends
                the run.
        """
        self._tracks = [_Track(job) for job in jobs]
        self._waiting = deque(self._tracks)
        self._n_decoding = self.n_decoders
        ahead = BATCHES_AHEAD * self.n_computers * self.batch_size
        self._items: queue.Queue[_Item | _Track | None] = queue.Queue(maxsize=ahead)
        self._is_stopped = threading.Event()
        self._batching = threading.Lock()
        self._pending: dict[_Key, list[_Item]] = {}
        self._ready: deque[list[_Item]] = deque()
        try:
            self._run_threads(on_tick)
        finally:
            for track in self._tracks:
                track.job.discard()

    def _run_threads(self, on_tick: Callable[[], None]) -> None:
        tasks = [self._decode] * self.n_decoders + [self._compute_batches] * self.n_computers
        with ThreadPoolExecutor(len(tasks), thread_name_prefix="features") as pool:
            running = {pool.submit(task) for task in tasks}
            try:
                while running:
                    done, running = wait(running, POLL_SECONDS, FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    on_tick()
            finally:
                self._is_stopped.set()

    def _decode(self) -> None:
        while self._waiting:
            try:
                track = self._waiting.popleft()
            except IndexError:  # another thread took the last one
                break
            try:
                with closing(track.job.segments()) as segments:
                    for segment in segments:
                        if track.is_over:
                            break
                        self._send(_Item(track, track.n_sent, segment))
                        track.n_sent += 1
            except BROKEN_VIDEO as error:
                track.fail(error)
            else:
                track.end()
            self._send(track)
        self._send(None)

    def _send(self, item: _Item | _Track | None) -> None:
        put_until_stopped(self._items, item, self._is_stopped)

    def _receive(self) -> _Item | _Track | None:
        while not self._is_stopped.is_set():
            try:
                return self._items.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
        raise StoppedError

    def _compute_batches(self) -> None:
        while batch := self._next_batch():
            first = batch[0].segment
            stacked = np.zeros((self.batch_size, *first.shape), first.dtype)
            for row, item in enumerate(batch):
                stacked[row] = item.segment
            features = self.compute(stacked)
            row = 0
            for track, items in groupby(batch, key=lambda item: item.track):
                steps = [item.step for item in items]
                track.put(steps[0], features[row : row + len(steps)])
                row += len(steps)

    def _next_batch(self) -> list[_Item]:
        """The next full batch; an empty list at the end."""
        with self._batching:
            while not self._ready and self._n_decoding:
                item = self._receive()
                if isinstance(item, _Item):
                    self._add(item)
                elif item is None:
                    self._n_decoding -= 1
                elif not self.spans_videos:
                    self._flush([key for key in self._pending if key[0] is item])
            if not self._ready:
                self._flush(list(self._pending))
            return self._ready.popleft() if self._ready else []

    def _add(self, item: _Item) -> None:
        key = (None if self.spans_videos else item.track, item.segment.shape)
        batch = self._pending.setdefault(key, [])
        batch.append(item)
        if len(batch) == self.batch_size:
            self._flush([key])
        elif self.spans_videos and len(self._pending) > _N_SHAPES_PENDING:
            self._flush([next(iter(self._pending))])

    def _flush(self, keys: Sequence[_Key]) -> None:
        self._ready += [self._pending.pop(key) for key in keys]


def is_batch_invariant(compute: Compute, batch_size: int, shape: tuple[int, ...]) -> bool:
    """Whether the features of a segment are bit-identical at every position of a batch.

    Tested on random segments of ``shape`` (T, H, W, 3), which are computed again with other
    neighbours at the opposite end of the batch.
    """
    if batch_size == 1:
        return True
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 256, (2, batch_size, *shape), dtype=np.uint8)
    half = (batch_size + 1) // 2
    two[::-1][:half] = one[:half]
    return np.array_equal(compute(two)[::-1][:half], compute(one)[:half])
