"""Cross-validation: train and test a recipe on every fold, with several seeds.

OUT/cross_validation.json    folds, scores of every run, and the summary
OUT/fold_NAME/seed_N/        one run folder for each fold and seed
"""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold

from timeception import checks
from timeception.clips.dataset import read_records
from timeception.clips.task_data import clip_source
from timeception.datasets.groups import find_groups, stratification
from timeception.datasets.records import VideoDataset
from timeception.evaluation.scores import TestScores
from timeception.evaluation.tests import metric_of_tests, read_test, test_file
from timeception.evaluation.uncertainty import Interval, confidence_interval, resample
from timeception.files import write_json
from timeception.recipes.recipe import Recipe, build_recipe
from timeception.training.progress import OnProgress, ignore

RESULT_FILE = "cross_validation.json"
_PLACEHOLDERS = ("{fold}", "{group}")

ProgressOf = Callable[[str], OnProgress]


@dataclass(frozen=True)
class Fold:
    """One fold: its name and number, from 1, and the ids of its test videos."""

    name: str
    number: int
    test: tuple[str, ...]


@dataclass(frozen=True)
class CrossValidation:
    """Results of a cross-validation.

    Args:
        metric: name of the metric.
        values: the metric by fold and seed.
        interval: mean over folds and seeds, with its bootstrap interval over test videos.
    """

    metric: str
    values: dict[str, dict[int, float]]
    interval: Interval

    @property
    def fold_means(self) -> dict[str, float]:
        """Mean over seeds of each fold."""
        return {fold: mean(by_seed.values()) for fold, by_seed in self.values.items()}

    @property
    def seed_means(self) -> list[float]:
        """Mean over folds of each seed."""
        seeds = next(iter(self.values.values()))
        return [mean(by_seed[seed] for by_seed in self.values.values()) for seed in seeds]

    def to_dict(self) -> dict[str, Any]:
        """Return the results, for JSON."""
        folds, seeds = list(self.fold_means.values()), self.seed_means
        return {
            "metric": self.metric,
            "mean": self.interval.value,
            "interval": [self.interval.low, self.interval.high],
            "deviation_over_folds": stdev(folds) if len(folds) > 1 else None,
            "deviation_over_seeds": stdev(seeds) if len(seeds) > 1 else None,
            "folds": {fold: list(by_seed.values()) for fold, by_seed in self.values.items()},
        }


def make_folds(
    recipe: Recipe, n_folds: int | None = None, group: str | None = None
) -> tuple[Fold, ...]:
    """Divide the videos of a recipe into folds.

    Args:
        recipe: what to learn; its own split is ignored.
        n_folds: number of stratified folds. If the recipe names groups, no group is divided.
        group: leave one group out: name of the group, such as ``subject``; see ``data.group``.

    Raises:
        ValueError: unless exactly one of ``n_folds`` and ``group`` is given, if there are fewer
            videos or groups than folds, or if the videos have no such group.
    """
    one_way = (n_folds is None) != (group is None)
    checks.require(one_way, "folds, group", "be given one without the other", (n_folds, group))
    if group is not None:
        recipe = recipe.with_group(group)
    first = fold_recipe(recipe, Fold("1", 1, ()))
    dataset, _ = read_records(first.data, clip_source(first))
    return divide(dataset, first, n_folds, group)


def divide(
    dataset: VideoDataset, recipe: Recipe, n_folds: int | None, group: str | None
) -> tuple[Fold, ...]:
    """Divide the videos of a data set into folds, as ``make_folds`` does."""
    one_way = (n_folds is None) != (group is None)
    checks.require(one_way, "folds, group", "be given one without the other", (n_folds, group))
    data = (recipe if group is None else recipe.with_group(group)).data
    ids, labels = stratification(dataset)
    groups = None
    if data.group:
        named = find_groups(data.group, ids, data.source)
        groups = [named[video_id] for video_id in ids]
    if group is not None and groups is not None:
        names = sorted(set(groups))
        must = "divide the videos into at least two groups"
        checks.require(len(names) > 1, f"group {group!r}", must, names)
        splits = LeaveOneGroupOut().split(ids, labels, groups)
    else:
        limit = len(set(groups or ids))
        fits = n_folds is not None and 2 <= n_folds <= limit
        checks.require(fits, "folds", f"be 2 to {limit}, the number of groups or videos", n_folds)
        kind = StratifiedGroupKFold if groups else StratifiedKFold
        folds = kind(n_folds, shuffle=True, random_state=data.split.seed)
        with warnings.catch_warnings():  # a class with fewer videos than folds is not an error
            warnings.simplefilter("ignore", UserWarning)
            splits = list(folds.split(ids, labels, groups))
        names = [str(number) for number in range(1, len(splits) + 1)]
    return tuple(
        Fold(name, number, tuple(ids[index] for index in test))
        for number, (name, (_, test)) in enumerate(zip(names, splits, strict=True), start=1)
    )


