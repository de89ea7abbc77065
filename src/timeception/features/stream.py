"""Dense features of a stream as it comes: a thread decodes while others compute.

They hold a few segments at a time, however long the stream is. A batch takes what is there: a file
fills it, a camera is never waited for.
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
from timeception.features.segments import Segmenter, TimedSegment
from timeception.video import FrameStream, StreamSource, VideoError

_POLL_SECONDS = 0.1
_NAP_SECONDS = 0.01
_BATCHES_AHEAD = 2  # decoded in advance, for each computing thread
_JOIN_SECONDS = 2.0


@dataclass(frozen=True)
class StreamFeatures:
    """Features of the next timesteps.

    Args:
        features: (n, C, H, W).
        start_seconds: of each segment's first frame, since the stream's first, (n,).
        end_seconds: of each segment's last frame, (n,).
    """

    features: NDArray[np.float32]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]

    def __getitem__(self, part: slice) -> StreamFeatures:
        """Some of the timesteps."""
        return StreamFeatures(self.features[part], self.start_seconds[part], self.end_seconds[part])


class _StoppedError(Exception):
    """Nobody wants more segments."""


class FeatureStream:
    """Features of a stream, which equal those that ``extract_features`` makes of the same file.

    Args:
        source: the stream.
        segmenter: cuts it into segments.
        network: the backbone on its device.
        stop: set it to end the stream where it is, from any thread or a signal handler.
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
        self._is_over = threading.Event()  # like ``_stop``, but the stream's own
        self._has_begun = self._is_at_end = False
        self._error: Exception | None = None
        ahead = _BATCHES_AHEAD * network.n_computers * network.batch_size
        self._queue: queue.Queue[TimedSegment | Exception | None] = queue.Queue(ahead)

    def __iter__(self) -> Iterator[StreamFeatures]:
        """Decode and compute to the end of the stream, or until it is stopped. It goes once.

        Raises:
            RuntimeError: if it has gone already.
            VideoError: if the stream cannot be opened, breaks off, or gives nothing for
                ``timeout_seconds``; all features before have been given by then.
            ValueError: if its frames are too small for the backbone.
        """
        if self._has_begun:
            raise RuntimeError("a FeatureStream is iterated once: make a new one")
        self._has_begun = True
        # A thread that waits for a camera cannot be woken: as a daemon it holds up no exit.
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
                wait([pending[0]], _NAP_SECONDS)  # or until more segments have come
        if self._error is not None:
            raise self._error

    def _compute(self, segments: Sequence[TimedSegment]) -> StreamFeatures:
        features = self._network(np.stack([segment.frames for segment in segments]))
        starts = np.array([segment.start_seconds for segment in segments])
        return StreamFeatures(features, starts, np.array([s.end_seconds for s in segments]))

    def _has_ended(self) -> bool:
        return self._is_at_end or self._stop.is_set()

    def _take(self, waits: bool) -> list[TimedSegment]:
        """At most a batch of the segments that there are; if there are none, perhaps wait."""
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
                return self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                waited = time.monotonic() - max(began, self.frames.seen_at)
                if limit and waited > limit:
                    problem = f"gave no frame for {limit:g} s"
                    advice = "Check the source, or wait longer (--timeout)."
                    raise VideoError(self.source.name, problem, advice) from None
        return None

    def _decode(self) -> None:
        end: Exception | None = None
        with suppress(_StoppedError):
            try:
                with closing(self._segmenter.stream(self.frames)) as segments:
                    for segment in segments:
                        self._put(segment)
            except _StoppedError:
                raise
            except Exception as error:  # told by the thread that iterates
                end = error
            self._put(end)

    def _put(self, item: TimedSegment | Exception | None) -> None:
        while not (self._stop.is_set() or self._is_over.is_set()):
            try:
                return self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        raise _StoppedError
