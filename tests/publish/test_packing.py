"""A trained model, packed, checked, and loaded back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.order_recipe import order_recipe
from tests.training.test_end_to_end import recipe_for as video_recipe
from timeception.cli import main
from timeception.evaluation.evaluate import evaluate
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import load_saved
from timeception.publish.packing import pack
from timeception.recipes.recipe import load_recipe
from timeception.torch import TimeceptionClassifier
from timeception.training.runs import Run
from timeception.training.train import train
from timeception.weights import write_folder
from timeception.weights.folder import check_hashes, read_folder

pytestmark = [
    pytest.mark.slow,  # it trains
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning:lightning",
        "ignore::DeprecationWarning:tensorboard",
        "ignore::DeprecationWarning:torch",
    ),
]


@pytest.fixture(scope="module")
def run(order_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = train(
        order_recipe(order_data, training__epochs=2), tmp_path_factory.mktemp("r") / "order"
    )
    evaluate(run, n_draws=2)
    return run


@pytest.fixture
def packed(run: Run, tmp_path: Path) -> Path:
    return pack(run.root, tmp_path / "packed", licence="mit")


def test_it_loads_back(run: Run, packed: Path) -> None:
    model = TimeceptionClassifier.from_pretrained(packed)
    spec, arrays, pipeline = read_folder(run.model)
    assert model.spec == spec and model.pipeline == pipeline
    assert all(np.array_equal(a, arrays[name]) for name, a in model.to_arrays().items())
    assert load_saved(packed).classes == ("falling", "rising")


def test_the_card_tells_what_it_is(packed: Path) -> None:
    text = (packed / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["license"] == "mit"
    assert metadata["library_name"] == "timeception"
    assert metadata["pipeline_tag"] == "video-classification"
    (result,) = metadata["model-index"][0]["results"]
    names = {metric["name"] for metric in result["metrics"]}
    assert "top-1 accuracy, accuracy, average of 2 draws" in names
    assert "| accuracy | equidistant | top-1 accuracy |" in body
    assert "falling, rising" in body
    assert "imported features" in body
    assert "from_pretrained" in body
    for name in ("config.json", "model.safetensors"):
        assert f"- `{name}`: sha256 `{check_hashes(packed)[name]}`" in body


def test_no_folder_of_the_maker_is_handed_on(packed: Path, order_data: Path) -> None:
    for file in ("README.md", "recipe.yaml"):
        assert str(order_data.parent) not in (packed / file).read_text()
    recipe = load_recipe(packed / "recipe.yaml")
    assert recipe.data.source == Path("videos.csv")


def test_a_run_that_was_not_tested_says_so(order_data: Path, tmp_path: Path) -> None:
    run = train(order_recipe(order_data, training__epochs=1), tmp_path / "run")
    assert "Not tested." in (pack(run.root, tmp_path / "out") / "README.md").read_text()


def test_changed_files_are_reported(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "check", str(packed)]) == 0
    assert "valid: 2 classes, 24 timesteps" in capsys.readouterr().out
    assert main(["zoo", "check", str(packed), "--sha256", "0" * 64]) == 2
    assert "model.safetensors must have the SHA-256 hash" in capsys.readouterr().err
    weights = packed / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x00")
    with pytest.raises(ValueError, match=r"(?s)SHA256SUMS does not match.*model\.safetensors"):
        TimeceptionClassifier.from_pretrained(packed)
    assert main(["zoo", "check", str(packed)]) == 2


def test_a_missing_file_raises(packed: Path) -> None:
    (packed / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors: no such file found"):
        read_folder(packed)


def test_saving_again_makes_the_old_hashes_void(packed: Path) -> None:
    spec, arrays, pipeline = read_folder(packed)
    write_folder(packed, spec, {name: a + 1 for name, a in arrays.items()}, pipeline)
    assert check_hashes(packed) == {}


def test_what_cannot_be_packed_raises(run: Run, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="out must be a new or empty folder"):
        pack(run.root, packed)
    with pytest.raises(ValueError, match="not a run folder"):
        pack(tmp_path, tmp_path / "out")


def test_the_command(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "pack", str(run.root), str(tmp_path / "out")]) == 0
    assert "README.md, SHA256SUMS, config.json, model.safetensors" in capsys.readouterr().out
    assert main(["zoo", "check", str(run.root)]) == 2
    assert "has no SHA256SUMS" in capsys.readouterr().err


def test_a_trained_backbone_is_packed_too(clips: Path, tmp_path: Path) -> None:
    run = train(video_recipe(clips, training__epochs=1), tmp_path / "run")
    packed = pack(run.root, tmp_path / "packed")
    assert set(check_hashes(packed)) == {"config.json", "model.safetensors", "backbone.safetensors"}
    recipe = json.loads((packed / "config.json").read_text())["pipeline"]["features"]
    assert recipe["backbone"]["weights"]["source"] == "backbone.safetensors"
    video = clips / "left" / "0.mp4"
    assert (Predictor.load(packed)(video).scores == Predictor.load(run.root)(video).scores).all()
