"""Extraction on a Ray cluster, one task per video.

Videos and the bank must have the same paths on every machine.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from timeception.features.bank import FeatureBank
from timeception.features.bank.sources import SourceFile
from timeception.features.extraction.jobs import BankJob, ExtractionReport, RunLog, size_bytes
from timeception.features.extractor import FeatureExtractor

_WAIT_SECONDS = 0.2


class _WorkerLog(RunLog):
    """A worker's log of a single video; only the main process records failures in the bank."""

    error: str | None = None

    def finish(self, video_id: str) -> None:
        pass

    def fail(self, source: SourceFile, error: object, n_bytes_left: float) -> None:
        self.error = str(error)


class _Worker:
    """A process with a copy of the network."""

    def __init__(self, make_network: Callable[[], FeatureExtractor], bank: FeatureBank) -> None:
        self._network, self._bank = make_network(), bank
        self._pipeline = self._network.pipeline(n_decoders=1, n_videos=1)

    def extract(self, source: SourceFile) -> tuple[int, str | None]:
        """Extract one video; return the frames that went through the network, and the error."""
        log = _WorkerLog(self._bank, ExtractionReport())
        with self._network:
            self._pipeline.run([BankJob(source, log)])
        return log.report.n_frames, log.error


def run(
    sources: Sequence[SourceFile],
    log: RunLog,
    make_network: Callable[[], FeatureExtractor],
    n_workers: int,
    on_tick: Callable[[], None],
) -> None:
    """Extract videos on Ray's workers.

    Args:
        sources: the videos.
        log: receives the outcome of each video.
        make_network: makes the feature extractor of a worker.
        n_workers: processes; each takes one core, and a GPU if its network runs on one.
        on_tick: called several times a second.

    Raises:
        ValueError: if Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        advice = "Install it (pip install 'timeception[ray]'), or use --engine local."
        raise ValueError(f"engine 'ray' requires the package ray. {advice}") from error

    was_running = ray.is_initialized()
    if not was_running:
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    try:
        n_gpus = 1 if make_network().device.type == "cuda" else 0
        actor = ray.remote(num_cpus=1, num_gpus=n_gpus, max_restarts=-1)(_Worker)
        shared = ray.put(make_network)
        workers = deque(actor.remote(shared, log.bank) for _ in range(min(n_workers, len(sources))))
        _drive(ray, sources, workers, log, on_tick)
    finally:
        if not was_running:
            ray.shutdown()


def _drive(
    ray: Any,
    sources: Sequence[SourceFile],
    idle: deque[Any],
    log: RunLog,
    on_tick: Callable[[], None],
) -> None:
    """Give every idle worker a video until all videos are done."""
    waiting = deque(sources)
    running: dict[Any, tuple[Any, SourceFile]] = {}
    while waiting or running:
        while waiting and idle:
            worker, source = idle.popleft(), waiting.popleft()
            running[worker.extract.remote(source)] = worker, source
        done, _ = ray.wait(list(running), timeout=_WAIT_SECONDS)
        for task in done:
            worker, source = running.pop(task)
            idle.append(worker)
            try:
                n_frames, error = ray.get(task)
            except ray.exceptions.RayActorError as death:
                n_frames, error = 0, f"{source.path}: the worker that extracted it died: {death}"
            size = float(size_bytes(source.path))
            if error is None:
                log.advance(n_frames, size)
                log.finish(source.video_id)
            else:
                log.fail(source, error, size)
        on_tick()
