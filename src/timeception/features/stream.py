"""Dense features of a live stream: one thread decodes while others compute.

Only a few segments are in memory at a time, however long the stream is. A batch holds the segments
that are ready: files fill it, and a camera never delays it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timeception.features.extractor import FeatureExtractor
from timeception.features.pipeline import (
    BATCHES_AHEAD,
    POLL_SECONDS,
    StoppedError,
    put_until_stopped,
)
from timeception.features.segments import Segmenter, TimedSegment
from timeception.video import FrameStream, StreamSource, VideoError

_NAP_SECONDS = 0.01
_JOIN_SECONDS = 2.0


@dataclass(frozen=True)
class StreamFeatures:
    """Features of the next timesteps.

    Args:
        features: (n, C, H, W).
        start_seconds: time of each segment's first frame since the start of the stream, (n,).
        end_seconds: time of each segment's last frame, (n,).
    """

    features: NDArray[np.float32]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]

    def __getitem__(self, part: slice) -> StreamFeatures:
        """A slice of the timesteps."""
        return StreamFeatures(self.features[part], self.start_seconds[part], self.end_seconds[part])


class FeatureStream:
    """Features of a stream; for a file they equal the result of ``extract_features``.

    Args:
        source: the stream.
        segmenter: cuts it into segments.
        network: the backbone on its device.
        stop: set this event from any thread or signal handler to end the stream early.
    """

    def __init__(
        self,
        source: StreamSource,
        segmenter: Segmenter,
        network: FeatureExtractor,
        stop: threading.Event | None = None,
    ) -> None:
        self.source, self.frames = source, FrameStream(source)
        self._segmenter, self._network = segmenter, network
        self._stop = stop or threading.Event()
        self._is_over = threading.Event()  # set when iteration ends
        self._has_begun = self._is_at_end = False
        self._error: Exception | None = None
        ahead = BATCHES_AHEAD * network.n_computers * network.batch_size
        self._queue: queue.Queue[TimedSegment | Exception | None] = queue.Queue(ahead)

    def __iter__(self) -> Iterator[StreamFeatures]:
        """Decode and compute until the stream ends or is stopped; iterate only once.

        Raises:
            RuntimeError: if it was iterated before.
            VideoError: if the stream cannot be opened, breaks off, or delivers no frame for
                ``timeout_seconds``; all features before that have been yielded.
            ValueError: if its frames are too small for the backbone.
        """
        if self._has_begun:
            raise RuntimeError("a FeatureStream can be iterated once: make a new one")
        self._has_begun = True
        # A thread that waits for a camera cannot be interrupted; a daemon does not delay the exit.
        decoder = threading.Thread(target=self._decode, name="stream", daemon=True)
        decoder.start()
        try:
            with self._network as network, ThreadPoolExecutor(network.n_computers) as pool:
                yield from self._computed(pool)
        finally:
            self._is_over.set()
            decoder.join(_JOIN_SECONDS)

    def _computed(self, pool: ThreadPoolExecutor) -> Iterator[StreamFeatures]:
        """Batches through the network, several at once, in order."""
        pending: deque[Future[StreamFeatures]] = deque()
        while pending or not self._has_ended():
            is_full = len(pending) == self._network.n_computers
            if not is_full and not self._has_ended():
                batch = self._take(waits=not pending)
                if batch:
                    pending.append(pool.submit(self._compute, batch))
                    continue
            if pending and (is_full or self._has_ended() or pending[0].done()):
                yield pending.popleft().result()
            elif pending:
                wait([pending[0]], _NAP_SECONDS)  # or until more segments arrive
        if self._error is not None:
            raise self._error

    def _compute(self, segments: Sequence[TimedSegment]) -> StreamFeatures:
        features = self._network(np.stack([segment.frames for segment in segments]))
        starts = np.array([segment.start_seconds for segment in segments])
        return StreamFeatures(features, starts, np.array([s.end_seconds for s in segments]))

    def _has_ended(self) -> bool:
        return self._is_at_end or self._stop.is_set()

    def _take(self, waits: bool) -> list[TimedSegment]:
        """Take the segments that are ready, at most a batch; if none is, wait if ``waits``."""
        batch: list[TimedSegment] = []
        while len(batch) < self._network.batch_size:
            try:
                item = self._wait() if waits and not batch else self._queue.get_nowait()
            except queue.Empty:
                break
            if not isinstance(item, TimedSegment):
                self._is_at_end, self._error = True, item
                break
            batch.append(item)
        return batch

    def _wait(self) -> TimedSegment | Exception | None:
        began, limit = time.monotonic(), self.source.timeout_seconds
        while not self._stop.is_set():
            try:
                return self._queue.get(timeout=POLL_SECONDS)
            except queue.Empty:
                waited = time.monotonic() - max(began, self.frames.seen_at)
                if limit and waited > limit:
                    problem = f"gave no frame for {limit:g} s"
                    advice = "Check the source, or increase --timeout."
                    raise VideoError(self.source.name, problem, advice) from None
        return None

    def _decode(self) -> None:
        end: Exception | None = None
        with suppress(StoppedError):
            try:
                with closing(self._segmenter.stream(self.frames)) as segments:
                    for segment in segments:
                        self._put(segment)
            except StoppedError:
                raise
            except Exception as error:  # raised by the thread that iterates
                end = error
            self._put(end)

    def _put(self, item: TimedSegment | Exception | None) -> None:
        put_until_stopped(self._queue, item, self._stop, self._is_over)
