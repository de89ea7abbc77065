"""``timeception demo``: from videos to a result, in a few minutes on two cores."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated

import typer

from timeception.cli.usage import exclude

if TYPE_CHECKING:
    from timeception.evaluation.evaluate import EvaluationReport

HEADS = ("timeception", "pooling")
STRIDE_FRAMES = 2
DEFAULT_SEEDS = 3


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(demo)


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for all output: videos, features, runs.")
    ] = Path("demo"),
    videos: Annotated[
        Path | None,
        typer.Option(
            help="Folder of your own videos: the same as `timeception train --videos`.",
            show_default="synthetic videos",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, help="Training runs of each head, with seeds 0, 1, ...", show_default="3"
        ),
    ] = None,
) -> None:
    """Run every step, end to end: videos, features, training, testing, prediction.

    Without --videos, the demo makes synthetic activities that consist of the same one-actions and
    differ only in temporal order or extent. It compares a Timeception head with pooling, which
    ignores order. Run the same command again to continue after an interruption.
    """
    if videos is not None:
        from timeception.cli.own_videos import train_videos

        exclude(seeds=seeds, videos=videos)
        train_videos(videos, None, out, group=None, minutes=10.0, scheme="auto", overrides=[])
        return
    seeds = seeds or DEFAULT_SEEDS
    began = time.monotonic()
    folder = _synthetic_videos(out)
    _say(2, "extracting features with an ImageNet EfficientNet-Lite0")
    failed = _extract(folder, out / "bank")
    reports: dict[str, list[EvaluationReport]] = {}
    for head in HEADS:
        _say(3, f"training and testing: {head}, {seeds} seed(s)")
        reports[head] = [_train_and_test(head, seed, folder, out) for seed in range(seeds)]
    _say(4, "results on held-out videos")
    _print_table(reports)
    _say(5, "predicting one held-out video from its file")
    run = _run_folder(out, HEADS[0], 0)
    _predict_one(run, folder)
    minutes = (time.monotonic() - began) / 60
    print(f"\nDone in {minutes:.1f} min. Videos: {folder}; features: {out / 'bank'};")
    print(f"runs: {out / 'runs'} (recipe, model, logs, results). Try:")
    print(f"  timeception predict {run} VIDEO.mp4")
    if failed:
        raise typer.Exit(1)


def _synthetic_videos(out: Path) -> Path:
    from timeception.cli.progress import track
    from timeception.datasets.synthetic import make_synthetic_activities

    folder = out / "videos"
    _say(1, f"making synthetic activities in {folder}")
    make_synthetic_activities(folder, track=lambda jobs: track(jobs, "videos"))
    return folder


def _extract(folder: Path, bank: Path) -> bool:
    """Extract features, report failures, and return whether there are any."""
    from timeception.backbones import create_backbone
    from timeception.cli.extract import extract_with_progress

    network = create_backbone("efficientnet_lite0")
    report = extract_with_progress([folder], bank, network, stride=STRIDE_FRAMES, map_size=(1, 1))
    return bool(report.failed)


def _run_folder(out: Path, head: str, seed: int) -> Path:
    return out / "runs" / f"{head}_{seed}"


def _train_and_test(head: str, seed: int, folder: Path, out: Path) -> EvaluationReport:
    """Train one head, unless its run is finished, and test it."""
    from timeception.cli.progress import training_progress
    from timeception.evaluation.evaluate import evaluate
    from timeception.recipes.recipe import load_recipe
    from timeception.training.runs import Run
    from timeception.training.train import train

    places = {"source": folder / "videos.csv", "videos": folder, "bank": out / "bank"}
    words = [f"data.{name}={path}" for name, path in places.items()]
    words += [f"model.head={head}", f"seed={seed}", f"name=demo_{head}_{seed}"]
    recipe = load_recipe("demo", words)
    run = Run(_run_folder(out, head, seed))
    if not run.is_finished:
        progress = training_progress(title=f"{head}, seed {seed}: ")
        train(recipe, run.root, resume=run.recipe_file.exists(), on_progress=progress)
    report = evaluate(run, n_draws=recipe.testing.draws)
    print(f"seed {seed}: mAP {report.average_of_draws.mean_average_precision:.3f}")
    return report


def _print_table(reports: dict[str, list[EvaluationReport]]) -> None:
    from timeception.cli.tables import show, table

    rows = []
    for head, found in reports.items():
        drawn = [report.average_of_draws for report in found]
        maps = [metrics.mean_average_precision for metrics in drawn]
        accuracies = [metrics.accuracy for metrics in drawn if metrics.accuracy is not None]
        even = [report.equidistant.mean_average_precision for report in found]
        rows.append((head, _spread(maps), _spread(even), _spread(accuracies)))
    first = reports[HEADS[0]][0]
    columns = ("head", f"mAP, {first.n_draws} draws", "mAP, uniform clip", "accuracy")
    n_seeds = len(reports[HEADS[0]])
    show(
        table(
            f"synthetic test videos ({first.n_videos}), mean over {n_seeds} seed(s)", columns, rows
        )
    )


def _spread(values: list[float]) -> str:
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}"


def _predict_one(run: Path, folder: Path) -> None:
    from timeception.cli.tables import print_predictions
    from timeception.clips.task_data import read_task_data
    from timeception.datasets.video_files import find_videos
    from timeception.inference.predictor import Predictor
    from timeception.training.runs import find_run

    record = read_task_data(find_run(run).recipe()).split("test").sampler.records[0]
    video = find_videos(folder)[record.video_id]
    print(f"true label: {', '.join(record.labels)}")
    print_predictions([Predictor.load(run)(video)], top=3)


def _say(step: int, text: str) -> None:
    print(f"\n[{step}/5] {text}", flush=True)
