"""Mistakes of a first day: one clear sentence each, that says what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.official_files import write_breakfast
from timeception.cli import main
from timeception.features.bank import FeatureBank
from timeception.recipes.recipe import build_recipe

FIELDS = "bank: bank}\nmodel: {n_layers: 1}\nsampling: {n_timesteps: 4}\n"
SHARE = "data.split.test_fraction=0.3"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bank of two classes, their CSV and folders of (empty) video files."""
    monkeypatch.chdir(tmp_path)
    bank = FeatureBank("bank", mode="a", settings={"made": "by hand"})
    for name in ("a/0", "a/1", "b/0", "b/1"):
        bank.write(name, np.ones((8, 4, 1, 1)), np.arange(8), fps=8.0)
        add_video(f"clips/{name}.mp4")
    for subject in ("P01", "P02"):
        add_video(f"people/{subject}/pour/x.mp4")
        add_video(f"people/{subject}/stir/x.mp4")
    rows = [f"{name}.mp4,{name[0]}" for name in bank.video_ids]
    Path("videos.csv").write_text("\n".join(["path,labels", *rows]))
    Path("open.yaml").write_text("name: mine\ndata: {source: clips, " + FIELDS)
    Path("mine.yaml").write_text("name: mine\ndata: {kind: csv, source: videos.csv, " + FIELDS)
    return tmp_path


def add_video(name: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).touch()


def names(pattern: str) -> list[str]:
    words = ["data.kind=names", f"data.pattern={pattern}", SHARE]
    return ["train", "mine.yaml", *words, "--out", "run"]


