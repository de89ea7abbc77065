"""From a folder of videos to a recipe: what the folder holds, and settings that fit it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import ceil, log2
from pathlib import Path
from statistics import median
from typing import Any

from timeception import checks
from timeception.datasets.folder import from_folder
from timeception.datasets.groups import find_groups, group_name, suggest_group
from timeception.datasets.records import VideoDataset
from timeception.datasets.table import from_csv
from timeception.datasets.video_files import find_videos
from timeception.recipes.recipe import Recipe, build_recipe
from timeception.video import VideoError, VideoInfo, probe

TEST_FRACTION = 0.25

#: Frames per second and core through training (small frames) and extraction (large frames); rough,
#: to choose settings by. Measured with EfficientNet-Lite0 on an AMD EPYC (Zen 4).
TRAINED_FRAMES_PER_SECOND = 100.0
EXTRACTED_FRAMES_PER_SECOND = 45.0

#: End-to-end training is for short videos: a clip of 16 timesteps must show the whole action.
MAX_END_TO_END_SECONDS = 20.0
END_TO_END_STEPS, FROZEN_STEPS = 120, 400


@dataclass(frozen=True)
class Survey:
    """Videos of a folder and their labels.

    Args:
        folder: folder of the videos.
        labels: CSV file of the labels; ``None`` if folders are classes.
        dataset: labelled records of the videos that can be read.
        infos: size, rate and length of each video.
        broken: error by id of a video that cannot be read.
        group: ``data.group``, if one was given.
        suggested_group: pattern of groups that the file names suggest, if none was given.
    """

    folder: Path
    labels: Path | None
    dataset: VideoDataset
    infos: dict[str, VideoInfo]
    broken: dict[str, str]
    group: str | None
    suggested_group: str | None

    @property
    def durations_seconds(self) -> list[float]:
        """Duration of each readable video."""
        return [info.duration_seconds for info in self.infos.values()]

    @property
    def n_frames(self) -> int:
        """Frames of all readable videos."""
        return sum(info.n_frames for info in self.infos.values())


def survey_videos(
    folder: str | Path,
    labels: str | Path | None = None,
    group: str | None = None,
    track: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> Survey:
    """Read the labels of a folder of videos and the properties of every file.

    Args:
        folder: folder of the videos; without ``labels``, one folder per class.
        labels: CSV file with columns ``path,labels`` and optionally ``split`` and groups.
        group: see ``data.group``.
        track: wraps the video ids, to show progress.

    Raises:
        ValueError: if there are no labelled videos or fewer than two classes, or groups are wrong.
    """
    folder = Path(folder)
    files = find_videos(folder)
    dataset = from_csv(labels) if labels else from_folder(folder)
    missing = [name for name in dataset.video_ids if name not in files]
    advice = "Paths in the CSV file start at the folder of the videos."
    checks.require(not missing, f"videos in {labels}", f"be in {folder}", missing[:5], advice)
    infos, broken = dict[str, VideoInfo](), dict[str, str]()
    for video_id in track(dataset.video_ids):
        try:
            infos[video_id] = probe(files[video_id])
        except VideoError as error:
            broken[video_id] = str(error)
    readable = tuple(record for record in dataset.records if record.video_id in infos)
    checks.require(bool(readable), f"videos of {folder}", "include a readable one", "none")
    if group is not None:
        find_groups(group, infos, Path(labels or folder))
    suggestion = None if group else suggest_group(infos)
    labels = None if labels is None else Path(labels)
    return Survey(
        folder, labels, replace(dataset, records=readable), infos, broken, group, suggestion
    )


def describe(survey: Survey) -> list[str]:
    """Return what was found, as lines of text."""
    dataset, durations = survey.dataset, survey.durations_seconds
    task = "multi-label" if dataset.is_multilabel else "single-label"
    lines = [
        f"{len(survey.infos)} videos of {len(dataset.classes)} classes ({task}), "
        f"{sum(durations) / 60:.1f} minutes; {min(durations):.1f} to {max(durations):.1f} s each, "
        f"median {median(durations):.1f} s; {_rates(survey)} frames per second"
    ]
    seconds: dict[str, list[float]] = {name: [] for name in dataset.classes}
    for record in dataset.records:
        for label in record.labels:
            seconds[label].append(survey.infos[record.video_id].duration_seconds)
    width = max(map(len, seconds))
    for name, found in seconds.items():
        middle = f"median {median(found):.1f} s" if found else ""
        lines.append(f"  {name:{width}}  {len(found):4d} videos  {middle}")
    if survey.broken:
        lines.append(f"{len(survey.broken)} videos cannot be read and are left out:")
        lines += [f"  {error}" for error in survey.broken.values()]
    if survey.group:
        groups = find_groups(survey.group, survey.infos, survey.labels or survey.folder)
        counts = Counter(groups.values())
        lines.append(f"{len(counts)} groups ({group_name(survey.group)}), which no split divides")
    elif survey.suggested_group:
        lines.append(
            "warning: file names look as if they named groups, such as persons. If one person is "
            "in training and test videos, the result is too good. "
            f"Pass --group '{survey.suggested_group}'"
        )
    return lines


def choose_recipe(
    survey: Survey, bank: Path, *, minutes: float, n_cores: int, scheme: str = "auto"
) -> tuple[Recipe, list[str]]:
    """Choose settings that fit the videos and the time.

    Args:
        survey: the videos.
        bank: where features go, if any.
        minutes: time for training and testing the model and its baseline, with extraction.
        n_cores: processor cores.
        scheme: ``end_to_end``, ``timeception_only``, or ``auto``.

    Returns:
        The recipe, and the reason for each choice.
    """
    n_train = round(len(survey.infos) * (1 - TEST_FRACTION))
    estimate = _end_to_end_minutes(n_train, n_cores)
    longest = median(survey.durations_seconds)
    if scheme == "auto":
        is_short, is_fast = longest <= MAX_END_TO_END_SECONDS, estimate <= minutes
        scheme = "end_to_end" if is_short and is_fast else "timeception_only"
        reason = (
            f"videos are {'short' if is_short else 'long'} (median {longest:.0f} s), and training "
            f"the backbone takes about {estimate:.0f} minutes of {minutes:.0f}"
        )
    else:
        reason = "as asked"
    reasons = [f"training.scheme={scheme}: {reason}"]
    fields = _data_fields(survey)
    if scheme == "end_to_end":
        chosen, why = end_to_end_fields(n_train)
    else:
        chosen, why = frozen_fields(survey, n_train, minutes, n_cores)
        fields["data"]["bank"] = str(bank)
    return build_recipe({**fields, **chosen}), reasons + why


def _data_fields(survey: Survey) -> dict[str, Any]:
    """Fields of the recipe that name the data; a split in the labels is used as it is."""
    has_split = "test" in survey.dataset.splits
    split = {} if has_split else {"test_fraction": TEST_FRACTION}
    data = {
        "kind": "csv" if survey.labels else "folder",
        "source": str(survey.labels or survey.folder),
        "videos": str(survey.folder),
        "skip_missing": True,  # broken videos are reported
        "group": survey.group,
        "split": split,
    }
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in survey.folder.resolve().name)
    return {"name": name or "videos", "about": f"Videos in {survey.folder.name}", "data": data}


def _steps_per_epoch(n_train: int, batch_size: int) -> int:
    return max(1, ceil(n_train / batch_size))


def _batch_size(n_train: int) -> int:
    """Batches that give at least five optimiser steps an epoch, from 4 to 16 clips."""
    return max(4, min(16, 2 ** int(log2(max(4, n_train / 5)))))


def _epochs(n_train: int, n_steps: int, least: int) -> int:
    return max(least, ceil(n_steps / _steps_per_epoch(n_train, _batch_size(n_train))))


def _end_to_end_minutes(n_train: int, n_cores: int) -> float:
    """Minutes of training Timeception and the baseline end to end."""
    n_frames = 2 * n_train * 16 * _epochs(n_train, END_TO_END_STEPS, 8)
    return n_frames / (TRAINED_FRAMES_PER_SECOND * n_cores) / 60


def end_to_end_fields(n_train: int) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a recipe that trains the backbone, and the reasons."""
    epochs = _epochs(n_train, END_TO_END_STEPS, 8)
    fields = {
        "backbone": {
            "name": "efficientnet_lite0",
            "endpoint": "stage4",
            "stride_frames": 1,
            "channels": 320,
            "map_size": [4, 4],
            "resize": 128,
            "crop": 112,
        },
        "sampling": {"n_timesteps": 16},
        "model": {"n_layers": 3, "keep_spatial": True},
        "training": {
            "scheme": "end_to_end",
            "epochs": epochs,
            "batch_size": _batch_size(n_train),
            "optimizer": "adamw",
            "learning_rate": 0.003,
            "weight_decay": 0.01,
            "schedule": "cosine",
            "warmup_epochs": 1,
            "checkpoint_every": 1,
            "freeze": ["backbone.model.conv_stem.*", "backbone.model.blocks.[012].*"],
        },
        "end_to_end": {"backbone_learning_rate": 0.0005, "gradient_checkpointing": False},
        "testing": {"batch_size": 8, "draws": 5},
    }
    return fields, [
        "backbone.crop=112 and endpoint stage4: small frames and the first stages frozen, so that "
        "processors can train it",
        "sampling.n_timesteps=16: a clip shows the whole of a short video",
        f"training.epochs={epochs}: about {END_TO_END_STEPS} optimiser steps",
        "end_to_end.flip=0: left and right may be classes",
    ]


