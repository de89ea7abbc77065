"""Whole videos with a target for each timestep: what a localizer learns from."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.dataset import read_dataset
from timeception.clips.task_data import TaskData
from timeception.clips.temporal_augmentation import (
    NO_TEMPORAL_AUGMENTATION,
    TemporalAugmentation,
)
from timeception.datasets.records import TimedVideo
from timeception.datasets.registry import read_timed_videos
from timeception.features.bank import FeatureBank
from timeception.features.maps import average_maps
from timeception.metrics.timelines import VideoTimeline
from timeception.recipes.recipe import Recipe

Floats = NDArray[np.float32]


def step_targets(
    video: TimedVideo, classes: Sequence[str], edges: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return which classes hold at the middle of each step.

    Args:
        video: actions with their times.
        classes: names, in the order of the columns.
        edges: start of each step and end of the last one in seconds, (S + 1,).

    Shape:
        (S, n_classes), 1 where start <= middle < end of an action of the class.

    Example:
        >>> from timeception.datasets.records import Interval
        >>> video = TimedVideo("v", (Interval("cut", 1.0, 2.6),))
        >>> step_targets(video, ["cut"], np.arange(5.0))[:, 0].tolist()
        [0.0, 1.0, 1.0, 0.0]
    """
    middles = (edges[:-1] + edges[1:]) / 2
    index = {name: column for column, name in enumerate(classes)}
    targets = np.zeros((len(middles), len(classes)), np.float32)
    for interval in video.intervals:
        holds = (interval.start_seconds <= middles) & (middles < interval.end_seconds)
        targets[holds, index[interval.label]] = 1
    return targets


