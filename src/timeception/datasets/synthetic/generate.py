"""Synthetic complex activities: MP4 files and their annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.datasets.records import Interval, TimedVideo, VideoDataset, VideoRecord
from timeception.datasets.rows import write_rows
from timeception.datasets.synthetic.actions import draw_figure
from timeception.datasets.synthetic.figure import Canvas, draw_background, draw_look
from timeception.datasets.synthetic.plans import ACTIVITIES, Activity, Plan, make_plan
from timeception.datasets.timed import write_timed
from timeception.files import replacing, write_text

NAME = "synthetic complex activities"

_README = """{name}
{line}
All videos are synthetic: a drawn figure performs one-actions. Results on them show whether a model
uses the order and the extent of one-actions in time; they say nothing about real videos.

videos.csv       path,labels,split: one activity per video
annotations.csv  video,label,start,end,split: the one-actions, in seconds

{activities} activities in pairs. The two of a pair have the same one-actions for the same total
times. They differ in their order or in how their extents are split, so that pooling over time
cannot distinguish them: a model that ignores order is right in about half of the cases.

seed={seed}
activities={names}
videos per activity={n_videos}, of these test={n_test}
frames={side}x{side} at {fps} per second
"""


def make_synthetic_activities(
    out: str | Path,
    n_videos_per_class: int = 24,
    seed: int = 0,
    *,
    test_fraction: float = 0.3,
    fps: int = 8,
    side: int = 256,
    activities: Mapping[str, Activity] = ACTIVITIES,
    track: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> VideoDataset:
    """Make videos of synthetic activities, ``OUT/ACTIVITY/NNN.mp4``, with their annotations.

    A video depends only on the seed, its activity and its number, so that a larger data set begins
    with the videos of a smaller one. Existing files are kept, so an interrupted run can resume.

    Args:
        out: Folder; new, empty, or from a run with the same settings.
        n_videos_per_class: Videos of each activity, about 8 s each.
        seed: Seed of all random choices.
        test_fraction: Fraction of each activity's videos in split ``test``, its last ones; the
            others are in ``train``.
        fps: Frames per second.
        side: Height and width of the frames in pixels, even.
        activities: Activities by name. To make only order or extent matter, include for each one
            another with the same one-actions in the opposite arrangement.
        track: Wraps the iteration over videos, for example in a progress bar.

    Returns:
        The data set, equal to ``from_csv(OUT/videos.csv)``.

    Raises:
        ValueError: If an argument is out of range or ``out`` holds other files.
    """
    checks.positive_int("fps", fps)
    is_size = checks.positive_int("side", side) % 2 == 0 and side >= 32
    checks.require(is_size, "side", "be even and at least 32", side)
    n_videos = n_videos_per_class
    checks.require(n_videos >= 2, "n_videos_per_class", "be at least 2", n_videos)
    wanted = round(checks.fraction("test_fraction", test_fraction) * n_videos)
    n_test = min(max(wanted, 1), n_videos - 1)
    out = Path(out)
    _claim(out, _README.format(
        name=NAME, line="=" * len(NAME), activities=len(activities), seed=seed,
        names=", ".join(activities),
        n_videos=n_videos, n_test=n_test, side=side, fps=fps,
    ))  # fmt: skip
    jobs = [(name, number) for number in range(n_videos) for name in activities]
    records, timed = [], []
    for activity, number in track(jobs):
        split = "test" if number >= n_videos - n_test else "train"
        rng = np.random.default_rng([seed, tuple(activities).index(activity), number])
        video_id = f"{activity}/{number:03d}"
        plan = make_plan(activities[activity], fps, rng)
        path = out / f"{video_id}.mp4"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_mp4(path, render(plan, fps, side, rng), fps)
        records.append(VideoRecord(video_id, (activity,), split, path=f"{video_id}.mp4"))
        timed.append(_timed(video_id, plan, fps, split))
    records.sort(key=lambda record: record.video_id)
    write_timed(out / "annotations.csv", sorted(timed, key=lambda video: video.video_id))
    rows = [(record.path, record.labels[0], record.split) for record in records]
    write_rows(out / "videos.csv", [("path", "labels", "split"), *rows])
    return VideoDataset("videos", tuple(sorted(activities)), tuple(records), is_multilabel=False)


def render(
    plan: Plan, fps: int, side: int, rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """Draw the frames of a plan, uint8 of shape (side, side, 3), RGB."""
    look = draw_look(rng)
    background = draw_background(side, rng, look.floor)
    shift_seconds = rng.uniform(0, 10)
    for frame in range(plan.n_frames):
        canvas = Canvas(background, look)
        draw_figure(canvas, plan.action_at(frame), frame / fps + shift_seconds, look)
        yield canvas.frame()


def write_mp4(path: Path, frames: Iterable[NDArray[np.uint8]], fps: int) -> None:
    """Write H.264 in MP4. The same frames give the same bytes.

    For this, encoding uses one thread and no assembly: x264's AVX-512 code is not deterministic.
    """
    import av

    bitexact = {"fflags": "+bitexact"}
    with replacing(path) as part, av.open(str(part), "w", "mp4", options=bitexact) as container:
        stream: Any = None
        for frame in frames:
            if stream is None:
                options = {"preset": "veryfast", "crf": "23", "threads": "1"}
                options["x264-params"] = "asm=0"
                stream = container.add_stream("libx264", rate=fps, options=options)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _claim(out: Path, readme: str) -> None:
    """Create ``out`` with its README, unless it holds other files."""
    out.mkdir(parents=True, exist_ok=True)
    note = out / "README.txt"
    held = note.read_text(encoding="utf-8") if note.is_file() else ""
    is_same = held.partition("\nseed=")[2] == readme.partition("\nseed=")[2]  # whatever its prose
    is_ours = is_same or not any(out.iterdir())
    advice = "Choose another folder, or remove it first."
    checks.require(is_ours, "out", "be empty or from a run with these settings", str(out), advice)
    write_text(note, readme)


def _timed(video_id: str, plan: Plan, fps: int, split: str) -> TimedVideo:
    intervals = tuple(Interval(b.action, b.start / fps, b.stop / fps) for b in plan.bouts)
    return TimedVideo(video_id, intervals, split, duration_seconds=plan.n_frames / fps)