def fold_recipe(recipe: Recipe, fold: Fold, seed: int | None = None) -> Recipe:
    """Return the recipe of one fold: its test videos, and ``{fold}``, ``{group}`` filled in.

    The placeholders may stand in ``data.bank``, ``data.source`` and ``data.videos``, for features
    that were learned on the training videos of each fold.
    """
    fields = recipe.model_dump(mode="json")
    data = fields["data"]
    for name in ("bank", "source", "videos"):
        if data[name] is not None:
            for placeholder, text in zip(_PLACEHOLDERS, (str(fold.number), fold.name), strict=True):
                data[name] = data[name].replace(placeholder, text)
    if fold.test:
        kept = {key: data["split"][key] for key in ("validation_fraction", "seed")}
        data["split"] = {"test": [escape(video_id) for video_id in fold.test], **kept}
    if seed is not None:
        fields["seed"] = seed
    return build_recipe(fields)


def cross_validate(
    recipe: Recipe,
    out: str | Path,
    folds: Sequence[Fold],
    *,
    n_seeds: int = 1,
    n_workers: int | None = None,
    report: Callable[[str], None] = lambda line: None,
    progress_of: ProgressOf | None = None,
) -> CrossValidation:
    """Train and test a recipe on every fold; continue what was interrupted.

    Args:
        recipe: data, model and settings.
        out: folder of the results.
        folds: from ``make_folds``.
        n_seeds: trainings per fold, with seeds ``recipe.seed``, ``recipe.seed + 1``, ...
        n_workers: trainings at once; ``None``: one per core, with one thread each.
        report: receives a line after each training.
        progress_of: returns what receives the progress of a training, given a title; it can be
            pickled if there are several workers.

    Raises:
        ValueError: if ``out`` holds runs of another recipe, or a training fails.
    """
    recipe.require_one_process("cross-validate")
    out = Path(out)
    seeds = range(recipe.seed, recipe.seed + n_seeds)
    jobs = {
        out / f"fold_{fold.name}" / f"seed_{seed}": fold_recipe(recipe, fold, seed)
        for fold in folds
        for seed in seeds
    }
    for number, root in enumerate(_completed(jobs, n_workers, progress_of), start=1):
        report(f"[{number}/{len(jobs)}] {root}")
    result = summarize(out, folds, seeds)
    content = {**result.to_dict(), "test_videos": {fold.name: fold.test for fold in folds}}
    write_json(out / RESULT_FILE, content)
    return result


def summarize(out: Path, folds: Sequence[Fold], seeds: Sequence[int]) -> CrossValidation:
    """Read the scores of all runs; return the metric of each, and the interval of their mean."""
    by_seed = [fold_scores(out, [fold.name for fold in folds], seed) for seed in seeds]
    files = [test_file(out / f"fold_{fold.name}" / f"seed_{seeds[0]}", "test") for fold in folds]
    name, metric, n_resamples = metric_of_tests(files, by_seed[0])
    values = {
        fold.name: {
            seed: metric(scores[index].scores, scores[index].targets)
            for seed, scores in zip(seeds, by_seed, strict=True)
        }
        for index, fold in enumerate(folds)
    }
    every_seed = [seed_stack([scores[i] for scores in by_seed]) for i in range(len(folds))]
    return CrossValidation(
        name, values, confidence_interval(resample(seed_mean(metric), every_seed, n_resamples))
    )


def fold_scores(out: Path, folds: Sequence[str], seed: int) -> list[TestScores]:
    """Read the test scores of each fold of one seed."""
    runs = [out / f"fold_{fold}" / f"seed_{seed}" for fold in folds]
    return [read_test(test_file(run, "test")) for run in runs]


def seed_stack(scores: Sequence[TestScores]) -> TestScores:
    """Stack the scores of several seeds on the same records: (n_records, n_seeds, n_classes)."""
    stacked = np.stack([one.scores for one in scores], axis=1)
    return TestScores(scores[0].classes, scores[0].records, stacked, scores[0].targets)


def seed_mean(metric: Callable[[Any, Any], float]) -> Callable[[Any, Any], float]:
    """Return the mean of a metric over the seeds of stacked scores."""
    return lambda scores, targets: float(
        np.mean([metric(scores[:, seed], targets) for seed in range(scores.shape[1])])
    )


def _completed(
    jobs: dict[Path, Recipe], n_workers: int | None, progress_of: ProgressOf | None
) -> Iterator[Path]:
    """Train and test every job; yield its folder when it is done."""
    n_workers = min(n_workers or os.cpu_count() or 1, len(jobs))
    if n_workers == 1:
        for root, recipe in jobs.items():
            _train_and_test(root, recipe, progress_of)
            yield root
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, _one_thread) as pool:
        started = {
            pool.submit(_train_and_test, root, job, progress_of): root for root, job in jobs.items()
        }
        try:
            for done in as_completed(started):
                done.result()
                yield started[done]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _train_and_test(root: Path, recipe: Recipe, progress_of: ProgressOf | None) -> None:
    """Train and test one fold, unless that is done."""
    from timeception.evaluation.evaluate import evaluate
    from timeception.evaluation.timelines import evaluate_timelines
    from timeception.training.runs import Run
    from timeception.training.train import train

    run = Run(root)
    if not run.is_finished:
        on_progress = progress_of(f"{root.parent.name}/{root.name}: ") if progress_of else ignore
        run = train(recipe, root, resume=run.recipe_file.exists(), on_progress=on_progress)
    elif run.recipe() != recipe.with_absolute_paths():
        raise ValueError(f"{root} was trained with another recipe. Choose another --out.")
    if (run.results / "test.json").is_file():
        return
    if recipe.is_timeline:
        evaluate_timelines(run)
    else:
        evaluate(run, n_draws=recipe.testing.draws)
