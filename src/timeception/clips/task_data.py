"""From a recipe to what is learned: classes, targets, and draws of each split's videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.augmentation import NO_AUGMENTATION, Augmentation
from timeception.clips.dataset import read_dataset
from timeception.clips.sampler import FeatureDraws
from timeception.clips.video_store import FrameDraws, FrameStore
from timeception.datasets.records import VideoDataset, VideoRecord
from timeception.datasets.video_files import find_videos
from timeception.features.bank import FeatureBank
from timeception.recipes.recipe import Recipe
from timeception.video import Transform

_MEGABYTE = 2**20
_MOST_RECORDS = 256  # that a median is taken of


class Draws(Protocol):
    """Clips of fixed length, axis 0 time and axis 1 channels."""

    @property
    def records(self) -> tuple[VideoRecord, ...]:
        """What the clips are drawn from."""

    @property
    def n_timesteps(self) -> int:
        """Timesteps of a clip."""

    def __len__(self) -> int:
        """Number of records."""

    def draw(self, index: int, number: int | None) -> NDArray[np.float32]:
        """A clip of one record; ``number`` is the random draw's, ``None`` the equidistant one."""

    def span_seconds(self, index: int) -> float:
        """How long the stretch is that a record's clips are spread over."""

    def shape(self) -> tuple[int, int, int, int]:
        """Shape of every clip."""

    def batches(
        self, number: int | None, batch_size: int
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """All records in order, a batch at a time."""


@dataclass(frozen=True)
class Subset:
    """Draws of one split's records, and their multi-hot targets (n_records, n_classes)."""

    draws: Draws
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.draws)


@dataclass(frozen=True)
class Problem:
    """What a recipe learns.

    Args:
        classes: names, in the order of the scores.
        is_multilabel: whether a record may have other than one class.
        splits: by name.
        left_out: videos that are missing, or whose extraction failed.
        features: settings of the bank; empty where training sees frames.
    """

    classes: tuple[str, ...]
    is_multilabel: bool
    splits: dict[str, Subset]
    left_out: tuple[str, ...]
    features: dict[str, Any]

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


def build_problem(recipe: Recipe, bank: Path | None = None) -> Problem:
    """Read the annotations and the features that a recipe names.

    Args:
        recipe: what to learn.
        bank: features, in place of the recipe's own.

    Raises:
        ValueError: if they are malformed or do not fit together. A video that the bank lacks is
            an error, unless the bank recorded that its extraction failed or the recipe has
            ``data.skip_missing``: then it is left out.
    """
    features = FeatureBank(bank or recipe.data.bank or "")
    dataset, left_out = read_dataset(recipe.data, features)

    def draws(part: VideoDataset) -> FeatureDraws:
        return FeatureDraws(
            features,
            part.records,
            recipe.sampling.n_timesteps,
            recipe.sampling.map_size,
            is_shuffled=recipe.sampling.order == "shuffled",
            seed=recipe.seed,
        )

    splits = {name: _subset(draws, dataset, name) for name in dataset.splits}
    problem = Problem(
        dataset.classes, dataset.is_multilabel, splits, left_out, dict(features.settings)
    )
    _check_channels(recipe, problem, features.root)
    return problem


def build_video_problem(
    recipe: Recipe, transform: Transform, *, is_augmented: bool = True
) -> Problem:
    """Read the annotations and the video files that an end-to-end recipe names.

    Args:
        recipe: with ``training.scheme=end_to_end``.
        transform: the backbone's preprocessing.
        is_augmented: change the training split's clips as the recipe says.

    Raises:
        ValueError: as ``build_problem``, of files instead of features.
    """
    backbone, settings, data = recipe.backbone, recipe.end_to_end, recipe.data
    if backbone is None or data.videos is None:
        raise ValueError("end-to-end training needs data.videos and a backbone section.")
    store = FrameStore(
        data.videos,
        find_videos(data.videos),
        backbone.frames_per_segment,
        backbone.stride_frames,
        transform,
        settings.cache_megabytes * _MEGABYTE,
    )
    dataset, left_out = read_dataset(data, store)
    changes = Augmentation(settings.crop == "random", settings.flip, settings.colour)
    augmentation = changes if is_augmented else NO_AUGMENTATION

    def draws(part: VideoDataset) -> FrameDraws:
        return FrameDraws(
            store,
            part.records,
            recipe.sampling.n_timesteps,
            is_shuffled=recipe.sampling.order == "shuffled",
            seed=recipe.seed,
            augmentation=augmentation if part.splits == ("train",) else NO_AUGMENTATION,
        )

    splits = {name: _subset(draws, dataset, name) for name in dataset.splits}
    return Problem(dataset.classes, dataset.is_multilabel, splits, left_out, {})


def timestep_seconds(draws: Draws) -> float:
    """Time from one timestep of a clip to the next: the median over records spread over all."""
    records = np.unique(np.linspace(0, len(draws) - 1, _MOST_RECORDS).astype(int))
    spans = [draws.span_seconds(record) for record in records.tolist()]
    return float(np.median(spans)) / draws.n_timesteps


def _subset(draws: Any, dataset: VideoDataset, name: str) -> Subset:
    part = dataset.subset(name)
    return Subset(draws(part), part.targets())


def _check_channels(recipe: Recipe, problem: Problem, bank: Path) -> None:
    """Features of another backbone than the recipe's are told by their channels."""
    told = recipe.backbone and recipe.backbone.channels
    if not told or recipe.backbone is None:
        return
    channels = problem.train.draws.shape()[1]
    checks.require(
        channels == told,
        "data.bank",
        f"hold features of {told} channels, as {recipe.backbone.name} makes them",
        f"{channels} channels in {bank}",
        "Extract with the recipe's backbone, or override backbone.*.",
    )