CASES: dict[str, tuple[list[str], list[str]]] = {
    "no splits": (
        ["train", "mine.yaml", "--out", "run"],
        ["must have videos in split train; got 'no splits'", SHARE.partition("=")[0]],
    ),
    "a pattern that matches nothing": (
        names("(?P<label>zz)"),
        ["'(?P<label>zz)' does not match 4 of them; got ['a/0',", "It finds no class."],
    ),
    "a pattern that matches some": (
        names("(?P<label>a)"),
        ["does not match 2 of them; got ['b/0', 'b/1']", "It finds the classes 'a'."],
    ),
    "a pattern of one class": (
        names("(?P<label>/)"),
        ["must find at least two classes", "got ['/']", "Ids look like 'a/0', 'a/1'"],
    ),
    "a pattern of a class per video": (
        names("(?P<label>.*)"),
        ["Each of the 4 classes has one video: 'a/0', 'a/1'"],
    ),
    "subjects for classes": (
        ["train", "mine.yaml", "data.kind=folder", "data.source=people", "--out", "run"],
        [
            "P01, P02, ... look like subjects, not classes",
            "the subfolders pour, stir",
            "data.pattern='^[^/]+/(?P<label>[^/]+)/'",
            "data.group='^(?P<subject>[^/]+)/'",
        ],
    ),
    "a kind that cannot be recognised": (
        ["train", "open.yaml", "data.source=bank/nothing", "--out", "run"],
        ["data.kind is not given", "bank/nothing"],
    ),
    "a misspelt recipe": (["train", "demoo"], ["packaged recipe. Did you mean 'demo'?"]),
    "a framework that does not train": (
        ["train", "mine.yaml", "framework=jax"],
        ["framework: recipes train with torch or keras", "KERAS_BACKEND=jax"],
    ),
    "an absent file": (
        ["convert", "nothere.pt", "x.pt", "--to", "torch"],
        ["timeception: nothere.pt: No such file"],
    ),
    "an absent model": (["zoo", "check", "WRONG"], ["model must be an existing folder, or a hub"]),
    "absent videos": (
        ["extract", "nothere", "--out", "new"],
        ["no such file or folder: nothere"],
    ),
    "a folder without videos": (["extract", "bank", "--out", "new"], ["no video files in bank"]),
    "a video for annotations": (
        ["data", "check", "clips/a/0.mp4"],
        ["must be a folder, or a CSV file with the columns path,labels or video,label,start,end"],
    ),
    "a timm model without its family": (
        ["extract", "clips", "--out", "new", "--backbone", "resnet50"],
        ["Did you mean 'timm:resnet50'?"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_one_clear_message(
    case: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, messages = CASES[case]
    assert main(words) == 2
    shown = capsys.readouterr().err
    for message in messages:
        assert message in shown
    assert "Traceback" not in shown
    assert not (folder / "run").exists() and not (folder / "new").exists()


@pytest.mark.parametrize("device", ["cuda:99", "nowhere"])
def test_an_absent_device(device: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backbone = ["--backbone", "timm:test_resnet", "--weights", "random"]
    assert main(["extract", "clips", "--out", "new", *backbone, "--device", device]) == 2
    shown = capsys.readouterr().err
    assert f"device must be a device of this machine, such as cpu or cuda; got '{device}'" in shown
    assert "Leave out --device" in shown and not (folder / "new").exists()


@pytest.mark.parametrize(
    ("source", "kind"), [("clips", "folder"), ("videos.csv", "csv"), ("breakfast", "breakfast")]
)
def test_the_kind_of_data_is_recognised(
    source: str, kind: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_breakfast(Path("breakfast"), {"P03_cam01_P03_milk": ["SIL"]})
    recipe = build_recipe({"name": "mine", "data": {"source": source, "bank": "bank"}})
    assert recipe.data.kind.startswith(kind) and recipe.data.source == Path(source)
    assert f"data.kind is not given; {source} looks like kind {kind}" in caplog.text


def test_a_pattern_shows_that_labels_are_in_names() -> None:
    data = {"source": "any", "bank": "bank", "pattern": "(?P<label>a)"}
    assert build_recipe({"name": "mine", "data": data}).data.kind == "names"


def test_a_csv_file_is_checked_like_its_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", "videos.csv", "--videos", "clips", "--no-open"]) == 0
    assert "timeception extract clips" in capsys.readouterr().out


def test_annotations_without_videos(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "videos.csv", "--videos", "bank"]) == 1
    shown = capsys.readouterr().out
    assert "folder without video files (1)" in shown
    assert "bank; pass --videos FOLDER if they are elsewhere" in shown


@pytest.mark.parametrize("name", ["mapping_bf.txt", "mapping_48.txt"])
def test_breakfast_has_its_mapping_under_other_names(name: str, folder: Path) -> None:
    from timeception.datasets.registry import recognise

    write_breakfast(Path("breakfast"), {"P03_cam01_P03_milk": ["SIL"]})
    Path("breakfast/mapping.txt").rename(f"breakfast/{name}")
    kind, place = recognise("breakfast")
    assert kind.family == "breakfast" and kind.read(place).classes[0] == "SIL"
    Path("breakfast/mapping_other.txt").write_text("0 SIL\n")
    with pytest.raises(ValueError, match=r"must hold one mapping\*\.txt.*Rename the right one"):
        kind.read(place)


@pytest.mark.parametrize("layout", ["pour/front", "P01/a;P02/b", "P01/a;stir/a"])
def test_other_subfolders_are_no_subjects(layout: str, tmp_path: Path) -> None:
    from timeception.datasets.folder import from_folder

    for place in [*layout.split(";"), "other"]:
        add_video(f"{tmp_path}/{place}/x.mp4")
    assert "other" in from_folder(tmp_path).classes


def missing(name: str | None, text: str, cause: Exception | None = None) -> Callable[..., None]:
    def command(*words: object, **more: object) -> None:
        raise (ModuleNotFoundError(text, name=name) if name else ImportError(text)) from cause

    return command


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (missing("ray.util", "No module"), "requires ray, which is not installed: pip install "),
        (missing("ray", "No module"), "'timeception[ray]'"),
        (missing("transformers", "No module"), "'timeception[hf]'"),
        (missing("h5py", "No module"), "pip install 'h5py'"),
        (missing(None, "x requires y", ModuleNotFoundError("No", name="y")), "x requires y"),
    ],
)
def test_a_missing_package(
    command: Callable[..., None],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("typer.Typer.__call__", command)
    assert main(["recipe", "list"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["timeception.nowhere", None])
def test_faults_of_the_program_keep_their_traceback(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.Typer.__call__", missing(name, "a fault"))
    with pytest.raises(ImportError, match="a fault"):
        main(["recipe", "list"])


def test_the_shell_completes_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out


NETWORKS = {
    "torch": (
        "from timeception.torch import Timeception; import torch",
        "Timeception(64, n_layers=2, n_groups=4)",
        "torch.zeros(1, 64, 8, 1, 1, dtype=torch.uint8)",
    ),
    "keras": (
        "from timeception.keras import Timeception; import numpy as np",
        "Timeception(64, n_layers=2, n_groups=4)",
        "np.zeros((1, 8, 1, 1, 64), np.uint8)",
    ),
    "keras classifier": (
        "from timeception.keras import PoolingClassifier; import numpy as np",
        "PoolingClassifier(64, n_classes=2)",
        "np.zeros((1, 8, 1, 1, 64), np.uint8)",
    ),
    "jax": (
        "from timeception.jax import apply, init; from timeception.spec import TimeceptionSpec\n"
        "import jax; import numpy as np; from functools import partial",
        "partial(apply, init(TimeceptionSpec(64, n_layers=2, n_groups=4), jax.random.key(0)))",
        "np.zeros((1, 8, 1, 1, 64), np.uint8)",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_pixel_levels_are_no_features(network: str) -> None:
    pytest.importorskip(network.partition(" ")[0])
    imports, made, pixels = NETWORKS[network]
    program = f"{imports}\nnetwork = {made}\nnetwork({pixels})\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "TypeError" in done.stderr and "must be a floating-point" in done.stderr
    assert "uint8" in done.stderr and "extract features from them first" in done.stderr


@pytest.mark.slow
def test_tensorflow_can_be_hidden() -> None:
    program = (
        "import sys, importlib.util\n"
        "from timeception.training.without_tensorflow import tensorflow_hidden\n"
        "with tensorflow_hidden():\n"
        "    try:\n        import tensorflow\n    except ImportError:\n        print('hidden')\n"
        "print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["hidden", "False"], done.stderr
