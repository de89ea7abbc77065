"""Testing: each metric is computed once, over the whole split.

Two samplings are reported: the uniform clip of each record ("equidistant" in reports), and the mean
score over N random clips (10 by default), which is how the results of 2019 were made. A protocol
defines what is measured.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.task_data import Split, TaskData, read_task_data, read_video_task_data
from timeception.devices import default_device
from timeception.features.bank import FeatureBank
from timeception.files import write_json, write_text
from timeception.inference.model_features import check_model_bank
from timeception.inference.saved_model import Scorer, load_saved, torch_scorer
from timeception.metrics import (
    PROTOCOLS,
    accuracy,
    find_protocol,
    mean_average_precision,
    measure,
)
from timeception.recipes.recipe import Framework
from timeception.training.runs import Run

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """Metrics of one sampling; ``accuracy`` is ``None`` for multi-label data."""

    mean_average_precision: float
    accuracy: float | None
    average_precision: dict[str, float]


@dataclass(frozen=True)
class EvaluationReport:
    """What ``timeception test`` reports.

    ``protocols`` maps each protocol's name to its measurements of both samplings; ``bank`` is the
    bank that replaced the recipe's.
    """

    run: str
    split: str
    n_records: int
    n_videos: int
    n_draws: int
    equidistant: Metrics
    average_of_draws: Metrics
    protocols: dict[str, dict[str, dict[str, Any]]]
    classes_without_positives: list[str]
    left_out: list[str]
    bank: str | None = None

    @property
    def stem(self) -> str:
        """Name of the result files, without suffix."""
        return self.split if self.bank is None else f"{self.split}_on_{Path(self.bank).name}"

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> EvaluationReport:
        """Build a report from the fields of ``to_dict``."""
        samplings = ("equidistant", "average_of_draws")
        return cls(**fields | {name: Metrics(**fields[name]) for name in samplings})

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it; the bank only if it is not the recipe's."""
        return {key: value for key, value in asdict(self).items() if key != "bank" or value}


def score_split(scorer: Scorer, split: Split, clip_index: int | None, batch_size: int) -> Scores:
    """Score one clip of every record, (n_records, n_classes); ``None`` is the uniform clip."""
    parts = [scorer(clips) for _, clips in split.sampler.batches(clip_index, batch_size)]
    return np.concatenate(parts).astype(np.float64)


