"""Timed annotations in recipes: classes, splits and windows; and what a data section leaves out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.small_runs import CHANNELS, small_recipe, write_data
from timeception.clips.task_data import TaskData, read_task_data
from timeception.features.bank import FeatureBank

VIDEOS = ("S1_tea", "S1_milk", "S2_tea", "S3_tea")
#: Of a video of ten steps of one second.
ACTIONS = {"cut": (0, 4), "pour": (3.5, 8), "stir": (7.5, 10)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    bank = FeatureBank(tmp_path / "bank", mode="a", settings={"made": "by hand"})
    rows = ["video,label,start,end"]
    for name in VIDEOS:
        bank.write(name, np.ones((10, CHANNELS, 1, 1)), np.arange(10), fps=1.0)
        rows += [f"{name},{label},{start},{end}" for label, (start, end) in ACTIONS.items()]
    (tmp_path / "actions.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def read(root: Path, **data: Any) -> TaskData:
    fields = {"kind": "timed", "source": str(root / "actions.csv"), "bank": str(root / "bank")}
    return read_task_data(small_recipe(root, data={**fields, **data}))


def windows_of(data: TaskData, split: str = "train") -> dict[tuple[int, int], tuple[str, ...]]:
    return {r.steps: r.labels for r in data.split(split).sampler.records}


SPLIT = {"test": ["S2_*"], "validation": ["S3_*"]}


def test_globs_split_whole_videos(root: Path) -> None:
    data = read(root, split=SPLIT)
    found = {name: [r.video_id for r in s.sampler.records] for name, s in data.splits.items()}
    assert found == {"train": ["S1_tea", "S1_milk"], "test": ["S2_tea"], "validation": ["S3_tea"]}
    assert data.classes == ("cut", "pour", "stir") and data.is_multilabel
    assert data.train.targets.tolist() == [[1, 1, 1]] * 2


def test_excluded_classes_are_gone(root: Path) -> None:
    data = read(root, split=SPLIT, exclude_classes=["pour"])
    assert data.classes == ("cut", "stir")
    assert data.train.targets.tolist() == [[1, 1]] * 2


def test_windows_have_the_recipes_length_and_stride(root: Path) -> None:
    data = read(root, split=SPLIT, windows={"length_steps": 5, "stride_steps": 2})
    assert windows_of(data, "test") == {
        (0, 5): ("cut", "pour"),
        (2, 7): ("cut", "pour"),
        (4, 9): ("pour", "stir"),
        (5, 10): ("pour", "stir"),
    }


@pytest.mark.parametrize(
    ("overlap", "first", "last"),
    [
        (0.0, ("cut", "pour"), ("pour", "stir")),
        (1.5, ("cut", "pour"), ("pour", "stir")),
        (2.0, ("cut",), ("pour", "stir")),
        (3.0, ("cut",), ("pour",)),
    ],
)
def test_the_overlap_that_a_label_needs(
    root: Path, overlap: float, first: tuple[str, ...], last: tuple[str, ...]
) -> None:
    """Of 5 steps: cut has 4, pour 1.5 of the first window; pour 3, stir 2.5 of the last."""
    windows = {"length_steps": 5, "stride_steps": 5, "min_overlap_steps": overlap}
    assert windows_of(read(root, split=SPLIT, windows=windows)) == {(0, 5): first, (5, 10): last}


TABLE = [("a", "cut", "train"), ("b", "pour", "train"), ("c", "stir", "test"), ("d", "cut", "")]


def test_excluded_classes_of_a_table_are_gone(tmp_path: Path) -> None:
    rows = [("a", "cut;pour", "train"), ("b", "pour", "train"), ("c", "stir", "test")]
    data = read_task_data(small_recipe(write_data(tmp_path, rows), data__exclude_classes=["stir"]))
    assert data.classes == ("cut", "pour")
    assert data.split("test").targets.tolist() == [[0, 0]]


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_the_task_is_the_recipes(tmp_path: Path, task: str) -> None:
    recipe = small_recipe(write_data(tmp_path, TABLE), data__task=task)
    assert read_task_data(recipe).is_multilabel == (task == "multi-label")


def test_unlabelled_videos_are_tested_though_not_trained_on(tmp_path: Path) -> None:
    rows = [("a", "cut", "train"), ("b", "cut;stir", "train"), ("c", "pour", "train")]
    rows += [("d", "pour", "test"), ("e", "cut", "test")]
    excluded = {"data__exclude_classes": ["pour"], "data__task": "multi-label"}
    root = write_data(tmp_path, rows)
    data = read_task_data(small_recipe(root, data__trains_on_unlabelled=False, **excluded))
    found = {name: [r.video_id for r in s.sampler.records] for name, s in data.splits.items()}
    assert found == {"train": ["a", "b"], "test": ["d", "e"]}
    assert len(read_task_data(small_recipe(root, **excluded)).train) == 3


def test_what_is_left_out_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_data(tmp_path, TABLE)
    with (root / "videos.csv").open("a") as file:
        file.write("gone.mp4,cut,test\n")
    with caplog.at_level(logging.WARNING):
        read_task_data(small_recipe(root, data__skip_missing=True))
    missing, unused = [record.getMessage() for record in caplog.records]
    assert missing.startswith("1 video(s) are missing or unreadable")
    assert unused.startswith("1 record(s) are in no split") and "'d'" in unused


def test_a_failed_video_that_only_its_name_labels_is_left_out(tmp_path: Path) -> None:
    """Names are the annotations: the bank's failures are videos too."""
    root = write_data(tmp_path, [(f"{c}_{n}", c, "") for c in ("cut", "pour") for n in range(2)])
    FeatureBank(root / "bank", mode="a").record_failure("cut_9", "cut_9.mp4", "cut short")
    (root / "names").mkdir()
    fields = {"kind": "names", "source": str(root / "names"), "bank": str(root / "bank")}
    pattern = {"pattern": r"(?P<label>[a-z]+)_\d", "split": {"test": ["*_1"]}}
    data = read_task_data(small_recipe(root, data={**fields, **pattern}))
    assert data.left_out == ("cut_9",)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2, "test": 2}
