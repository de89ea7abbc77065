"""Exit statuses: 0 done, 1 finished but some inputs failed, 2 wrong use, 130 stopped by Ctrl-C."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from tests.features.videos import make_video
from tests.inference.saved_models import save_model, tiny_backbone
from tests.training.small_runs import (
    FRAMEWORK_WARNINGS,
    curve,
    cut_power,
    finished_run,
    small_recipe,
    write_data,
)
from timeception.cli import main
from timeception.features.bank import FeatureBank
from timeception.inference.predictor import Predictor
from timeception.training.runs import Run

pytestmark = FRAMEWORK_WARNINGS


@pytest.fixture(autouse=True)
def _interrupt_is_handled_as_before() -> Iterator[None]:
    """Lightning ignores Ctrl-C from the first one on."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a bank and ``recipe.yaml``."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"t{n}", ("cut", "pour")[n % 2], "train") for n in range(4)]
    rows += [(f"v{n}", ("cut", "pour")[n % 2], "test") for n in range(3)]
    recipe = small_recipe(write_data(tmp_path, rows), training__epochs=3)
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    return tmp_path


@pytest.fixture
def broken_bank(data: Path) -> Path:
    """A finished run, whose bank has lost a test video: its extraction failed."""
    text = (data / "videos.csv").read_text()
    (data / "videos.csv").write_text(text + "gone.mp4,cut,test\n")
    FeatureBank(data / "bank", mode="a").record_failure("gone", data / "gone.mp4", "cut short")
    finished_run(data / "run", small_recipe(data), ("cut", "pour"), "single-label")
    return data / "run"


def test_a_test_of_all_records_is_0(data: Path) -> None:
    finished_run(data / "run", small_recipe(data), ("cut", "pour"), "single-label")
    assert main(["test", "run", "--draws", "1"]) == 0


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_test_that_leaves_videos_out_is_1(
    broken_bank: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", "run", "--draws", "1", *words]) == 1
    shown = capsys.readouterr()
    assert "gone" in shown.err
    written = json.loads((broken_bank / "results" / "test.json").read_text())
    assert written["left_out"] == ["gone"] and written["n_records"] == 3
    if words:
        assert json.loads(shown.out) == written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["test", "run", "--protocol", "nothing"], "protocol must be one of"),
        (["test", "run", "--split", "validation"], "split must be one of"),
        (["test", "run", "--draws", "0"], "--draws"),
        (["test", "run", "--framework", "theano"], "--framework"),
        (["test"], "Missing argument"),
        (["train", "recipe.yaml", "training.epochs"], "key=value"),
        (["train", "recipe.yaml", "training.epochs=0"], "training.epochs"),
        (["train", "recipe.yaml", "--out", "run"], "holds a finished run"),
        (["predict", "run", "a.mp4", "--top", "0"], "--top"),
        (["predict", "run", "a.mp4", "--draws", "0"], "--draws"),
        (["predict", "nowhere", "a.mp4"], "nowhere"),
        (["data", "check", "nowhere"], "nowhere"),
        (["data", "synthesize", "made", "--side", "33"], "side must be even"),
        (["data", "synthesize", "made", "--videos-per-class", "1"], "--videos-per-class"),
        (["data", "synthesize"], "Missing argument"),
    ],
)
def test_wrong_use_is_2(
    data: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_run(data / "run", small_recipe(data), ("cut", "pour"), "single-label")
    assert main(words) == 2
    shown = capsys.readouterr()
    assert message in shown.err and "Traceback" not in shown.err
    assert shown.out == ""
    assert not (data / "run" / "results").exists() and not (data / "made").exists()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model, with a video and a file that is none beside it."""
    root = tmp_path_factory.mktemp("saved")
    make_video(root / "a.mp4", 24, width=64, height=48)
    (root / "no.mp4").write_text("no video at all")
    return save_model(root / "model", tiny_backbone())


def test_predictions_of_all_files_are_0(model: Path) -> None:
    assert main(["predict", str(model), str(model.parent / "a.mp4")]) == 0


@pytest.mark.parametrize("names", [["no.mp4"], ["a.mp4", "no.mp4"], ["no.mp4", "a.mp4"]])
def test_a_file_that_cannot_be_read_is_1_and_the_others_are_scored(
    model: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(model.parent / name) for name in names]
    assert main(["predict", str(model), *files, "--json"]) == 1
    shown = {Path(each["video"]).name: each for each in json.loads(capsys.readouterr().out)}
    assert list(shown) == names
    assert "no.mp4" in shown["no.mp4"]["error"] and "scores" not in shown["no.mp4"]
    assert all(len(shown[name]["scores"]) == 3 for name in names if name == "a.mp4")
    assert main(["predict", str(model), *files]) == 1
    text = capsys.readouterr()
    assert "no.mp4" in text.err
    assert ("a.mp4" in text.out) == ("a.mp4" in names)


def test_a_data_set_with_a_fault_is_1(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "videos").mkdir()
    (data / "videos" / "videos.csv").write_text("path,labels,split\na.mp4,cut,train\n")
    assert main(["data", "check", "videos", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["is_ok"] is False
    make_video(data / "videos" / "a.mp4", 12)
    assert main(["data", "check", "videos", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_ok"] is True


def interrupt(*arguments: object, **more: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "words",
    [
        ["test", "run", "--draws", "2"],
        ["train", "recipe.yaml", "--out", "new"],
    ],
)
def test_ctrl_c_is_130(
    data: Path,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finished_run(data / "run", small_recipe(data), ("cut", "pour"), "single-label")
    monkeypatch.setattr(FeatureBank, "draw", interrupt)
    assert main(words) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert not list(data.glob("run/results/*"))


def test_ctrl_c_while_files_are_predicted_is_130(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Predictor, "__call__", interrupt)
    assert main(["predict", str(model), str(model.parent / "a.mp4")]) == 130


def test_ctrl_c_that_the_parser_lets_through_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typer ends the commands itself; whatever else is interrupted ends alike."""
    monkeypatch.setattr(typer.Typer, "__call__", interrupt)
    assert main(["test", "run"]) == 130
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("timeception: stopped")


def test_ctrl_c_says_how_to_continue(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_run(data / "run", small_recipe(data), ("cut", "pour"), "single-label")
    monkeypatch.setattr(FeatureBank, "draw", interrupt)
    main(["test", "run"])
    assert "timeception: stopped" in capsys.readouterr().err


def test_ctrl_c_in_the_midst_of_training_is_130(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_power(monkeypatch, after=6, error=KeyboardInterrupt)  # in the second epoch of four videos
    assert main(["train", "recipe.yaml", "--out", "new"]) == 130


def test_ctrl_c_in_the_midst_of_training_leaves_what_resume_takes(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "recipe.yaml", "training.checkpoint_every=1", "--out", "new"]
    with monkeypatch.context() as patch:
        cut_power(patch, after=6, error=KeyboardInterrupt)
        assert main(words) != 0
    assert not (data / "new" / "model").exists()
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert (data / "new" / "model" / "config.json").is_file()
    assert curve(Run(data / "new"), "epoch")[-1] == 2
