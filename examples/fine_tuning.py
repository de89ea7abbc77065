"""Compare fine-tuning to new classes with training from scratch, with equal numbers of steps.

    python examples/fine_tuning.py DEMO OUT

DEMO is the folder of `timeception demo`; the demo runs first if the folder does not exist. Its
models know six activities. The script makes videos of six other activities in OUT: the same
one-actions in other pairs. For each of the three seeds of the demo, it trains two models on these
videos, one initialised from the demo's model and one with new values, on the same features, clips
and steps.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean, stdev

from timeception.cli import main
from timeception.cli.tables import show, table
from timeception.datasets.synthetic import Activity, make_synthetic_activities
from timeception.evaluation.evaluate import EvaluationReport, evaluate
from timeception.recipes.recipe import load_recipe
from timeception.training.runs import Run
from timeception.training.train import train

SEEDS = (0, 1, 2)
EPOCHS = (2, 5, 10, 25)
PAIRS = (("order", "umbrella", "broom"), ("order", "barbell", "read"), ("extent", "guitar", "ball"))
JOIN = {"order": "{}_then_{}", "extent": "long_{}_short_{}"}
STARTS = ("fine-tuned", "from scratch")


def new_activities() -> dict[str, Activity]:
    """Return the pairs, each in both orders; none of them is in the demo."""
    return {
        JOIN[kind].format(first, second): Activity(kind, first, second)
        for kind, *pair in PAIRS
        for first, second in (pair, pair[::-1])
    }


def run(*words: str) -> None:
    """Print and run one command of the project."""
    print(f"\n$ timeception {' '.join(words)}", flush=True)
    if status := main(list(words)):
        sys.exit(status)


def train_and_test(start: str, epochs: int, seed: int, demo: Path, out: Path) -> EvaluationReport:
    """Train for a number of epochs, unless the run exists, and test on the held-out videos."""
    fields = [f"data.source={out / 'videos' / 'videos.csv'}", f"data.bank={out / 'bank'}"]
    fields += [f"training.epochs={epochs}", f"seed={seed}"]
    if start == STARTS[0]:
        fields += [f"init_from={demo / 'runs' / f'timeception_{seed}'}"]
    made = Run(out / "runs" / f"{start.replace(' ', '_')}_{epochs}_{seed}")
    if not made.is_finished:
        train(load_recipe("demo", fields), made.root, resume=made.recipe_file.exists())
    return evaluate(made, n_draws=10)


def main_program(demo: Path, out: Path) -> None:
    """Make the missing data, train, and print the table."""
    run("demo", "--out", str(demo), "--seeds", str(len(SEEDS)))
    make_synthetic_activities(out / "videos", 16, seed=1, activities=new_activities())
    run("extract", str(out / "videos"), "--out", str(out / "bank"), "--recipe", "demo")
    rows = []
    for epochs in EPOCHS:
        row = [str(epochs)]
        for start in STARTS:
            reports = [train_and_test(start, epochs, seed, demo, out) for seed in SEEDS]
            found = [report.average_of_draws for report in reports]
            row.append(spread([metrics.mean_average_precision for metrics in found]))
            row.append(
                spread([metrics.accuracy for metrics in found if metrics.accuracy is not None])
            )
        rows.append(row)
        print(f"{epochs} epochs: {', '.join(row[1:])}", flush=True)
    columns = ("epochs", *(f"{start}: {what}" for start in STARTS for what in ("mAP", "accuracy")))
    title = f"new activities, {reports[0].n_videos} synthetic test videos, {len(SEEDS)} seeds, "
    show(table(f"{title}10 random clips", columns, rows))


def spread(values: list[float]) -> str:
    """Format the mean and standard deviation."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main_program(Path(sys.argv[1]), Path(sys.argv[2]))
