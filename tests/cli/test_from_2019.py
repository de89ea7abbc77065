"""Every command of docs/from-2019-scripts.md runs, on made files and with smaller settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.cli.test_documents import ROOT, lines_of
from tests.datasets import official_files as official
from tests.recipes.test_recipe_2019 import OLD
from tests.training.test_initialization import HEAD_2019, write_2019
from timeception.cli import main
from timeception.datasets.synthetic.generate import write_mp4
from timeception.spec import TimeceptionSpec

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:lightning",
    "ignore::DeprecationWarning:tensorboard",
    "ignore::DeprecationWarning:torch",
)

PAGE = ROOT / "docs" / "from-2019-scripts.md"
TRAIN, TEST = ("AAAA1", "AAAA2", "AAAA3", "AAAA4"), ("BBBB1", "BBBB2")
SMALLER = ["training.epochs=1", "training.batch_size=2", "data.n_classes=4"]
SMALL_FRAMES = ["backbone.resize=32", "backbone.crop=32", "backbone.map_size=[1,1]"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: annotations, videos, feature files, a weight file, an old recipe."""
    monkeypatch.chdir(tmp_path)
    rows = [[official.charades_row(name, "c000 0 1") for name in part] for part in (TRAIN, TEST)]
    official.write_charades(tmp_path / "charades", *rows)
    rng = np.random.default_rng(0)
    for path in ("charades/videos", "FILES"):
        (tmp_path / path).mkdir()
    for name in (*TRAIN, *TEST):
        frames = rng.integers(0, 255, (16, 40, 48, 3), dtype=np.uint8)
        write_mp4(tmp_path / "charades" / "videos" / f"{name}.mp4", frames, fps=24)
        np.save(tmp_path / "FILES" / f"{name}.npy", rng.random((12, 1, 1, 1024)))
    layers = TimeceptionSpec(8, 2, 1)
    write_2019(tmp_path / "OLD.pkl", layers, HEAD_2019 | {"l1.weight": (512, layers.out_channels)})
    model = OLD["MODEL"] | {"N_CLASSES": 4, "N_TC_LAYERS": 2, "N_TC_TIMESTEPS": 8}
    training = OLD["TRAIN"] | {"BATCH_SIZE": 2, "N_EPOCHS": 1}
    fields = OLD | {"MODEL": model | {"N_INPUT_TIMESTEPS": 64}, "TRAIN": training}
    (tmp_path / "OLD.yaml").write_text(yaml.safe_dump(fields))
    return tmp_path


def run(line: str, additions: Iterable[str] = ()) -> int:
    return main([*shlex.split(line)[1:], *additions])


IMPORT = "timeception bank import FILES --out banks/charades_i3d --axes THWC"
ROW = "timeception train charades_i3d_tc4_f1024"
EXTRACT = (
    "timeception extract charades/videos --out banks/charades_i3d --recipe charades_i3d_tc4_f1024"
)

#: What comes before each line, what is added to it, and what it leaves behind.
LINES: dict[str, tuple[list[tuple[str, list[str]]], list[str], str]] = {
    IMPORT: ([], [], "banks/charades_i3d/bank.json"),
    ROW: ([(IMPORT, [])], SMALLER, "runs/charades_i3d_tc4_f1024/model/config.json"),
    "timeception train charades_i3d_tc3_f256": (
        [(IMPORT, [])],
        SMALLER,
        "runs/charades_i3d_tc3_f256/model/config.json",
    ),
    "timeception test runs/charades_i3d_tc4_f1024 --draws 10 --protocol charades_official": (
        [(IMPORT, []), (ROW, SMALLER)],
        [],
        "runs/charades_i3d_tc4_f1024/results/test.json",
    ),
    "timeception train OLD.yaml": ([(IMPORT, [])], [], "runs/OLD/model/config.json"),
    "timeception train OLD.yaml data.source=charades data.bank=banks/charades_i3d": (
        [(IMPORT, [])],
        [],
        "runs/OLD/model/config.json",
    ),
    EXTRACT: (
        [],
        ["--weights", "random", *(word for f in SMALL_FRAMES for word in ("--set", f))],
        "banks/charades_i3d/bank.json",
    ),
    "timeception convert OLD.pkl NEW.safetensors --to torch": ([], [], "NEW.safetensors"),
}


@pytest.mark.parametrize("line", LINES)
def test_it_runs(line: str, folder: Path) -> None:
    before, additions, made = LINES[line]
    for earlier in before:
        assert run(*earlier) == 0
    assert not (folder / made).exists()
    assert run(line, additions) == 0
    assert (folder / made).is_file()


def test_every_line_is_run() -> None:
    assert set(lines_of(PAGE)) == set(LINES)


def test_an_old_weight_file_is_a_start(folder: Path) -> None:
    """``init_from=OLD.pkl``, on features of its channels."""
    for name in (*TRAIN, *TEST):
        np.save(folder / "FILES" / f"{name}.npy", np.random.default_rng(0).random((12, 1, 1, 8)))
    assert run(IMPORT) == 0
    words = ["is_dilated=false", "pool_lookahead=false", "bn_eps=1e-05", "n_groups=1"]
    layers = [f"model.{word}" for word in words]
    fields = ["init_from=OLD.pkl", "backbone=null", *layers]
    assert run("timeception train OLD.yaml", fields) == 0
    start = (folder / "runs" / "OLD" / "start.json").read_text()
    assert '"init_from"' in start and "timeception.layers.1.norm.weight" in start
