"""``--device`` of ``predict`` and ``test``: a wrong one is an error before any work.

The device ``meta`` computes nothing, so that whatever runs there shows.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.features.videos import make_video
from tests.inference.saved_models import save_model, tiny_backbone
from tests.training.small_runs import FRAMEWORK_WARNINGS, finished_run, small_recipe, write_data
from timeception.cli import main
from timeception.evaluation.evaluate import evaluate
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import load_saved

pytestmark = FRAMEWORK_WARNINGS
NO_DEVICE = "device must be a device of this machine"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a run that was not trained, a saved model and a video."""
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, [("a", "x", "train"), ("b", "y", "train"), ("c", "x", "test")])
    finished_run(folder / "run", small_recipe(folder), ("x", "y"), "single-label")
    make_video(folder / "a.mp4", 60, width=64, height=48)
    save_model(folder / "model", tiny_backbone())
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["test", "run"],
        ["predict", "model", "a.mp4"],
        ["predict", "model", "--stream", "a.mp4"],
        ["predict", "run", "--bank", "bank"],
    ],
    ids=" ".join,
)
def test_a_device_that_does_not_exist(
    root: Path,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(root)
    assert main([*words, "--device", "cuda:99"]) == 2
    shown = capsys.readouterr()
    assert NO_DEVICE in shown.err
    assert shown.out == ""


def test_the_head_of_a_test_runs_there(root: Path) -> None:
    from timeception.training.runs import Run

    with pytest.raises(NotImplementedError, match="meta"):
        evaluate(Run(root / "run"), n_draws=1, device="meta")
    assert evaluate(Run(root / "run"), n_draws=1, device="cpu").n_records == 1


def test_head_and_backbone_of_a_prediction_run_there(root: Path) -> None:
    model = load_saved(root / "model", device="meta")
    assert {tensor.device for tensor in model.head.state_dict().values()} == {torch.device("meta")}
    predictor = Predictor(load_saved(root / "model"), tiny_backbone(), "meta")
    with pytest.raises(NotImplementedError, match="meta"):
        predictor(root / "a.mp4")
    assert Predictor.for_features(root / "run", "meta").device == "meta"


def test_keras_uses_the_devices_of_its_backend(root: Path) -> None:
    pytest.importorskip("keras")
    with pytest.raises(ValueError, match="device must be left out with framework keras"):
        load_saved(root / "run", "keras", "cpu")
