"""Times, peak memory, and a description of the machine."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Times:
    """Milliseconds of one call: median and quartiles of several."""

    median: float
    lower: float
    upper: float
    n: int

    def __str__(self) -> str:
        return f"{self.median:.1f} ({self.lower:.1f} to {self.upper:.1f})"


def interleaved(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Times]:
    """Time calls in rounds, so that a drift of the machine affects all of them equally.

    Args:
        calls: by name; each is called once before the timing starts.
        repeats: rounds.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            samples[name].append(1000 * (time.perf_counter() - start))
    return {name: summarise(times) for name, times in samples.items()}


def summarise(times: list[float]) -> Times:
    """Return the median and quartiles of at least two times."""
    quartiles = (
        statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else [times[0]] * 3
    )
    return Times(statistics.median(times), quartiles[0], quartiles[2], len(times))


def peak_memory_mb(prepare: Callable[..., Callable[[], Any]], *arguments: Any) -> float:
    """Return the peak memory of a call in megabytes, above the memory before it (Linux).

    It is measured in a separate process, in the second call.

    Args:
        prepare: a module-level function that prepares everything and returns the call.
        arguments: arguments of ``prepare``.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    threads = torch.get_num_threads()
    child = context.Process(target=_measure, args=(sender, threads, prepare, arguments))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError as error:
        raise RuntimeError(f"the measured process died: {prepare.__name__}{arguments}") from error
    finally:
        child.join()


def _measure(sender: Any, threads: int, prepare: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(threads)
    call = prepare(*arguments)
    call()  # one-time loading and allocation do not count
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = _status("VmRSS")
    call()
    sender.send((_status("VmHWM") - before) / 1024)


def _status(field: str) -> int:
    """Return a field of the status of this process, in kilobytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"no {field} in /proc/self/status")


def machine() -> dict[str, Any]:
    """Describe the machine and the versions."""
    names = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in names if "model name" in line), "")
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def as_json(value: Any) -> Any:
    """Convert dataclasses to dictionaries, for ``json.dumps``."""
    return asdict(value) if isinstance(value, Times) else str(value)
