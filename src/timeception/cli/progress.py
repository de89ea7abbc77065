"""Progress of long commands: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from datetime import timedelta
from shlex import quote
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import track as rich_track

if TYPE_CHECKING:
    from timeception.features.extraction.extract import ExtractionReport
    from timeception.training.progress import TrainingProgress

Item = TypeVar("Item")

FIRST_SECONDS, EVERY_SECONDS = 10.0, 30.0


class Lines:
    """Prints lines at once: what a command begins, and its progress where there is no bar.

    Args:
        is_json: whether the standard output carries JSON; the lines then go to the error stream.
        clock: returns the time in seconds.
    """

    def __init__(self, is_json: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_json, self._clock = is_json, clock
        self._began = clock()
        self._next = self._began + FIRST_SECONDS

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return self._clock() - self._began

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr if self.is_json else sys.stdout, flush=True)

    def tick(self, text: Callable[[], str]) -> None:
        """Print a line if one is due: the first after 10 s, then at most one per 30 s."""
        if self._clock() >= self._next:
            self.say(text())
            self._next = self._clock() + EVERY_SECONDS

    def end(self, text: Callable[[], str]) -> None:
        """Print the last line of a step that took long enough for others."""
        if self.seconds >= FIRST_SECONDS:
            self.say(text())


def say_next(purpose: str, *command: object) -> None:
    """Print the command to run next.

    Args:
        purpose: what it does, such as ``train on it``.
        command: its words; paths are quoted if the shell requires it.
    """
    words = (quote(str(word)) for word in command)
    print(f"Next, {purpose}: timeception {' '.join(words)}")


def track(
    items: Iterable[Item],
    description: str,
    *,
    is_json: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterable[Item]:
    """Iterate with a progress bar if the error stream is a terminal, otherwise with lines.

    Args:
        items: what to iterate over.
        description: what is done, such as ``opening videos``.
        is_json: whether the standard output carries JSON.
        clock: returns the time in seconds.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        return rich_track(items, description, console=console)
    return _with_lines(items, description, Lines(is_json, clock))


def _with_lines(items: Iterable[Item], description: str, lines: Lines) -> Iterator[Item]:
    total = len(items) if isinstance(items, Sized) else None
    count = 0

    def text() -> str:
        rate = count / lines.seconds if lines.seconds else 0.0
        known = f"{count}/{total}" if total is not None else f"{count}"
        left = f", {duration((total - count) / rate)} left" if total and rate else ""
        return f"{description}: {known}, {rate:.2f} per second{left}"

    for count, item in enumerate(items):  # noqa: B007 - `text` reads it
        lines.tick(text)
        yield item
    count = total if total is not None else count + 1
    lines.end(lambda: f"{description}: {count} in {duration(lines.seconds)}")


@contextmanager
def extraction_progress(is_json: bool = False) -> Iterator[Callable[[ExtractionReport], None]]:
    """Show an extraction: its plan, then counts, rates and the remaining time."""
    console = Console(stderr=True)
    columns = (
        TextColumn("extracting"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}% {task.fields[state]}"),
        TimeRemainingColumn(),
    )
    lines, is_planned = Lines(is_json), False
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("extract", total=None, state="")

        def show(report: ExtractionReport) -> None:
            nonlocal is_planned
            state = _extraction_state(report)
            bar.update(
                task,
                total=report.n_bytes,
                completed=report.n_bytes_done,
                state=f"{state}, left:",
            )
            if console.is_terminal:
                return
            if not is_planned:
                is_planned = True
                lines.say(_extraction_plan(report))
            lines.tick(lambda: f"extracting: {state}{_extraction_left(report)}")

        yield show


def _extraction_plan(report: ExtractionReport) -> str:
    n_skipped = len(report.skipped)
    n_todo = report.n_videos - n_skipped
    return f"videos found: {report.n_videos}; in the bank: {n_skipped}; to extract: {n_todo}"


def _extraction_state(report: ExtractionReport) -> str:
    n_over = len(report.done) + len(report.skipped) + len(report.failed)
    failed = f", {len(report.failed)} failed" if report.failed else ""
    rate = len(report.done) / report.seconds if report.seconds else 0.0
    return (
        f"{n_over}/{report.n_videos} videos{failed}, {rate:.2f} videos/s, "
        f"{report.frames_per_second:.1f} frames/s"
    )


def _extraction_left(report: ExtractionReport) -> str:
    """The remaining time, estimated from the bytes of the files."""
    if not report.n_bytes_done:
        return ""
    left = report.seconds * (report.n_bytes - report.n_bytes_done) / report.n_bytes_done
    return f", {duration(left)} left"


def training_progress(
    title: str = "", *, is_json: bool = False, clock: Callable[[], float] = time.monotonic
) -> Callable[[TrainingProgress], None]:
    """Return a function that prints a training: its plan, epochs, rate and remaining time.

    On a terminal, the frameworks show bars.

    Args:
        title: begins each line.
        is_json: whether the standard output carries JSON.
        clock: returns the time in seconds.
    """
    lines: Lines | None = None
    is_terminal = Console(stderr=True).is_terminal

    def show(progress: TrainingProgress) -> None:
        nonlocal lines
        if lines is None:
            lines = Lines(is_json, clock)
            lines.say(f"{title}{progress.plan()}")
        elif progress.is_over:
            lines.say(f"{title}{progress}")
        elif not is_terminal:
            left = _training_left(progress, lines.seconds)
            lines.tick(lambda: f"{title}{progress}{left}")

    return show


def _training_left(progress: TrainingProgress, seconds: float) -> str:
    """Rate of a training, and the remaining time."""
    if not (progress.n_clips_done and seconds):
        return ""
    rate = progress.n_clips_done / seconds
    left = (progress.n_clips - progress.n_clips_done) / rate
    return f", {rate:.1f} clips/s, {duration(left)} left"


def duration(seconds: float) -> str:
    """Format a duration as hours, minutes and seconds.

    Example:
        >>> duration(75.4)
        '0:01:15'
    """
    return f"{timedelta(seconds=round(seconds))}"
