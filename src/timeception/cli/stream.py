"""Output and exit status of ``timeception predict --stream``."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timeception.inference.predictor import Predictor
    from timeception.inference.streams import StreamUpdate
    from timeception.inference.timelines import OpenIntervals, TimelineSegment
    from timeception.video import StreamSource

    #: Intervals that ended; ``None`` if they are not wanted.
    Closed = Sequence[TimelineSegment] | None

_MOST_STEPS = 5  # output steps printed as text; --json prints all


def follow(
    predictor: Predictor,
    source: StreamSource,
    *,
    interval_seconds: float,
    stride: int | None,
    fps: float | None,
    device: str | None,
    top: int,
    has_evidence: bool,
    intervals: OpenIntervals | None,
    as_json: bool,
) -> int:
    """Print the scores of a stream until it ends.

    Returns:
        The exit status: 0 if the stream ended normally or by Ctrl-C; 1 if it was interrupted,
        damaged or too short, or if the reader closed the pipe.
    """
    from timeception.inference.streams import spacing_notice, stream_video

    stop = threading.Event()
    updates = stream_video(
        predictor,
        source,
        stride=stride,
        fps=fps,
        interval_seconds=interval_seconds,
        device=device,
        stop=stop,
    )
    format_update = _json_line if as_json else _text
    is_noticed = False
    with _stopped_by_interrupt(stop):
        for update in updates:
            if not is_noticed and update.timestep_seconds is not None:
                is_noticed = True
                _say(spacing_notice(predictor.model, update, stride, fps))
            closed = _closed(intervals, update)
            try:
                print(format_update(update, top, has_evidence, closed), flush=True)
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                _say("the reader closed the pipe.")
                return 1
    _say(update.error)
    if update.n_damaged:
        _say(f"{update.source}: damaged in {update.n_damaged} place(s); frames there were skipped.")
    return int(update.error is not None or update.n_damaged > 0)


@contextmanager
def _stopped_by_interrupt(stop: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C end the stream normally, and a second one the program at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _closed(intervals: OpenIntervals | None, update: StreamUpdate) -> Closed:
    """Intervals that ended since the last update; ``None`` if they are not wanted."""
    if intervals is None:
        return None
    found = []
    for step in update.evidence:
        found += intervals.push(step.start_seconds, step.end_seconds, step.scores)
    return [*found, *(intervals.finish() if update.is_final else ())]


def _json_line(update: StreamUpdate, top: int, has_evidence: bool, closed: Closed) -> str:
    fields = update.to_dict(top)
    if closed is not None:
        fields["intervals"] = [segment.to_dict() for segment in closed]
    if not has_evidence:
        del fields["evidence"]
    return json.dumps(fields, allow_nan=False)


def _text(update: StreamUpdate, top: int, has_evidence: bool, closed: Closed) -> str:
    head = f"{_clock(update.seconds)}  {update.n_timesteps:6d} timesteps"
    best = "  ".join(f"{name} {score:.3f}" for name, score in update.top(top))
    lines = [f"{head}  {best or 'waiting for the first scores'}"]
    for step in update.evidence[-_MOST_STEPS:] if has_evidence else ():
        ((name, score),) = step.top(update.classes, 1)
        span = f"{_clock(step.start_seconds)} - {_clock(step.end_seconds)}"
        lines.append(f"    {span}  {name} {score:.3f}")
    for segment in closed or ():
        span = f"{_clock(segment.start_seconds)} - {_clock(segment.end_seconds)}"
        lines.append(f"    {span}  interval  {segment.label} {segment.score:.3f}")
    if update.is_final:
        lines[0] += "  (end)"
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    """Format a time as hours, minutes and seconds with one decimal."""
    tenths = round(seconds * 10)
    return f"{timedelta(seconds=tenths // 10)}.{tenths % 10}"


def _say(message: str | None) -> None:
    """Print a message, if there is one, on the error stream."""
    if message is not None:
        print(f"timeception: {message}", file=sys.stderr, flush=True)
