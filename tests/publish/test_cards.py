"""Cards and rows of the zoo, made of runs that were never trained: every figure at its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.small_runs import finished_run, small_recipe, write_data
from timeception.publish import zoo
from timeception.publish.packing import pack
from timeception.recipes.recipe import Recipe, load_recipe
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.training.runs import Run

SHA256 = "0123456789abcdef" * 4
BACKBONE = {
    "name": "i3d",
    "endpoint": "Mixed_5c",
    "weights": {"source": "i3d.pt", "family": "piergiaj", "licence": "MIT", "sha256": SHA256},
}
CLASSES = ("stir", "cut")
MEASURED = {"equidistant": (0.25, 0.5), "average_of_draws": (0.75, 0.62518)}


def run_of(root: Path, features: dict[str, Any] | None = None, **changes: object) -> Run:
    write_data(root, [("a", "cut", "train"), ("b", "stir", "test")])
    return finished_run(
        root / "run", small_recipe(root, **changes), CLASSES, "single-label", features
    )


def write_results(run: Run) -> None:
    samplings = {
        name: {"top_1_accuracy": accuracy, "mean_average_precision": precision, "n_items": 3}
        for name, (accuracy, precision) in MEASURED.items()
    }
    run.results.mkdir()
    report = {"n_draws": 7, "protocols": {"kinetics": samplings}}
    (run.results / "test.json").write_text(json.dumps(report))


def card(run: Run, folder: Path, **more: str) -> tuple[dict[str, Any], str]:
    """The metadata, and the page."""
    text = (pack(run.root, folder, **more) / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_results_of_each_sampling(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    write_results(run)
    metadata, body = card(run, tmp_path / "packed")
    metrics = metadata["model-index"][0]["results"][0]["metrics"]
    assert {metric["name"]: metric["value"] for metric in metrics} == {
        "mAP, kinetics, average of 7 draws": 0.6252,
        "top-1 accuracy, kinetics, average of 7 draws": 0.75,
        "mAP, kinetics, equidistant": 0.5,
        "top-1 accuracy, kinetics, equidistant": 0.25,
    }
    for row in (
        "| kinetics | average of 7 draws | mAP | 0.6252 |",
        "| kinetics | average of 7 draws | top-1 accuracy | 0.7500 |",
        "| kinetics | equidistant | mAP | 0.5000 |",
        "| kinetics | equidistant | top-1 accuracy | 0.2500 |",
    ):
        assert row in body


@pytest.mark.parametrize("licence", [None, "mit"])
def test_the_licence(licence: str | None, tmp_path: Path) -> None:
    more = {} if licence is None else {"licence": licence}
    metadata, _ = card(run_of(tmp_path), tmp_path / "packed", **more)
    assert metadata["license"] == (licence or "gpl-3.0")


def test_what_the_model_is_and_how_to_load_it(tmp_path: Path) -> None:
    changes = {"about": "Kitchen gestures", "training__epochs": 9, "seed": 5}
    _, body = card(run_of(tmp_path, {"backbone": BACKBONE}, **changes), tmp_path / "packed")
    assert "# small\n\nKitchen gestures.\n" in body
    assert "A single-label classifier of long videos: a pooling head on features of 4" in body
    assert "Classes (2): stir, cut." in body
    assert "from timeception.torch import PoolingClassifier\n" in body
    assert (
        "- backbone i3d, endpoint Mixed_5c, weights i3d.pt "
        f"(licence: MIT, sha256 {SHA256[:16]})" in body
    )
    assert "9 epochs, batch 4, adam, learning rate 0.01, seed 5" in body
    assert "fine-tuned" not in body and "imported" not in body


def private(root: Path) -> dict[str, Any]:
    """Fields with folders of the maker."""
    for name in ("backbone.pt", "start"):
        (root / name).touch()
    return {
        "init_from": str(root / "start"),
        "data__videos": str(root / "films"),
        "backbone": {"name": "i3d", "weights": str(root / "backbone.pt")},
    }


def test_a_fine_tuned_model_names_its_start_without_folders(tmp_path: Path) -> None:
    run = run_of(tmp_path, **private(tmp_path))
    _, body = card(run, tmp_path / "packed")
    assert "- fine-tuned from start\n" in body
    for file in ("README.md", "recipe.yaml"):
        assert str(tmp_path) not in (tmp_path / "packed" / file).read_text()
    recipe = load_recipe(tmp_path / "packed" / "recipe.yaml")
    assert recipe.init_from == "start"
    assert recipe.backbone is not None and recipe.backbone.weights == "backbone.pt"
    found = [str(getattr(recipe.data, name)) for name in ("source", "bank", "videos")]
    assert found == ["videos.csv", "bank", "films"]
    # all else is as it was
    ours, theirs = recipe.model_dump(mode="json"), run.recipe().model_dump(mode="json")
    assert {name for name in ours if ours[name] != theirs[name]} == {
        *("init_from", "data", "backbone"),
    }


def row(monkeypatch: pytest.MonkeyPatch, *words: str, name: str = "gtea") -> zoo.ZooEntry:
    """The row of a packaged recipe, with other fields."""

    def changed(source: str) -> Recipe:
        return load_recipe(source, words)

    monkeypatch.setattr(zoo, "load_recipe", changed)
    (entry,) = zoo.zoo_entries(names=[name])
    return entry


def test_costs_follow_every_field_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"n_layers": 2, "n_groups": 4, "is_dilated": False, "expansion": 1.5}
    words = [f"model.{name}={str(value).lower()}" for name, value in fields.items()]
    words += ["model.hidden=9", "model.keep_spatial=true", "data.n_classes=7"]
    words += ["backbone.map_size=[4,6]", "sampling.map_size=[2,3]", "sampling.n_timesteps=8"]
    entry = row(monkeypatch, *words, "backbone.frames_per_segment=3")
    layers = TimeceptionSpec(128, **fields)
    classifier = ClassifierSpec(layers, 7, hidden=9, map_size=(2, 3))
    assert entry.feature_shape == (128, 2, 3)
    assert (entry.n_frames, entry.n_timesteps, entry.n_layers) == (24, 8, 2)
    assert entry.n_layer_parameters == layers.n_parameters
    assert entry.n_parameters == classifier.n_parameters
    linear = layers.out_channels * 6 * 9 + 9 * 7
    assert entry.n_macs == layers.n_macs(8, 2, 3) + linear


def test_costs_without_classes_are_those_of_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = row(monkeypatch, "data.n_classes=null", "sampling.n_timesteps=32")
    layers = TimeceptionSpec(128, entry.n_layers, 1)
    assert entry.n_parameters is None
    assert entry.n_macs == layers.n_macs(32, 1, 1)


def test_frame_labels_are_for_timed_annotations() -> None:
    recipe = load_recipe("gtea")
    fields = recipe.model_dump(mode="json")
    first = zoo.commands(recipe, Path("runs/gtea"))[0]
    assert recipe.data.kind == "timed"
    assert f"--frame-labels LABELS --annotations {recipe.data.source}" in first
    fields["data"] |= {"kind": "csv", "windows": None}
    other = zoo.commands(Recipe.model_validate(fields), Path("runs/gtea"))
    assert other == (
        f"timeception bank import FEATURES --out {recipe.data.bank}",
        "timeception train gtea --out runs/gtea",
        "timeception test runs/gtea",
        "timeception zoo pack runs/gtea gtea_model",
    )
