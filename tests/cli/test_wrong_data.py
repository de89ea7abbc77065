"""Wrong data and wrong weights: status 2 and one message that names file, place and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.datasets import official_files as official
from timeception.cli import main
from timeception.features.bank import FeatureBank

ROW = official.charades_row
VIDEOS = ("AAAA1", "AAAA2", "BBBB1", "P03_cam01_P03_milk", "P47_cam01_P47_tea")
I3D = {"Conv3d_1a_7x7.conv3d.weight": torch.zeros(64, 3, 7, 7, 7)}
RESNET = {"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1), "conv1.weight": torch.zeros(1)}
TIMECEPTION = {"timeception.conv_b1_g1_tc1.weight": torch.zeros(2, 4, 1, 1, 1)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a bank of features."""
    monkeypatch.chdir(tmp_path)
    bank = FeatureBank("bank", mode="a")
    for name in VIDEOS:
        bank.write(name, np.ones((8, 4, 1, 1)), np.arange(8) * 8, fps=24.0)
    return tmp_path


def train(kind: str, source: str, *words: str) -> list[str]:
    small = ["sampling.n_timesteps=4", "model.n_layers=1", "backbone=null"]
    data = [f"data.kind={kind}", f"data.source={source}", "data.bank=bank"]
    return ["train", "demo", *data, *small, *words, "--out", "run"]


def table(text: str, *words: str) -> Callable[[], list[str]]:
    def make() -> list[str]:
        Path("videos.csv").write_text(text)
        return train("csv", "videos.csv", *words)

    return make


def timed(text: str) -> Callable[[], list[str]]:
    def make() -> list[str]:
        Path("actions.csv").write_text(text)
        return train("timed", "actions.csv", "data.split.test=['B*']")

    return make


def charades(
    *words: str, then: Callable[[], object] | None = None, **files: list[str]
) -> Callable[[], list[str]]:
    def make() -> list[str]:
        official.write_charades(Path("charades"), **files)
        if then:
            then()
        return train("charades", "charades", *words)

    return make


def breakfast(videos: dict[str, list[str]]) -> Callable[[], list[str]]:
    def make() -> list[str]:
        official.write_breakfast(Path("breakfast"), videos)
        return train("breakfast_actions", "breakfast")

    return make


def kinetics(*rows: str) -> Callable[[], list[str]]:
    def make() -> list[str]:
        official.write_kinetics(Path("kinetics"), list(rows))
        return train("kinetics", "kinetics")

    return make


def weights(state: dict[str, torch.Tensor], *words: str) -> Callable[[], list[str]]:
    def make() -> list[str]:
        torch.save(state, "file.pt")
        Path("a.mp4").write_text("not reached")
        return list(words)

    return make


def start(state: dict[str, torch.Tensor]) -> Callable[[], list[str]]:
    def make() -> list[str]:
        official.write_charades(Path("charades"))
        torch.save(state, "file.pt")
        return train("charades", "charades", "init_from=file.pt")

    return make


