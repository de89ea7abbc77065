"""Train one recipe in PyTorch and in Keras: ``frameworks_table.py DEMO_DIR OUT [SEEDS]``.

DEMO_DIR is the folder that ``timeception demo --out DEMO_DIR`` made. The script trains and tests
the recipe of the demo in each framework, with seeds 0 to SEEDS - 1 (default 3 seeds), below OUT,
and prints a table. The seconds are those of ``timeception train``, with imports and compilation.
Existing runs are not trained again. To give every framework one thread, run it with ``taskset -c
0``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import mean, stdev
from time import perf_counter

#: The framework of the recipe, and the backend of Keras.
FRAMEWORKS = {
    "PyTorch": ("torch", ""),
    "Keras on TensorFlow": ("keras", "tensorflow"),
    "Keras on JAX": ("keras", "jax"),
}


def main(demo: Path, out: Path, n_seeds: int = 3) -> None:
    """Train, test, and print the table."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in FRAMEWORKS}
    for seed in range(n_seeds):
        for name in FRAMEWORKS:
            found[name].append(train_and_test(name, seed, demo, out))
    print("| framework | test mAP | for each seed | test accuracy | seconds | CPU seconds |")
    print("|---|---|---|---|---|---|")
    for name, results in found.items():
        columns = {key: [result[key] for result in results] for key in results[0]}
        each = ", ".join(f"{value:.3f}" for value in columns["map"])
        cells = [with_spread(columns["map"]), each, with_spread(columns["accuracy"])]
        cells += [f"{mean(columns[key]):.0f}" for key in ("wall_seconds", "cpu_seconds")]
        print(f"| {name} | {' | '.join(cells)} |")


def train_and_test(name: str, seed: int, demo: Path, out: Path) -> dict[str, float]:
    """Return the test results with random clips, and the times of ``timeception train``."""
    framework, backend = FRAMEWORKS[name]
    run = out / "_".join(filter(None, (framework, backend, str(seed))))
    times = run / "times.json"
    environment = os.environ | ({"KERAS_BACKEND": backend} if backend else {})
    if not times.exists():
        data = [f"data.source={demo}/videos/videos.csv", f"data.videos={demo}/videos"]
        overrides = [*data, f"data.bank={demo}/bank", f"framework={framework}", f"seed={seed}"]
        before, cpu_before = perf_counter(), cpu_seconds()
        resumed = ["--resume"] if run.exists() else []  # the training was interrupted
        words = ("train", "demo", *overrides, "--out", str(run), *resumed)
        timeception(*words, environment=environment)
        took = {"wall_seconds": perf_counter() - before, "cpu_seconds": cpu_seconds() - cpu_before}
        times.write_text(json.dumps(took))
    report = json.loads(timeception("test", str(run), "--json", environment=environment))
    metrics = report["average_of_draws"]
    results = {"map": metrics["mean_average_precision"], "accuracy": metrics["accuracy"]}
    print(f"{name}, seed {seed}: {results}", file=sys.stderr, flush=True)
    return results | json.loads(times.read_text())


def timeception(*words: str, environment: dict[str, str]) -> str:
    """Run a command of this package and return its output."""
    program = [sys.executable, "-c", "import sys, timeception.cli as c; sys.exit(c.main())", *words]
    made = subprocess.run(program, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout


def cpu_seconds() -> float:
    """Return the CPU time of the commands so far."""
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def with_spread(values: list[float]) -> str:
    """Format the mean and, if there are several seeds, the standard deviation."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
