"""What the options of training change: losses on rare classes, regularisers on few videos.

    python benchmarks/options.py losses GTEA OUT
    python benchmarks/options.py regularisers BANK OUT

``losses`` takes the features of GTEA by Lea et al. (folders split_1 to split_4): windows of its
kitchen videos, three classes thinned to a quarter of their training windows, one subject left out,
12 epochs. ``regularisers`` takes a bank of EgoGestAR that the recipe egogestar extracted, tests on
the serial numbers divisible by 5, and trains on the others with clips of 16 timesteps, 20 epochs.
Finished runs are kept, so the same command continues an interrupted one.
``--set`` changes fields of the recipe.

Prints Markdown: the mean over seeds with its 95 % interval over test videos, and the paired
difference to the plain recipe.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from timeception.datasets.windows import window_starts
from timeception.evaluation.comparison import compare
from timeception.evaluation.cross_validation import Fold, cross_validate, fold_scores
from timeception.features.bank import FeatureBank
from timeception.metrics import mean_average_precision
from timeception.recipes.recipe import Recipe, apply_overrides, load_recipe

LENGTH, STRIDE = 256, 64
#: Classes of one or two activities, and the share of their training windows that is kept.
THINNED, KEPT_SHARE = ("2", "7", "8"), 1 / 4

LOSSES = {
    "bce (the default)": [],
    "bce, balanced weights": ["training.class_weights=balanced"],
    "focal": ["training.loss=focal"],
    "asymmetric": ["training.loss=asymmetric"],
}
REGULARISERS = {
    "plain": [],
    "mixup 0.2": ["training.mixup=0.2"],
    "label smoothing 0.1": ["training.label_smoothing=0.1"],
    "ema_decay 0.99": ["training.ema_decay=0.99"],
    "speed 0.3": ["augmentation.speed=0.3"],
    "jitter_steps 0.5": ["augmentation.jitter_steps=0.5"],
    "drop 0.2": ["augmentation.drop=0.2"],
}


def write_windows(data: Path, out: Path) -> list[str]:
    """Write a bank and a table of windows for each fold; return the test windows' subjects."""
    subjects = [f"S{fold}" for fold in range(1, 5)]
    for fold, subject in enumerate(subjects, start=1):
        table = out / f"{fold}.csv"
        if table.is_file():
            continue
        bank = FeatureBank(out / f"bank_{fold}", mode="a", dtype="float32")
        windows = list(_windows(data / f"split_{fold}", bank))
        rng = np.random.default_rng(fold)
        rows = []
        for name, labels in windows:
            is_test = name.startswith(f"{subject}_")
            is_rare = bool(set(labels) & set(THINNED))
            if is_test or not is_rare or rng.random() < KEPT_SHARE:
                rows.append((f"{name}.mp4", ";".join(labels), "test" if is_test else "train"))
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("path", "labels", "split"), *rows])
    return subjects


def _windows(folder: Path, bank: FeatureBank) -> Iterator[tuple[str, list[str]]]:
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            features, labels = arrays["features"], arrays["frame_labels"]
        for start in window_starts(len(features), LENGTH, STRIDE).tolist():
            stop, name = start + LENGTH, f"{path.stem}_at_{start:05d}"
            steps = features[start:stop, :, None, None].astype(np.float32)
            bank.write(name, steps, np.arange(len(steps)), 15.0)
            yield name, [str(label) for label in np.unique(labels[start:stop]) if label]


def gtea_recipe(out: Path) -> Recipe:
    """The recipe gtea, on windows that are records by themselves."""
    data = ["data.kind=csv", f"data.source={out}/{{fold}}.csv", f"data.bank={out}/bank_{{fold}}"]
    data += [
        "training.epochs=12",
        "data.windows=null",
        "data.group=null",
        "data.n_classes=null",
        "data.split={}",
    ]
    return load_recipe("gtea", [*data, "data.task=multi-label"])


def run_losses(data: Path, out: Path, n_seeds: int, n_workers: int, changes: list[str]) -> None:
    """Train every loss on thinned classes, and print the table."""
    out.mkdir(parents=True, exist_ok=True)
    subjects = write_windows(data, out)
    recipe = apply_overrides(gtea_recipe(out), changes)
    folds = []
    for number, subject in enumerate(subjects, start=1):
        ids = FeatureBank(out / f"bank_{number}").video_ids
        test = tuple(name for name in ids if name.startswith(f"{subject}_"))
        folds.append(Fold(subject, number, test))
    roots = run_all(LOSSES, recipe, folds, out, n_seeds, n_workers)
    names = [fold.name for fold in folds]
    print("| loss | mAP | minus default | AP of thinned classes | AP of the others |")
    print("|---|---|---|---|---|")
    for name, row in rows_of(roots):
        rare, others = [], []
        for seed in range(n_seeds):
            for scores in fold_scores(roots[name], names, seed):
                found = mean_average_precision(scores.scores, scores.targets, scores.classes)
                for label, value in found.per_class.items():
                    (rare if label in THINNED else others).append(value)
        print(f"| {name} | {row} | {np.nanmean(rare):.3f} | {np.nanmean(others):.3f} |")


def run_regularisers(
    bank: Path, out: Path, n_seeds: int, n_workers: int, changes: list[str]
) -> None:
    """Train every regulariser on fold 0 of EgoGestAR, and print the table."""
    fast = ["sampling.n_timesteps=16", "training.epochs=20"]
    recipe = load_recipe("egogestar", [f"data.bank={bank}", f"data.source={bank}", *fast, *changes])
    test = tuple(name for name in FeatureBank(bank).video_ids if fnmatchcase(name, "*[05]"))
    roots = run_all(REGULARISERS, recipe, [Fold("0", 1, test)], out, n_seeds, n_workers)
    print("| regulariser | accuracy | minus plain |")
    print("|---|---|---|")
    for name, row in rows_of(roots):
        print(f"| {name} | {row} |")


def run_all(
    variants: dict[str, list[str]],
    recipe: Recipe,
    folds: list[Fold],
    out: Path,
    n_seeds: int,
    n_workers: int,
) -> dict[str, Path]:
    """Cross-validate every variant; return its folder by name."""
    roots = {}
    for number, (name, words) in enumerate(variants.items()):
        roots[name] = out / f"variant_{number}"
        changed = apply_overrides(recipe, words)
        cross_validate(changed, roots[name], folds, n_seeds=n_seeds, n_workers=n_workers)
    return roots


def rows_of(roots: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield each variant with its value and its difference to the first one."""
    found = compare(list(roots.values()))
    first = str(next(iter(roots.values())))
    for name, root in roots.items():
        value = found.intervals[str(root)]
        text = f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}] | "
        if str(root) != first:
            difference = found.differences[first, str(root)]
            gap = difference.interval
            text += f"{-gap.value:+.3f} [{-gap.high:+.3f}, {-gap.low:+.3f}]"
        yield name, text


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("losses", "regularisers"))
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", dest="changes")
    words = parser.parse_args()
    run = run_losses if words.what == "losses" else run_regularisers
    run(words.data.absolute(), words.out.absolute(), words.seeds, words.workers, words.changes)


if __name__ == "__main__":
    main()
