"""The model table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from timeception.cli import main
from timeception.publish.zoo import zoo_entries
from timeception.recipes.recipe import load_recipe, packaged_recipes
from timeception.spec import ClassifierSpec, TimeceptionSpec

#: Recipes of classifiers; localizers have no published weights or figures.
CLASSIFIERS = [name for name in packaged_recipes() if not load_recipe(name).is_timeline]


def test_every_recipe_has_a_row() -> None:
    entries = zoo_entries()
    assert [entry.name for entry in entries] == CLASSIFIERS
    assert len([e for e in entries if e.published and e.published["metric"] == "Charades mAP"]) == 7
    for entry in entries:
        assert entry.weights is None
        assert entry.about and entry.n_macs > 0 and entry.n_frames >= entry.n_timesteps
        assert entry.commands[-3].startswith(f"timeception train {entry.name} ")


def test_costs_are_those_of_the_spec() -> None:
    (entry,) = zoo_entries(names=["charades_i3d_tc4_f1024"])
    layers = TimeceptionSpec(1024, 4)
    classifier = ClassifierSpec(layers, 157)
    assert entry.n_layer_parameters == layers.n_parameters == 1_494_304
    assert entry.n_parameters == classifier.n_parameters
    linear = 2480 * 512 + 512 * 157
    assert entry.n_macs == layers.n_macs(128, 7, 7) + linear
    assert entry.feature_shape == (1024, 7, 7)


def test_trained_weights_are_found(tmp_path: Path) -> None:
    model = tmp_path / "gtea" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    entries = {entry.name: entry for entry in zoo_entries(tmp_path)}
    assert entries["gtea"].weights == str(model)
    assert entries["demo"].weights is None


def test_commands_make_the_weights_from_the_videos_on() -> None:
    entries = {entry.name: entry for entry in zoo_entries()}
    for name in CLASSIFIERS:
        recipe, first = load_recipe(name), entries[name].commands[0]
        if recipe.is_end_to_end:
            assert first.startswith("timeception train")
        elif recipe.backbone.name == "imported":
            assert first.startswith("timeception bank import")
        else:
            if name == "demo":
                assert first == f"timeception data synthesize {recipe.data.videos}"
                first = entries[name].commands[1]
            assert f"--out {recipe.data.bank} --recipe {name}" in first


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["zoo", "--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "charades_i3d_tc4_f1024" in shown and "37.2 (2019)" in shown
    assert shown.count(" none ") == len(CLASSIFIERS)
    assert "not measured here" in shown and "without the backbone" in shown


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["zoo", "--json", "--runs", str(tmp_path)]) == 0
    rows = json.loads(capsys.readouterr().out)
    row = {row["name"]: row for row in rows}["charades_r3d_tc4_f1024"]
    assert (row["backbone"], row["n_layers"], row["n_frames"]) == ("r3d_101/res5", 4, 1024)
    assert row["published"]["percent"] == 41.1


def test_one_recipe_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "show", "charades_i3d_tc3_f256"]) == 0
    shown = capsys.readouterr().out
    assert "33.89 %" in shown and "not measured here" in shown
    assert "published, 2019" in shown and "piergiaj" in shown  # where the backbone's weights are
    assert "timeception extract charades/videos" in shown
    assert main(["zoo", "show", "charades_i3d_tc3_f255"]) == 2
    assert "Did you mean 'charades_i3d_tc3_f256'" in capsys.readouterr().err
