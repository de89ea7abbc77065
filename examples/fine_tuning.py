"""Fine-tuning to new classes against training from scratch, at equal steps.

    python examples/fine_tuning.py DEMO OUT

DEMO is the folder of `timeception demo`, which is run first where it has not been. Its models know
six activities. OUT gets videos of six others: the same one-actions in other pairs. A model is
trained on these twice, with the demo's model as its start and with fresh values, on the same
features, draws and steps, for each of the demo's three seeds.
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
    """The pairs, each arranged both ways; none is among the demo's."""
    return {
        JOIN[kind].format(first, second): Activity(kind, first, second)
        for kind, *pair in PAIRS
        for first, second in (pair, pair[::-1])
    }


def run(*words: str) -> None:
    """Run one command of the project, shown as it would be typed."""
    print(f"\n$ timeception {' '.join(words)}", flush=True)
    if status := main(list(words)):
        sys.exit(status)


def train_and_test(start: str, epochs: int, seed: int, demo: Path, out: Path) -> EvaluationReport:
    """Train for so many epochs unless that was done before, and test on the held-out videos."""
    fields = [f"data.source={out / 'videos' / 'videos.csv'}", f"data.bank={out / 'bank'}"]
    fields += [f"training.epochs={epochs}", f"seed={seed}"]
    if start == STARTS[0]:
        fields += [f"init_from={demo / 'runs' / f'timeception_{seed}'}"]
    made = Run(out / "runs" / f"{start.replace(' ', '_')}_{epochs}_{seed}")
    if not made.is_finished:
        train(load_recipe("demo", fields), made.root, resume=made.recipe_file.exists())
    return evaluate(made, n_draws=10)


def main_program(demo: Path, out: Path) -> None:
    """Make what is missing, train, and print the table."""
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
    show(table(f"{title}average of 10 draws", columns, rows))


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main_program(Path(sys.argv[1]), Path(sys.argv[2]))
