"""What a recipe learns: classes, and the clips and targets of each split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.augmentation import NO_AUGMENTATION, Augmentation
from timeception.clips.dataset import read_dataset
from timeception.clips.sampler import (
    ClipSampler,
    ClipSource,
    Preparation,
    PrepareFeatures,
    PrepareFrames,
)
from timeception.clips.temporal_augmentation import (
    NO_TEMPORAL_AUGMENTATION,
    TemporalAugmentation,
)
from timeception.clips.video_store import VideoStore
from timeception.datasets.video_files import find_videos
from timeception.features.bank import FeatureBank
from timeception.features.comparison import (
    Traits,
    map_words,
    recorded_traits,
    require_traits,
    spacing,
)
from timeception.features.extraction.settings import has_2019_segments
from timeception.recipes.recipe import Recipe
from timeception.video import Transform

_MEGABYTE = 2**20
_MAX_RECORDS = 256  # records that a median is taken over


@dataclass(frozen=True)
class Split:
    """Clips of the records of one split, and their multi-hot targets (n_records, n_classes)."""

    sampler: ClipSampler
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.sampler)


@dataclass(frozen=True)
class TaskData:
    """Data of one task.

    Args:
        classes: names, in the order of the scores.
        is_multilabel: whether a record can have none, one or several classes.
        splits: splits by name.
        left_out: ids of videos that are missing or could not be read.
        features: settings of the bank; empty if training reads video files.
    """

    classes: tuple[str, ...]
    is_multilabel: bool
    splits: dict[str, Split]
    left_out: tuple[str, ...]
    features: dict[str, Any]

    @property
    def train(self) -> Split:
        """The split to learn from."""
        return self.split("train")

    @property
    def validation(self) -> Split | None:
        """The split to choose a checkpoint by, if the recipe has one."""
        return self.splits.get("validation")

    def split(self, name: str) -> Split:
        """Return a split.

        Raises:
            ValueError: if there is no split of this name; the error lists those that exist.
        """
        return self.splits[checks.one_of("split", name, tuple(filter(None, self.splits)))]


def read_task_data(
    recipe: Recipe, bank: Path | None = None, *, is_augmented: bool = False
) -> TaskData:
    """Read the annotations and the features that a recipe names.

    Args:
        recipe: what to learn.
        bank: bank that replaces the recipe's.
        is_augmented: augment the clips of the training split as the recipe says.

    Raises:
        ValueError: if annotations or features are malformed, or do not fit together. A video
            without features is an error, unless its extraction failed or the recipe has
            ``data.skip_missing``: then it is left out.
    """
    source = FeatureBank(bank or recipe.data.bank or "")
    sampling = recipe.sampling
    prepare = PrepareFeatures(sampling.map_size, sampling.center)
    data = _read(recipe, source, lambda split: prepare, is_augmented)
    return replace(data, features=dict(source.settings))


def read_video_task_data(
    recipe: Recipe, transform: Transform, *, is_augmented: bool = True
) -> TaskData:
    """Read the annotations and the video files that an end-to-end recipe names.

    Args:
        recipe: a recipe with ``training.scheme=end_to_end``.
        transform: the backbone's preprocessing.
        is_augmented: augment the clips of the training split as the recipe says.

    Raises:
        ValueError: as ``read_task_data``, for files instead of features.
    """
    settings = recipe.end_to_end
    augmentation = Augmentation(settings.crop == "random", settings.flip, settings.colour)

    def preparation(split: str) -> PrepareFrames:
        is_changed = is_augmented and split == "train"
        return PrepareFrames(transform, augmentation if is_changed else NO_AUGMENTATION)

    return _read(recipe, video_store(recipe, transform), preparation, is_augmented)


def video_store(recipe: Recipe, transform: Transform) -> VideoStore:
    """Return the video files of an end-to-end recipe.

    Raises:
        ValueError: if the recipe names no videos or no backbone.
    """
    backbone, data = recipe.backbone, recipe.data
    if backbone is None or data.videos is None:
        raise ValueError("end-to-end training requires data.videos and a backbone section.")
    return VideoStore(
        data.videos,
        find_videos(data.videos),
        backbone.frames_per_segment,
        backbone.stride_frames,
        transform,
        recipe.end_to_end.cache_megabytes * _MEGABYTE,
        backbone.fps,
    )


def clip_source(recipe: Recipe) -> ClipSource:
    """Return the videos that a recipe reads: its bank, or its video files."""
    if recipe.is_end_to_end:
        return video_store(recipe, Transform())
    return FeatureBank(recipe.data.bank or "")


def timestep_seconds(sampler: ClipSampler) -> float:
    """Median time from one timestep of a clip to the next, over records spread evenly."""
    indices = np.unique(np.linspace(0, len(sampler) - 1, _MAX_RECORDS).astype(int))
    spans = [sampler.span_seconds(index) for index in indices.tolist()]
    return float(np.median(spans)) / sampler.n_timesteps


def _read(
    recipe: Recipe,
    source: ClipSource,
    preparation: Callable[[str], Preparation],
    is_augmented: bool,
) -> TaskData:
    """Read the recipe's data set, and make a sampler for each of its splits."""
    dataset, left_out = read_dataset(recipe.data, source)
    augmentation = TemporalAugmentation(**recipe.augmentation.model_dump())
    splits = {}
    for name in dataset.splits:
        part = dataset.subset(name)
        sampler = ClipSampler(
            source,
            part.records,
            recipe.sampling.clip_timesteps,
            preparation(name),
            is_shuffled=recipe.sampling.order == "shuffled",
            seed=recipe.seed,
            augmentation=augmentation
            if is_augmented and name == "train"
            else NO_TEMPORAL_AUGMENTATION,
        )
        splits[name] = Split(sampler, part.targets())
    return TaskData(dataset.classes, dataset.is_multilabel, splits, left_out, {})


def check_bank(recipe: Recipe, data: TaskData) -> None:
    """Check that the features are those of the recipe's backbone section.

    What an imported bank does not record is not checked, and neither is a map that
    ``sampling.map_size`` averages.

    Raises:
        ValueError: if they differ; the error lists both sides of every difference.
    """
    section = recipe.backbone
    if section is None:
        return
    sampler = data.train.sampler
    source, first = sampler.source, sampler.video_ids[0]
    _, channels, *size = source.draw(first, 1).shape
    has = {**recorded_traits(data.features), "channels": str(channels)}
    wanted: Traits = {"channels": None if section.channels is None else str(section.channels)}
    if data.features.get("backbone"):
        has["map size"] = map_words(size)
        has["timesteps"] = None if has_2019_segments(data.features) else has["timesteps"]
        wanted |= {
            "map size": None if recipe.sampling.map_size else map_words(section.map_size),
            "endpoint": section.endpoint,
            "timesteps": spacing(section.stride_frames, section.fps, {}),
            "precision": section.precision,
        }
    advice = (
        f"Extract again with `timeception extract VIDEOS --out NEW_BANK --recipe RECIPE` "
        f"({section.name}), or change backbone.* of the recipe to what the bank holds."
    )
    require_traits(
        f"data.bank={source.root}", "the bank", has, "the recipe's backbone", wanted, advice
    )