@dataclass(frozen=True)
class TimelineSampler:
    """Samples videos with a target for each timestep.

    Args:
        source: features of the videos.
        videos: ids and timed actions.
        classes: names, in the order of the scores.
        is_multilabel: whether a step has any number of classes; otherwise it has one.
        background: class of the steps without an action, if steps have one class.
        stride_steps: distance of the timesteps that are used, in steps of the bank.
        n_timesteps: length of a random part in training; ``None`` takes whole videos.
        map_size: height and width that the maps are averaged down to.
        augmentation: changes random samples in time.
        seed: seed of all random samples.
    """

    source: FeatureBank
    videos: tuple[TimedVideo, ...]
    classes: tuple[str, ...]
    is_multilabel: bool
    background: str | None = None
    stride_steps: int = 1
    n_timesteps: int | None = None
    map_size: tuple[int, int] | None = None
    augmentation: TemporalAugmentation = NO_TEMPORAL_AUGMENTATION
    seed: int = 0

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of the videos."""
        return tuple(video.video_id for video in self.videos)

    @cached_property
    def _known_targets(self) -> dict[int, Floats]:
        return {}

    def steps(self, index: int, clip_index: int | None) -> NDArray[np.int64]:
        """Return the steps of the bank that a sample takes.

        ``None`` takes every ``stride_steps``-th step from the first on. A random sample begins at
        a random one of the first steps; if ``n_timesteps`` is set, it is a random part.
        """
        n_steps, stride = self.source.file(self.videos[index].video_id).shape[0], self.stride_steps
        if clip_index is None:
            return np.arange(0, n_steps, stride)
        rng = self._rng(index, clip_index)
        chosen = np.arange(int(rng.integers(min(stride, n_steps))), n_steps, stride)
        if self.n_timesteps is not None and len(chosen) > self.n_timesteps:
            first = int(rng.integers(len(chosen) - self.n_timesteps + 1))
            chosen = chosen[first : first + self.n_timesteps]
        return chosen[self.augmentation.indices(len(chosen), rng)]

    def sample(self, index: int, clip_index: int | None) -> tuple[Floats, Floats]:
        """Sample a video: features (T, C, H, W) and targets (T, n_classes), both float32."""
        steps = self.steps(index, clip_index)
        features = np.asarray(
            self.source.file(self.videos[index].video_id).features(steps), dtype=np.float32
        )
        if self.map_size is not None:
            features = average_maps(features, self.map_size)
        return features, self.targets(index)[steps]

    def targets(self, index: int) -> Floats:
        """Return the targets of all steps of a video, (S, n_classes).

        Raises:
            ValueError: if a step does not have exactly one class although it must.
        """
        if index not in self._known_targets:
            video = self.videos[index]
            edges = self.source.edges_seconds(video.video_id)
            targets = step_targets(video, self.classes, edges)
            if not self.is_multilabel:
                self._complete(video.video_id, targets, edges)
            self._known_targets[index] = targets
        return self._known_targets[index]

    def _complete(self, video_id: str, targets: Floats, edges: NDArray[np.float64]) -> None:
        """Give the background to steps without a class, and refuse those with several."""
        counts = targets.sum(axis=1)
        if self.background is not None:
            targets[counts == 0, self.classes.index(self.background)] = 1
            counts = targets.sum(axis=1)
        wrong = np.flatnonzero(counts != 1)
        if not len(wrong):
            return
        step = int(wrong[0])
        found = [self.classes[c] for c in np.flatnonzero(targets[step])]
        advice = "Set data.background for steps without an action, or data.step_labels=several."
        where = f"step {step} of {video_id} ({edges[step]:.2f} s)"
        checks.require(False, where, "have one class", found, advice)

    def timeline(self, index: int, scores: NDArray[Any]) -> VideoTimeline:
        """Return scores (T, n_classes) of a whole video with their times and the truth."""
        video, steps = self.videos[index], self.steps(index, None)
        edges = self.source.edges_seconds(video.video_id)
        starts = edges[:-1][steps]
        column = {name: number for number, name in enumerate(self.classes)}
        return VideoTimeline(
            video.video_id,
            np.asarray(scores, dtype=np.float64),
            self.targets(index)[steps] > 0,
            starts,
            np.append(starts[1:], edges[-1]),
            tuple((column[i.label], i.start_seconds, i.end_seconds) for i in video.intervals),
            float(video.duration_seconds or edges[-1]),
        )

    def step_seconds(self) -> float:
        """Median time from one timestep to the next, over the videos."""
        edges = (self.source.edges_seconds(video.video_id) for video in self.videos)
        return self.stride_steps * float(np.median([np.median(np.diff(each)) for each in edges]))

    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W) of the first video."""
        n_steps, *shape = self.source.file(self.videos[0].video_id).shape
        height, width = self.map_size or shape[1:]
        return -(-n_steps // self.stride_steps), shape[0], height, width

    def statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of each channel over all videos, both (C,)."""
        n, total, squares = 0, 0.0, 0.0
        for index in range(len(self)):
            values = self.sample(index, None)[0].astype(np.float64)
            n += values.size // values.shape[1]
            total = total + values.sum(axis=(0, 2, 3))
            squares = squares + np.square(values).sum(axis=(0, 2, 3))
        mean = np.asarray(total / n)
        deviation = np.sqrt(np.maximum(np.asarray(squares / n) - mean**2, 0))
        return mean, np.where(deviation > 0, deviation, 1.0)

    def _rng(self, index: int, clip_index: int) -> np.random.Generator:
        name = zlib.crc32(self.videos[index].video_id.encode())
        return np.random.default_rng([self.seed, clip_index, name])


@dataclass(frozen=True)
class TimelineSplit:
    """Videos of one split."""

    sampler: TimelineSampler

    def __len__(self) -> int:
        return len(self.sampler)

    @cached_property
    def targets(self) -> Floats:
        """Targets of all steps of all videos, (sum of S, n_classes)."""
        return np.concatenate([self.sampler.targets(index) for index in range(len(self))])


def read_timeline_data(
    recipe: Recipe, bank: Path | None = None, *, is_augmented: bool = False
) -> TaskData:
    """Read the timed annotations and the features that a recipe names.

    Args:
        recipe: a recipe with ``data.task=timeline``.
        bank: bank that replaces the recipe's.
        is_augmented: augment the samples of the training split as the recipe says.

    Raises:
        ValueError: as ``read_task_data``; if the annotations have no times, or the steps do not
            have the classes that ``data.step_labels`` requires.
    """
    data, source = recipe.data, FeatureBank(bank or recipe.data.bank or "")
    dataset, left_out = read_dataset(data, source)
    timed = read_timed_videos(data.kind, data.source, {*source.video_ids, *source.failures})
    timed = timed.without_classes(data.exclude_classes)
    videos = {video.video_id: video for video in timed.videos}
    is_multilabel, classes = data.step_labels == "several", timed.classes
    if data.background is not None and data.background not in classes:
        classes = (data.background, *classes)
    augmentation = TemporalAugmentation(**recipe.augmentation.model_dump())
    splits: dict[str, Any] = {}
    for name in dataset.splits:
        is_training = is_augmented and name == "train"
        sampler = TimelineSampler(
            source,
            tuple(videos[record.video_id] for record in dataset.subset(name).records),
            classes,
            is_multilabel,
            data.background,
            recipe.sampling.stride_steps,
            recipe.sampling.n_timesteps if is_training else None,
            recipe.sampling.map_size,
            augmentation if is_training else NO_TEMPORAL_AUGMENTATION,
            recipe.seed,
        )
        splits[name] = TimelineSplit(sampler)
        for index in range(len(sampler)):
            sampler.targets(index)  # reports wrong annotations before training
    return TaskData(classes, is_multilabel, splits, left_out, dict(source.settings))
