"""Official data sets in recipes: what is learned, by which protocol, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from tests.datasets import official_files as official
from timeception.clips.task_data import TaskData, read_task_data
from timeception.features.bank import FeatureBank
from timeception.recipes.recipe import Recipe, build_recipe

Row = official.charades_row


def bank_of(folder: Path, video_ids: Iterable[str]) -> Path:
    bank = FeatureBank(folder, mode="a")
    for video_id in video_ids:
        bank.write(video_id, np.ones((8, 4, 1, 1)), np.arange(8) * 8, fps=24.0)
    return folder


def recipe_of(kind: str, source: Path, bank: Path, **data: object) -> Recipe:
    fields = {"kind": kind, "source": str(source), "bank": str(bank), **data}
    sampling, model = {"n_timesteps": 4}, {"n_layers": 1}
    return build_recipe({"name": "x", "data": fields, "sampling": sampling, "model": model})


CHARADES = ("Charades_v1_480/AAAA1", "AAAA2", "BBBB1")
BREAKFAST = ("P03_cam01_P03_cereals", "P12/stereo/P12_milk_ch1", "P47_webcam02_P47_milk")
MULTITHUMOS = ("video_validation_0000001", "test/video_test_0000002")
KINETICS = (
    *("making_tea/-a_bC_dEfG1_000084_000094", "-a_bC_dEfG1_000120_000130"),
    *("xyz_000000_000010", "uvw_000005_000015"),
)

KINDS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], str, bool, int]] = {
    "charades": (official.write_charades, CHARADES, "charades_official", True, 4),
    "breakfast_activities": (
        *(official.write_breakfast, BREAKFAST, "breakfast_activities", False, 10),
    ),
    "breakfast_actions": (official.write_breakfast, BREAKFAST, "breakfast_actions", True, 3),
    "multithumos": (official.write_multithumos, MULTITHUMOS, "multithumos", True, 3),
    "kinetics": (official.write_kinetics, KINETICS, "kinetics", False, 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_official_data_become_problems(kind: str, tmp_path: Path) -> None:
    write, video_ids, protocol, is_multilabel, n_classes = KINDS[kind]
    source = write(tmp_path / "annotations")
    recipe = recipe_of(kind, source, bank_of(tmp_path / "bank", video_ids), n_classes=n_classes)
    problem = read_task_data(recipe)
    assert problem.is_multilabel is is_multilabel
    assert len(problem.classes) == n_classes
    assert recipe.protocol(is_multilabel) == protocol
    found = {r.video_id for subset in problem.splits.values() for r in subset.sampler.records}
    assert found == set(video_ids)
    assert problem.train.sampler.shape() == (4, 4, 1, 1)
    assert problem.left_out == ()


def charades(folder: Path, videos: Iterable[str] = CHARADES, **data: object) -> TaskData:
    official.write_charades(folder / "charades")
    bank = bank_of(folder / "bank", videos)
    return read_task_data(recipe_of("charades", folder / "charades", bank, **data))


def test_unlabelled_videos_are_left_out_of_training_if_asked(tmp_path: Path) -> None:
    assert len(charades(tmp_path).train) == 2
    kept = charades(tmp_path, trains_on_unlabelled=False)
    assert [record.video_id for record in kept.train.sampler.records] == [CHARADES[0]]


def test_missing_videos_are_left_out_if_asked(tmp_path: Path) -> None:
    problem = charades(tmp_path, CHARADES[1:], skip_missing=True)
    assert problem.left_out == ("AAAA1",)
    assert len(problem.train) == 1


BAD_CHARADES: dict[str, tuple[dict[str, object], tuple[str, ...], list[str]]] = {
    "a video that the bank lacks": ({}, CHARADES[:2], ["lacks 1 of 3 videos: BBBB1"]),
    "no video at all": ({}, ("OTHER",), ["lacks 3 of 3 videos", "skip_missing"]),
    "none of them, though missing ones may be": (
        *({"skip_missing": True}, ("OTHER",), ["must be in", "bank"]),
    ),
    "two files of one video": ({}, (*CHARADES, "480/AAAA2"), ["one id a video", "AAAA2"]),
    "another number of classes": (
        {"n_classes": 157},
        CHARADES,
        ["data.n_classes", "charades (4); got 157"],
    ),
    "a class that is not there": (
        *({"exclude_classes": ["c009 Doing thing 9"]}, CHARADES, ["c009", "one of"]),
    ),
    "a split that matches nothing": (
        *({"split": {"test": ["Z*"]}}, CHARADES, ["split test", "match videos", "'Z*'"]),
    ),
    "a video in two splits": (
        *({"split": {"test": ["B*"], "validation": ["BBBB1"]}}, CHARADES, ["videos of split"]),
    ),
    "single-label by mistake": ({"task": "single-label"}, CHARADES, ["be exactly one"]),
}


@pytest.mark.parametrize("case", BAD_CHARADES)
def test_what_does_not_fit_raises(case: str, tmp_path: Path) -> None:
    data, videos, words = BAD_CHARADES[case]
    with pytest.raises(ValueError) as caught:
        charades(tmp_path, videos, **data)
    for word in words:
        assert word in str(caught.value)


BAD_FILES: dict[str, tuple[str, Callable[[Path], Path], list[str]]] = {
    "an unknown class": (
        "charades",
        lambda folder: official.write_charades(folder, [Row("AAAA1", "c007 1.0 2.0")]),
        ["Charades_v1_train.csv", "line", "one of 4 classes", "'c007'"],
    ),
    "a video in both splits": (
        "charades",
        lambda folder: official.write_charades(folder, test=[Row("AAAA1", "c000 1.0 2.0")]),
        ["Charades_v1_test.csv", "occur once", "Charades_v1_train.csv"],
    ),
    "a label field of another form": (
        "charades",
        lambda folder: official.write_charades(folder, [Row("AAAA1", "c000")]),
        ["Charades_v1_train.csv", "c000 START END"],
    ),
    "a frame with an unknown action": (
        "breakfast_actions",
        lambda folder: official.write_breakfast(folder, {"P03_cam01_P03_milk": ["stir"]}),
        ["P03_cam01_P03_milk.txt", "line 1", "'stir'"],
    ),
    "a file without a label": (
        "breakfast_actions",
        lambda folder: official.write_breakfast(folder, {"P03_cam01_P03_milk": []}),
        ["P03_cam01_P03_milk.txt", "a label for every frame"],
    ),
    "an activity that there is not": (
        "breakfast_activities",
        lambda folder: official.write_breakfast(folder, {"P03_cam01_P03_soup": ["SIL"]}),
        ["activity of P03_cam01_P03_soup", "'soup'"],
    ),
    "a video of neither split": (
        "multithumos",
        lambda folder: official.write_multithumos(
            folder, {"BaseballPitch": "video_train_1 1.0 2.0\n", "Run": "", "Sit": ""}
        ),
        ["BaseballPitch.txt", "video_validation_* or video_test_*"],
    ),
    "an empty label": (
        "kinetics",
        lambda folder: official.write_kinetics(folder, [",abc,0,10,train"]),
        ["train.csv", "label"],
    ),
    "files of another data set": (
        "charades",
        official.write_breakfast,
        ["Charades_v1_classes.txt"],
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_wrong_annotations_raise_with_their_place(case: str, tmp_path: Path) -> None:
    kind, write, words = BAD_FILES[case]
    source = write(tmp_path / "annotations")
    recipe = recipe_of(kind, source, bank_of(tmp_path / "bank", ["AAAA1"]))
    with pytest.raises((ValueError, OSError)) as caught:
        read_task_data(recipe)
    for word in words:
        assert word in str(caught.value)
