"""Windows keep the split, the path and the place of their video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from timeception.clips.task_data import read_task_data
from timeception.datasets.records import Interval, TimedDataset, TimedVideo, VideoDataset
from timeception.datasets.windows import make_windows, step_edges_seconds
from timeception.features.bank import FeatureBank
from timeception.recipes.recipe import build_recipe

SPLITS = {"a": "train", "b": "test", "c": "validation", "d": "", "e": "train"}


@pytest.fixture
def windows() -> VideoDataset:
    """Of videos of 7 to 11 steps of one second."""
    videos = tuple(
        TimedVideo(name, (Interval("pour", 1.0, 3.0),), split, path=f"{name}.mp4")
        for name, split in SPLITS.items()
    )
    data = TimedDataset("kitchen", ("stir", "pour"), videos)
    edges = {n: step_edges_seconds(range(7 + i), fps=1.0) for i, n in enumerate(SPLITS)}
    return make_windows(data, edges, 4, 3)


def test_every_window_is_in_its_videos_split(windows: VideoDataset) -> None:
    assert {(r.video_id, r.split) for r in windows.records} == set(SPLITS.items())
    assert windows.splits == ("", "test", "train", "validation")
    assert {r.video_id for r in windows.subset("train").records} == {"a", "e"}
    assert all(r.path == f"{r.video_id}.mp4" for r in windows.records)


def test_every_window_has_its_place(windows: VideoDataset) -> None:
    found = [(r.steps, r.start_seconds, r.end_seconds) for r in windows.subset("test").records]
    assert found == [((0, 4), 0.0, 4.0), ((3, 7), 3.0, 7.0), ((4, 8), 4.0, 8.0)]
    labels = [r.labels for r in windows.subset("test").records]
    assert labels == [("pour",), (), ()]
    assert windows.classes == ("stir", "pour")


def test_a_recipe_trains_and_tests_on_windows_of_other_videos(tmp_path: Path) -> None:
    bank = FeatureBank(tmp_path / "bank", mode="a")
    rows = ["video,label,start,end"]
    for name in SPLITS:
        bank.write(name, np.ones((10, 4, 1, 1)), np.arange(10), fps=1.0)
        rows += [f"{name},pour,0,4", f"{name},stir,5,8"]
    (tmp_path / "actions.csv").write_text("\n".join(rows) + "\n")
    recipe = build_recipe(
        {
            "name": "windows",
            "data": {
                "kind": "timed",
                "source": str(tmp_path / "actions.csv"),
                "bank": str(tmp_path / "bank"),
                "split": {"test": ["b"], "validation": ["c"]},
                "windows": {"length_steps": 4, "stride_steps": 3},
            },
            "sampling": {"n_timesteps": 2},
            "model": {"n_layers": 1},
        }
    )
    problem = read_task_data(recipe)
    videos = {
        split: {record.video_id for record in subset.sampler.records}
        for split, subset in problem.splits.items()
    }
    assert videos == {"train": {"a", "d", "e"}, "test": {"b"}, "validation": {"c"}}
    assert len(problem.split("test")) == 3
    assert problem.classes == ("pour", "stir")
    assert problem.split("test").targets.tolist() == [[1, 0], [1, 1], [0, 1]]
