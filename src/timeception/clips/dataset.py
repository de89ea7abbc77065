"""The data section of a recipe as labelled, split records of the videos that exist."""

from __future__ import annotations

import logging
from dataclasses import replace

from timeception import checks
from timeception.clips.sampler import ClipSource
from timeception.datasets.groups import find_groups, split_by_groups
from timeception.datasets.records import TimedDataset, VideoDataset
from timeception.datasets.registry import read_videos
from timeception.datasets.splits import split_by_fraction, split_by_globs
from timeception.datasets.timed import read_timed
from timeception.datasets.windows import make_windows
from timeception.features.bank import FeatureBank
from timeception.recipes.sections import DataSection, SplitSection, WindowSection

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")


def read_dataset(data: DataSection, source: ClipSource) -> tuple[VideoDataset, tuple[str, ...]]:
    """Read the records of a recipe's data section, split them, and keep those with a video.

    Returns:
        The data set, and the ids of videos left out because they are missing or unreadable.
    """
    dataset, left_out = read_records(data, source)
    if left_out:
        logger.warning("%d video(s) are missing or unreadable and are left out", len(left_out))
    dataset = _random_splits(dataset, data)
    _check_classes(dataset, data)
    dataset = _without_unlabelled(dataset, data)
    _check_splits(dataset, data)
    return dataset, left_out


def read_records(data: DataSection, source: ClipSource) -> tuple[VideoDataset, tuple[str, ...]]:
    """Read the records that have a video, split by globs or by the annotations.

    Returns:
        The data set, and the ids of videos left out because they are missing or unreadable.
    """
    if data.kind == "timed":
        timed = read_timed(data.source).without_classes(data.exclude_classes)
        timed = timed.with_splits(_glob_splits(timed.video_ids, data.split))
        left_out = _missing(timed.video_ids, source, data)
        timed = replace(timed, videos=tuple(v for v in timed.videos if v.video_id not in left_out))
        dataset = _windowed(timed, data.windows, source) if data.windows else timed.to_videos()
        return dataset, left_out
    videos = sorted({*source.video_ids, *source.failures})
    dataset = read_videos(data.kind, data.source, videos, data.pattern or "")
    dataset = dataset.without_classes(data.exclude_classes)
    if data.task not in (None, "timeline"):
        dataset = replace(dataset, is_multilabel=data.task == "multi-label")
    dataset = dataset.with_splits(_glob_splits(dataset.video_ids, data.split))
    left_out = _missing(dataset.video_ids, source, data)
    kept = tuple(r for r in dataset.records if r.video_id not in left_out)
    return replace(dataset, records=kept), left_out


def _windowed(timed: TimedDataset, windows: WindowSection, source: ClipSource) -> VideoDataset:
    edges = {video_id: source.edges_seconds(video_id) for video_id in timed.video_ids}
    return make_windows(
        timed, edges, windows.length_steps, windows.stride_steps, windows.min_overlap_steps
    )


def _glob_splits(video_ids: tuple[str, ...], split: SplitSection) -> dict[str, str]:
    globs = {"train": split.train, "validation": split.validation, "test": split.test}
    given = {name: patterns for name, patterns in globs.items() if patterns}
    return split_by_globs(video_ids, given) if given else {}


def _random_splits(dataset: VideoDataset, data: DataSection) -> VideoDataset:
    """Set aside the random shares that the recipe specifies, the test share first."""
    split = data.split
    shares = {"test": split.test_fraction, "validation": split.validation_fraction}
    for name, share in shares.items():
        if share:
            free = tuple(r for r in dataset.records if r.split in ("", "train"))
            part = replace(dataset, records=free)
            if data.group:
                groups = find_groups(data.group, part.video_ids, data.source)
                drawn = split_by_groups(part, groups, share, split.seed, name)
            else:
                drawn = split_by_fraction(part, share, split.seed, name)
            dataset = dataset.with_splits(drawn)
    return dataset


def _check_classes(dataset: VideoDataset, data: DataSection) -> None:
    found = len(dataset.classes)
    checks.require(
        data.n_classes in (None, found),
        "data.n_classes",
        f"be the number of classes in {data.source} ({found})",
        data.n_classes,
        "Check that data.source names the annotations that the recipe was written for.",
    )


def _check_splits(dataset: VideoDataset, data: DataSection) -> None:
    """Require a training split, and names that training and testing know."""
    for name in dataset.splits:
        if name:
            checks.one_of(f"split in {data.source}", name, SPLITS)
    unused = [record.key for record in dataset.records if not record.split]
    if unused and "train" in dataset.splits and not data.split.train:
        logger.warning("%d record(s) are in no split and are not used: %s", len(unused), unused[:5])
    checks.require(
        "train" in dataset.splits,
        f"{data.source}",
        "have videos in split train",
        ", ".join(filter(None, dataset.splits)) or "no splits",
        "Name splits in the annotations, or set data.split, such as data.split.test_fraction=0.25.",
    )


def _without_unlabelled(dataset: VideoDataset, data: DataSection) -> VideoDataset:
    """Leave unlabelled videos out of the training split, if the recipe says so."""
    if data.trains_on_unlabelled:
        return dataset
    kept = tuple(r for r in dataset.records if r.labels or r.split != "train")
    return replace(dataset, records=kept)


def _missing(video_ids: tuple[str, ...], source: ClipSource, data: DataSection) -> tuple[str, ...]:
    """Ids of the videos to leave out.

    Raises:
        ValueError: if videos are missing that neither failed to be read nor may be skipped.
    """
    missing = sorted(video for video in video_ids if video not in source)
    unexplained = [video for video in missing if video not in source.failures]
    if unexplained and not data.skip_missing:
        is_bank = isinstance(source, FeatureBank)
        place, cure = ("bank", "Extract them") if is_bank else ("folder", "Add them")
        shown = ", ".join(unexplained[:5]) + (", ..." if len(unexplained) > 5 else "")
        raise ValueError(
            f"{place} {source.root} lacks {len(unexplained)} of {len(video_ids)} videos: {shown}. "
            f"{cure}, take them out of the annotations, or set data.skip_missing=true."
        )
    all_missing = len(missing) == len(video_ids)
    checks.require(not all_missing, f"videos of {data.source}", f"be in {source.root}", "none")
    return tuple(missing)