def evaluate(
    run: Run,
    scorer: Scorer | None = None,
    *,
    n_draws: int,
    split: str = "test",
    protocols: Sequence[str] = (),
    framework: Framework | None = None,
    bank: str | Path | None = None,
    device: str | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> EvaluationReport:
    """Score a split of the run's data; write ``results/SPLIT.json`` and ``SPLIT_scores.csv``.

    With ``bank``, the files are ``SPLIT_on_BANK.json`` and ``SPLIT_on_BANK_scores.csv``.

    Args:
        run: a finished run.
        scorer: function from clips to probabilities; ``None`` loads the run's model.
        n_draws: number of random clips of each record whose scores are averaged.
        split: ``test``, ``validation`` or ``train``.
        protocols: names of ``timeception.metrics.PROTOCOLS``; empty uses the recipe's.
        framework: framework that scores; ``None`` uses the one of training.
        bank: bank of the same videos that replaces the recipe's; its features must be of the same
            kind as those of training.
        device: device of the network, such as ``cuda``; ``None`` uses the CPU for a head, and a
            GPU, if there is one, for a backbone.
        track: wraps the indices of the random clips, to show progress.

    Raises:
        ValueError: if the split does not exist, a protocol is unknown or is for another task, or
            the features of ``bank`` are of another kind.
    """
    recipe = run.recipe()
    data, own_scorer = load_for_testing(run, framework, bank, device)
    scorer = scorer or own_scorer
    names = protocols or [recipe.protocol(data.is_multilabel)]
    for name in names:
        _check_protocol(name, data.is_multilabel)
    chosen, batch_size = data.split(split), recipe.testing.batch_size
    uniform = score_split(scorer, chosen, None, batch_size)
    total = np.zeros_like(uniform)
    for clip_index in track(range(n_draws)):
        total += score_split(scorer, chosen, clip_index, batch_size)
    average = total / n_draws
    positives = zip(data.classes, chosen.targets.sum(axis=0), strict=True)
    report = EvaluationReport(
        run=str(run.root),
        split=split,
        n_records=len(chosen),
        n_videos=len({record.video_id for record in chosen.sampler.records}),
        n_draws=n_draws,
        equidistant=_metrics(uniform, chosen, data),
        average_of_draws=_metrics(average, chosen, data),
        protocols={
            name: {
                sampling: measure(name, scores, chosen.targets, data.classes).to_dict()
                for sampling, scores in (("equidistant", uniform), ("average_of_draws", average))
            }
            for name in names
        },
        classes_without_positives=[name for name, count in positives if not count],
        left_out=list(data.left_out),
        bank=None if bank is None else str(bank),
    )
    write_text(
        run.results / f"{report.stem}_scores.csv", scores_table(chosen, data.classes, average)
    )
    write_json(run.results / f"{report.stem}.json", report.to_dict())
    return report


def load_for_testing(
    run: Run,
    framework: Framework | None = None,
    bank: str | Path | None = None,
    device: str | None = None,
) -> tuple[TaskData, Scorer]:
    """Return the data of a finished run, without augmentation, and the function that scores it.

    A run that was trained end to end scores frames through its backbone, others score features.

    Raises:
        ValueError: if an end-to-end run is to be tested with another framework than PyTorch or on
            a bank, or if the bank's features are of another kind than those of training.
    """
    recipe = run.recipe()
    advice = "It reads video files, with the backbone that was trained."
    is_valid = bank is None or not recipe.is_end_to_end
    checks.require(is_valid, "bank", f"be left out for {run.root}", str(bank), advice)
    framework = framework or recipe.framework
    if recipe.is_end_to_end and framework != "torch":
        raise ValueError(
            f"{run.root} was trained end to end with its backbone, which runs in PyTorch; "
            f"got framework {framework!r}. Pass --framework torch."
        )
    if recipe.is_end_to_end and device is None:
        device = default_device()
    saved = load_saved(run.root, framework, device)
    if not recipe.is_end_to_end:
        if bank is not None:
            check_model_bank(saved, FeatureBank(bank))
        return read_task_data(recipe, None if bank is None else Path(bank)), saved.score
    from timeception.backbones.video_classifier import VideoClassifier

    backbone = saved.backbone()
    data = read_video_task_data(recipe, backbone.transform, is_augmented=False)
    size = recipe.end_to_end.segments_per_pass
    model = VideoClassifier(backbone, saved.head, saved.map_size, segments_per_pass=size)
    return data, torch_scorer(model.to(device or "cpu"), saved.is_multilabel)


def _metrics(scores: Scores, split: Split, data: TaskData) -> Metrics:
    result = mean_average_precision(scores, split.targets, data.classes)
    correct = None if data.is_multilabel else accuracy(scores, split.targets)
    return Metrics(result.mean, correct, result.per_class)


def _check_protocol(name: str, is_multilabel: bool) -> None:
    find_protocol(name)  # loads plug-ins if the name is not built in
    fitting = [key for key, known in PROTOCOLS.items() if known.is_multilabel == is_multilabel]
    task = "multi-label" if is_multilabel else "single-label"
    checks.one_of("protocol", name, fitting, f"These are for {task} data.")


def scores_table(split: Split, classes: Iterable[str], scores: Scores) -> str:
    """Return a CSV with one row per record: its name, its true labels, one score per class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["record", "labels", *classes])
    for record, row in zip(split.sampler.records, scores, strict=True):
        writer.writerow([record.key, ";".join(record.labels), *(f"{score:.6f}" for score in row)])
    return text.getvalue()
