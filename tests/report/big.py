"""A tested run of any size, made by hand: a recipe, a saved model, results and logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.training.small_runs import finished_run, small_recipe, write_data
from timeception.evaluation.evaluate import EvaluationReport, Metrics
from timeception.files import write_json, write_text
from timeception.metrics import accuracy, mean_average_precision
from timeception.training.runs import Run


def made_run(
    root: Path, classes: tuple[str, ...], n_videos: int, *, is_multilabel: bool, seed: int = 0
) -> Run:
    """Make a run whose results have random scores, higher for true classes."""
    rng = np.random.default_rng(seed)
    data = root / "data"
    if not data.exists():
        write_data(data, [("t0", "a", "train"), ("t1", "b", "test")])
    task = "multi-label" if is_multilabel else "single-label"
    run = finished_run(root / f"run{seed}", small_recipe(data), classes, task)
    truth = np.random.default_rng(7)
    targets = np.eye(len(classes))[np.arange(n_videos) % len(classes)]
    if is_multilabel:
        targets = np.maximum(targets, truth.random(targets.shape) < 0.04)
    scores = np.clip(rng.random(targets.shape) * 0.8 + 0.3 * targets, 0, 1)
    result = mean_average_precision(scores, targets, classes)
    correct = None if is_multilabel else accuracy(scores, targets)
    metrics = Metrics(result.mean, correct, result.per_class)
    report = EvaluationReport(
        str(run.root), "test", n_videos, n_videos, 10, metrics, metrics, {}, [], []
    )
    write_json(run.results / "test.json", report.to_dict())
    lines = [",".join(["record", "labels", *map(_quoted, classes)])]
    for number, (row, target) in enumerate(zip(scores, targets, strict=True)):
        labels = ";".join(classes[index] for index in np.flatnonzero(target))
        values = [f"{value:.6f}" for value in row]
        lines.append(",".join([f"video_{number:04d}", _quoted(labels), *values]))
    write_text(run.results / "test_scores.csv", "\n".join(lines) + "\n")
    losses = "\n".join(f"{epoch},{epoch},{1 / (1 + epoch)}" for epoch in range(20))
    write_text(run.logs / "part_1" / "metrics.csv", f"epoch,step,train_loss\n{losses}\n")
    return run


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
