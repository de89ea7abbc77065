"""Extract dense features of video files into a feature bank.

Decoding, resizing and the network run concurrently, batches span videos, and only the necessary
frames are decoded. An interrupted extraction can be resumed and gives the same bytes: a file of
the bank depends only on its video and the settings, not on the other videos of the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timeception import checks
from timeception.devices import check_device
from timeception.features.bank.sources import open_bank, plan, video_sources
from timeception.features.bank.store import DEFAULT_DTYPE
from timeception.features.extraction.jobs import (
    BankJob,
    ExtractionReport,
    MemoryJob,
    RunLog,
    VideoFeatures,
    size_bytes,
)
from timeception.features.extraction.settings import (
    extraction_settings,
    restore_backbone,
    segmenter_of,
)
from timeception.features.extractor import (
    DEFAULT_PRECISION,
    FeatureExtractor,
    n_cores,
)
from timeception.features.segments import Segmenter

if TYPE_CHECKING:
    from timeception.backbones import Backbone

__all__ = [
    "ENGINES",
    "ExtractionReport",
    "VideoFeatures",
    "extract",
    "extract_features",
    "features_through",
    "restore_backbone",
]

ENGINES = ("local", "ray")


def extract(
    videos: Sequence[str | Path],
    bank_root: str | Path,
    backbone: Backbone,
    *,
    stride: int | None = None,
    map_size: tuple[int, int] | None = None,
    precision: str = DEFAULT_PRECISION,
    frames_2019: int | None = None,
    fps: float | None = None,
    dtype: str = DEFAULT_DTYPE,
    is_overwritten: bool = False,
    engine: str = "local",
    n_workers: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    is_compiled: bool = False,
    on_progress: Callable[[ExtractionReport], None] = lambda report: None,
) -> ExtractionReport:
    """Extract features of videos into a bank.

    A step is one segment of ``backbone.frames_per_segment`` successive frames; if the backbone
    returns several maps for a segment, their mean over time is stored. Unreadable videos do not
    stop the others: the bank records them, and the next run tries them again.

    Args:
        videos: files, folders and lists, as for ``sources.video_sources``.
        bank_root: the bank's folder; created if it does not exist, otherwise continued.
        backbone: the network.
        stride: frames from one segment to the next; ``None``: 8, or a whole segment if longer.
        map_size: (height, width) of the pooled maps; ``None`` keeps the size.
        precision: of weights and maps within the network: ``fp32``, or ``bf16``, which changes
            features and is faster on processors with bf16 multiplication. Part of the bank's
            settings.
        frames_2019: choose segments as the 2019 code did for a clip of this number of frames (32
            to 1024), instead of by ``stride``; sampling all of them uniformly gives the 2019 clip.
        fps: segments per second, at equal times in videos of any frame rate (see
            ``video.sampling.timed_starts``), instead of ``stride``.
        dtype: stored type: ``float16``, ``float32`` or ``bfloat16``.
        is_overwritten: replace features that do not match, instead of raising an error.
        engine: ``"local"`` runs threads in this process; ``"ray"`` runs one task per video on a
            cluster with a shared file system.
        n_workers: videos decoded at once; with ray, processes. ``None``: one per core.
        batch_size: segments that go through the network at once; ``None``: 4 frames on a CPU,
            64 on a GPU.
        device: where the network runs; ``None`` uses a GPU if there is one.
        is_compiled: compile the network first, which takes a while and requires a C++ compiler.
            It changes features only by rounding, so it is not part of the bank's settings.
        on_progress: called several times a second with the report so far.

    Raises:
        ValueError: if an argument is invalid or the bank does not match.
    """
    checks.one_of("engine", engine, ENGINES)
    n_workers = checks.positive_int("n_workers", n_workers or n_cores())
    if engine == "local":
        check_device(device)  # before the bank is created
    settings = extraction_settings(backbone, stride, map_size, precision, frames_2019, fps)
    sources = video_sources(videos)
    bank = open_bank(bank_root, settings, dtype, sources, is_overwritten=is_overwritten)
    planned = plan(bank, sources, is_overwritten=is_overwritten, n_workers=n_workers)
    report = ExtractionReport(
        skipped=[source.video_id for source in planned.done],
        n_videos=len(sources),
        n_bytes=sum(size_bytes(source.path) for source in planned.todo),
    )
    for source in planned.done:
        bank.clear_failure(source.video_id)
    log = RunLog(bank, report)
    began = time.monotonic()

    def tick() -> None:
        report.seconds = time.monotonic() - began
        on_progress(report)

    tick()
    options: dict[str, Any] = {"device": device, "precision": precision, "is_compiled": is_compiled}
    if engine == "ray" and planned.todo:
        from timeception.features.extraction import ray_engine

        make_network = partial(FeatureExtractor, backbone, map_size, batch_size, cores=1, **options)
        ray_engine.run(planned.todo, log, make_network, n_workers, tick)
    elif planned.todo:
        with FeatureExtractor(backbone, map_size, batch_size, **options) as network:
            n_decoders = min(n_workers, len(planned.todo))
            jobs = [BankJob(source, log, n_decoders) for source in planned.todo]
            network.pipeline(n_decoders, len(jobs)).run(jobs, tick)
    tick()
    report.done.sort()
    report.failed = dict(sorted(report.failed.items()))
    return report


def extract_features(
    video: str | Path,
    backbone: Backbone,
    *,
    stride: int | None = None,
    map_size: tuple[int, int] | None = None,
    precision: str = DEFAULT_PRECISION,
    frames_2019: int | None = None,
    fps: float | None = None,
    batch_size: int | None = None,
    device: str | None = None,
) -> VideoFeatures:
    """Extract the features of one video without a bank; the arguments are as for ``extract``.

    Raises:
        VideoError: if the video cannot be read, or its frames do not suit the backbone.
        ValueError: if an argument is invalid.
    """
    settings = extraction_settings(backbone, stride, map_size, precision, frames_2019, fps)
    network = FeatureExtractor(backbone, map_size, batch_size, device, precision=precision)
    return features_through(network, video, segmenter_of(settings))


def features_through(
    network: FeatureExtractor, video: str | Path, segmenter: Segmenter
) -> VideoFeatures:
    """Extract the features of one video with an extractor that several videos share.

    Raises:
        VideoError: if the video cannot be read, or its frames do not suit the backbone.
    """
    job = MemoryJob(Path(video), segmenter, n_cores())
    with network:
        network.pipeline(n_decoders=1, n_videos=1).run([job])
    return job.result()
