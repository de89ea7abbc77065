"""Extraction by Ray: one task a video, on every machine of a cluster that shares the files.

Videos and the bank must be reachable under the same paths everywhere.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from timeception.features.bank import FeatureBank
from timeception.features.bank.sources import SourceFile
from timeception.features.extraction.jobs import BankJob, RunLog
from timeception.features.extractor import Network

_WAIT_SECONDS = 0.2


class _Outcome:
    """What became of one video, to be sent back; stands in for a run's log."""

    def __init__(self, bank: FeatureBank) -> None:
        self.bank = bank
        self.n_frames = 0
        self.error: str | None = None

    def moved(self, n_frames: int, n_bytes: float) -> None:
        self.n_frames += n_frames

    def finished(self, video_id: str) -> None:
        pass

    def failed(self, source: SourceFile, error: object, n_bytes_left: float) -> None:
        self.error = str(error)


class _Extractor:
    """Lives in a process of its own, with its own copy of the network."""

    def __init__(self, make_network: Callable[[], Network], bank: FeatureBank) -> None:
        self._network, self._bank = make_network(), bank
        self._pipeline = self._network.pipeline(n_decoders=1, n_videos=1)

    def extract(self, source: SourceFile) -> tuple[int, str | None]:
        """Extract one video; returns the frames that went through the network, or the error."""
        outcome = _Outcome(self._bank)
        with self._network:
            self._pipeline.run([BankJob(source, outcome)])
        return outcome.n_frames, outcome.error


def run(
    sources: Sequence[SourceFile],
    log: RunLog,
    make_network: Callable[[], Network],
    n_workers: int,
    on_tick: Callable[[], None],
) -> None:
    """Extract videos on Ray's workers.

    Args:
        sources: the videos.
        log: told what became of each.
        make_network: makes a worker's network.
        n_workers: processes; each takes one core, and a GPU if its network runs there.
        on_tick: called several times a second.

    Raises:
        ValueError: if Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        advice = "Install it (pip install 'timeception[ray]'), or take --engine local."
        raise ValueError(f"engine 'ray' needs the package ray. {advice}") from error

    was_running = ray.is_initialized()
    if not was_running:
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    try:
        n_gpus = 1 if make_network().device.type == "cuda" else 0
        actor = ray.remote(num_cpus=1, num_gpus=n_gpus, max_restarts=-1)(_Extractor)
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
    """Hand a video to every worker that is idle, until all are done."""
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
            _settle(ray, task, source, log)
        on_tick()


def _settle(ray: Any, task: Any, source: SourceFile, log: RunLog) -> None:
    size = float(source.path.stat().st_size) if source.path.exists() else 0.0
    try:
        n_frames, error = ray.get(task)
    except ray.exceptions.RayActorError as death:
        n_frames, error = 0, f"{source.path}: the worker that extracted it died: {death}"
    if error is None:
        log.moved(n_frames, size)
        log.finished(source.video_id)
    else:
        log.failed(source, error, size)