TEST_FILE = "charades/Charades_v1_test.csv"
CASES: dict[str, tuple[Callable[[], list[str]], list[str]]] = {
    # split files
    "no test file": (
        charades(then=lambda: Path(TEST_FILE).unlink()),
        ["be an existing file", TEST_FILE],
    ),
    "a split file of another kind": (
        charades(then=lambda: Path(TEST_FILE).write_text("path,labels\na,x\n")),
        [TEST_FILE, "name the column(s) id, actions; got 'path,labels'"],
    ),
    "one video in both split files": (
        charades(test=[ROW("AAAA1", "c000 1 2")]),
        [TEST_FILE, "line 3: id must occur once; got 'AAAA1'", "Charades_v1_train.csv"],
    ),
    "a split that has another name": (
        table("path,labels,split\nAAAA1.mp4,x,train\nAAAA2.mp4,y,tset\n"),
        ["split in", "videos.csv must be one of 'train'", "'tset'", "Did you mean 'test'"],
    ),
    "a split of no video": (
        charades("data.split.test=['Z*']"),
        ["split test must match videos", "'Z*'"],
    ),
    "nothing to train on": (
        table("path,labels,split\nAAAA1.mp4,x,test\nAAAA2.mp4,y,test\n"),
        ["videos.csv must have videos in split train; got 'test'", "data.split"],
    ),
    "no splits at all": (
        table("path,labels\nAAAA1.mp4,x\nAAAA2.mp4,y\n"),
        ["videos.csv must have videos in split train; got 'no splits'", "data.split.test_fraction"],
    ),
    "one video to train on": (
        table("path,labels,split\nAAAA1.mp4,x,train\nAAAA2.mp4,y,test\n"),
        ["split train must have at least 2 videos or windows; got 1"],
    ),
    # classes
    "a class number beyond the list": (
        charades(train=[ROW("AAAA1", "c007 1 2")]),
        ["Charades_v1_train.csv, line", "one of 4 classes; got 'c007'"],
    ),
    "a label that the mapping lacks": (
        breakfast({"P03_cam01_P03_milk": ["SIL", "pour_mlik"]}),
        ["P03_cam01_P03_milk.txt, line 2", "'pour_mlik'", "Did you mean 'pour_milk'"],
    ),
    "an unknown class left out": (
        charades("data.exclude_classes=['c001 Doing thing']"),
        ["'c001 Doing thing'", "Did you mean 'c001 Doing thing 1'"],
    ),
    "another number of classes": (
        charades("data.n_classes=157"),
        ["data.n_classes must be the number of classes in", "charades (4); got 157"],
    ),
    # labels
    "an empty label": (
        table("path,labels,split\nAAAA1.mp4,x,train\nAAAA2.mp4,,test\n"),
        ["videos.csv, line 3: labels must name at least one class; got ''"],
    ),
    "an empty timed label": (
        timed("video,label,start,end\nAAAA1,x,0,1\nBBBB1,,1,2\n"),
        ["actions.csv, line 3: label must be a class name; got ''"],
    ),
    "an empty label of Kinetics": (
        kinetics(",abc,0,10,train"),
        ["train.csv, line 2: label must be a class name; got ''"],
    ),
    "an empty label file": (
        breakfast({"P03_cam01_P03_milk": []}),
        ["P03_cam01_P03_milk.txt", "a label for every frame"],
    ),
    # videos
    "a video that the bank lacks": (
        table("path,labels,split\nAAAA1.mp4,x,train\nabsent.mp4,y,test\n"),
        ["lacks 1 of 2 videos: absent", "data.skip_missing=true"],
    ),
    "no bank": (charades("data.bank=nowhere"), ["nowhere", "not a feature bank"]),
    "no folder of videos": (
        charades(
            *("training.scheme=end_to_end", "backbone.name=timm:test_resnet", "data.videos=gone"),
            "backbone.weights=random",
        ),
        ["folder must be an existing folder", "gone"],
    ),
    # weights
    "an image network for a video network": (
        weights(
            RESNET, "extract", "a.mp4", "--out", "new", "--backbone", "i3d", "--weights", "file.pt"
        ),
        ["file.pt", "looks like 2D-ResNet (torchvision, timm)"],
    ),
    "a video network for an image network": (
        weights(
            I3D, "extract", "a.mp4", "--out", "new", "--backbone", "r2d_152", "--weights", "file.pt"
        ),
        ["file.pt", "looks like I3D (piergiaj)"],
    ),
    "Timeception for a backbone": (
        weights(
            *(TIMECEPTION, "extract", "a.mp4", "--out", "new", "--backbone", "r3d_50"),
            *("--weights", "file.pt"),
        ),
        ["file.pt", "looks like Timeception"],
    ),
    "a backbone to start from": (start(I3D), ["file.pt", "is not a Timeception network"]),
    "a backbone to convert": (
        weights(RESNET, "convert", "file.pt", "new", "--to", "torch"),
        ["file.pt", "is not a Timeception network"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_reported(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, messages = CASES[case]
    assert main(make()) == 2
    shown = capsys.readouterr()
    for words in messages:
        assert words in shown.err
    assert shown.err.startswith("timeception: ") and "Traceback" not in shown.err
    assert not (folder / "run").exists() and not (folder / "new").exists()
