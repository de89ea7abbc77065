"""From a recipe to what is learned: classes, targets, and draws of each split's features."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.datasets.folder import from_folder
from timeception.datasets.names import from_names
from timeception.datasets.records import TimedDataset, VideoDataset
from timeception.datasets.splits import split_by_fraction, split_by_globs
from timeception.datasets.table import from_csv
from timeception.datasets.timed import read_timed
from timeception.datasets.windows import make_windows, step_edges_seconds
from timeception.features.bank import FeatureBank
from timeception.training.draws import FeatureDraws
from timeception.training.recipe import DataSection, Recipe, SplitSection, WindowSection

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subset:
    """Draws of one split's records, and their multi-hot targets (n_records, n_classes)."""

    draws: FeatureDraws
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.draws)


@dataclass(frozen=True)
class Problem:
    """What a recipe learns. ``left_out`` names the videos whose extraction failed."""

    classes: tuple[str, ...]
    is_multilabel: bool
    splits: dict[str, Subset]
    left_out: tuple[str, ...]

    @property
    def train(self) -> Subset:
        """The split to learn from."""
        return self.subset("train")

    @property
    def validation(self) -> Subset | None:
        """The split to choose a checkpoint by, if the recipe has one."""
        return self.splits.get("validation")

    def subset(self, name: str) -> Subset:
        """A split by name.

        Raises:
            ValueError: if there is none; the error names those there are.
        """
        return self.splits[checks.one_of("split", name, tuple(self.splits))]


def build_problem(recipe: Recipe) -> Problem:
    """Read the annotations and the bank that a recipe names.

    Raises:
        ValueError: if they are malformed or do not fit together. A video that the bank lacks is
            an error, unless the bank recorded that its extraction failed: then it is left out.
    """
    bank = FeatureBank(recipe.data.bank)
    dataset, left_out = read_dataset(recipe.data, bank)
    if left_out:
        logger.warning("%d video(s) have no features and are left out", len(left_out))
    splits = {}
    for name in dataset.splits:
        part = dataset.subset(name)
        draws = FeatureDraws(
            bank,
            part.records,
            recipe.sampling.n_timesteps,
            recipe.sampling.map_size,
            is_shuffled=recipe.sampling.order == "shuffled",
            seed=recipe.seed,
        )
        splits[name] = Subset(draws, part.targets())
    return Problem(dataset.classes, dataset.is_multilabel, splits, left_out)


def read_dataset(data: DataSection, bank: FeatureBank) -> tuple[VideoDataset, tuple[str, ...]]:
    """The records of a recipe's data section, split as it says, that ``bank`` has features of.

    Returns:
        The data set, and the ids of the videos left out because their extraction failed.
    """
    if data.kind == "timed":
        timed = read_timed(data.source).without_classes(data.exclude_classes)
        timed = timed.with_splits(_glob_splits(timed.video_ids, data.split))
        left_out = _without_features(timed.video_ids, bank)
        timed = replace(timed, videos=tuple(v for v in timed.videos if v.video_id not in left_out))
        dataset = _windowed(timed, data.windows, bank) if data.windows else timed.to_videos()
    else:
        dataset = _read_labelled(data, bank).without_classes(data.exclude_classes)
        if data.task is not None:
            dataset = replace(dataset, is_multilabel=data.task == "multi-label")
        dataset = dataset.with_splits(_glob_splits(dataset.video_ids, data.split))
        left_out = _without_features(dataset.video_ids, bank)
        kept = tuple(r for r in dataset.records if r.video_id not in left_out)
        dataset = replace(dataset, records=kept)
    return _random_splits(dataset, data.split), left_out


def _read_labelled(data: DataSection, bank: FeatureBank) -> VideoDataset:
    if data.kind == "folder":
        return from_folder(data.source)
    if data.kind == "csv":
        return from_csv(data.source)
    videos = sorted({*bank.video_ids, *bank.failures})
    return from_names(videos, data.pattern or "", data.source.name)


def _windowed(timed: TimedDataset, windows: WindowSection, bank: FeatureBank) -> VideoDataset:
    edges = {}
    for video_id in timed.video_ids:
        entry = bank[video_id]
        edges[video_id] = step_edges_seconds(entry.start_frames, entry.fps)
    return make_windows(
        timed, edges, windows.length_steps, windows.stride_steps, windows.min_overlap_steps
    )


def _glob_splits(video_ids: tuple[str, ...], split: SplitSection) -> dict[str, str]:
    globs = {"train": split.train, "validation": split.validation, "test": split.test}
    told = {name: patterns for name, patterns in globs.items() if patterns}
    return split_by_globs(video_ids, told) if told else {}


def _random_splits(dataset: VideoDataset, split: SplitSection) -> VideoDataset:
    """Set aside the random shares that the recipe asks for, the test share first."""
    shares = {"test": split.test_fraction, "validation": split.validation_fraction}
    for name, share in shares.items():
        if share:
            free = tuple(r for r in dataset.records if r.split in ("", "train"))
            drawn = split_by_fraction(replace(dataset, records=free), share, split.seed, name)
            dataset = dataset.with_splits(drawn)
    return dataset


def _without_features(video_ids: tuple[str, ...], bank: FeatureBank) -> tuple[str, ...]:
    missing = sorted(video for video in video_ids if video not in bank)
    unexplained = [video for video in missing if video not in bank.failures]
    if unexplained:
        shown = ", ".join(unexplained[:5]) + (", ..." if len(unexplained) > 5 else "")
        raise ValueError(
            f"bank {bank.root} has no features of {len(unexplained)} of {len(video_ids)} videos: "
            f"{shown}. Extract them, or take them out of the annotations."
        )
    return tuple(missing)