def frozen_fields(
    survey: Survey, n_train: int, minutes: float, n_cores: int
) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a recipe that trains a head on extracted features, and the reasons."""
    seconds = median(survey.durations_seconds)
    n_timesteps = 32 if seconds < 15 else 64 if seconds < 60 else 128
    native = median(info.fps for info in survey.infos.values())
    affordable = 0.5 * minutes * 60 * n_cores * EXTRACTED_FRAMES_PER_SECOND
    fps = min(native, 2 * n_timesteps / seconds, affordable / sum(survey.durations_seconds))
    fps = float(f"{fps:.2g}")
    info = next(iter(survey.infos.values()))
    maps = [2, 3] if info.width > info.height else [3, 2] if info.width < info.height else [2, 2]
    n_layers = int(log2(n_timesteps)) - 2
    epochs = min(200, _epochs(n_train, FROZEN_STEPS, 20))
    fields = {
        "backbone": {
            "name": "efficientnet_lite0",
            "endpoint": "features",
            "fps": fps,
            "channels": 1280,
            "map_size": maps,
        },
        "sampling": {"n_timesteps": n_timesteps, "map_size": maps},
        "model": {"n_layers": n_layers, "keep_spatial": True},
        "training": {
            "epochs": epochs,
            "batch_size": _batch_size(n_train),
            "optimizer": "adamw",
            "learning_rate": 0.003,
            "weight_decay": 0.01,
            "schedule": "cosine",
            "warmup_epochs": 1,
        },
    }
    return fields, [
        f"backbone.fps={fps:g}: about twice as many steps as timesteps in a video of "
        f"{seconds:.0f} s, so that each epoch samples other ones",
        f"sampling.n_timesteps={n_timesteps}, model.n_layers={n_layers}: for videos of "
        f"{seconds:.0f} s",
        f"backbone.map_size={maps}, model.keep_spatial=true: where something happens is kept",
        f"training.epochs={epochs}: about {FROZEN_STEPS} optimiser steps",
    ]


def _rates(survey: Survey) -> str:
    rates = sorted({round(info.fps) for info in survey.infos.values()})
    return str(rates[0]) if len(rates) == 1 else f"{rates[0]} to {rates[-1]}"
