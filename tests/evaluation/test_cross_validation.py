"""Folds, their recipes, and cross-validation from recipe to comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.small_runs import small_recipe, write_data
from timeception.cli import main
from timeception.evaluation.comparison import compare, read_folds
from timeception.evaluation.cross_validation import Fold, fold_recipe, make_folds
from timeception.recipes.recipe import Recipe
from timeception.training.runs import Run

PEOPLE = ("P01", "P02", "P03", "P04")
ROWS = [
    (f"{person}_{label}{take}", label, "")
    for person in PEOPLE
    for label in ("cut", "pour")
    for take in range(2)
]
GROUP = "(?P<subject>P[0-9]+)_"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return small_recipe(write_data(tmp_path, ROWS), testing={"draws": 2})


def test_stratified_folds_cover_every_video_once(recipe: Recipe) -> None:
    folds = make_folds(recipe, n_folds=4)
    assert [fold.name for fold in folds] == ["1", "2", "3", "4"]
    tested = [name for fold in folds for name in fold.test]
    assert sorted(tested) == sorted(name for name, _, _ in ROWS)
    for fold in folds:
        assert sum("cut" in name for name in fold.test) == 2 == sum("pour" in n for n in fold.test)


def test_folds_divide_no_group(recipe: Recipe) -> None:
    for fold in make_folds(recipe.with_group(GROUP), n_folds=2):
        inside = {name[:3] for name in fold.test}
        assert len(inside) == 2 and len(fold.test) == 8


def test_one_group_is_left_out(recipe: Recipe) -> None:
    for chosen in (
        make_folds(recipe, group=GROUP),
        make_folds(recipe.with_group(GROUP), group="subject"),
    ):
        assert [fold.name for fold in chosen] == list(PEOPLE)
        assert all({name[:3] for name in fold.test} == {fold.name} for fold in chosen)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "folds, group must be given one without the other"),
        ({"n_folds": 3, "group": GROUP}, "one without the other"),
        ({"n_folds": 17}, "folds must be 2 to 16"),
        ({"group": "(?P<all>P)"}, "at least two groups"),
    ],
)
def test_wrong_folds_raise(recipe: Recipe, words: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_folds(recipe, **words)


def test_the_recipe_of_a_fold(recipe: Recipe) -> None:
    data = recipe.data.model_copy(
        update={"bank": Path("banks/{fold}"), "source": Path("{group}.csv")}
    )
    made = fold_recipe(recipe.model_copy(update={"data": data}), Fold("P02", 2, ("P02_[x]",)), 7)
    assert (str(made.data.bank), str(made.data.source), made.seed) == ("banks/2", "P02.csv", 7)
    assert made.data.split.test == ("P02_[[]x]",)


def test_from_recipe_to_comparison(
    recipe: Recipe,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.to_yaml())
    words = ["cross-validate", str(file), "--group", GROUP, "--seeds", "2", "--workers", "1"]
    for head in ("pooling", "linear"):
        assert main([*words, f"model.head={head}", "--out", str(tmp_path / head)]) == 0
    shown = capsys.readouterr().out
    assert "4 folds with their test videos: P01 (4), P02 (4), P03 (4), P04 (4); 2 seed(s)" in shown
    assert "[8/8]" in shown and "standard deviation over seeds" in shown
    assert "fold_P03/seed_1: 16 records of 2 classes (4 test, 12 train); training small" in shown
    assert f"timeception compare {tmp_path / 'linear'} OTHER" in shown
    result = json.loads((tmp_path / "pooling" / "cross_validation.json").read_text())
    assert result["metric"] == "accuracy" and set(result["folds"]) == set(PEOPLE)
    assert all(len(by_seed) == 2 for by_seed in result["folds"].values())
    run = Run(tmp_path / "linear" / "fold_P03" / "seed_1")
    assert run.recipe().seed == 1 and run.recipe().model.head == "linear"
    folds = read_folds(tmp_path / "pooling")
    assert [fold.scores.shape for fold in folds] == [(4, 2, 2)] * 4

    # again: nothing is trained; another recipe is refused
    monkeypatch.setattr("timeception.training.train.train", None)
    assert main([*words, "model.head=linear", "--out", str(tmp_path / "linear"), "--json"]) == 0
    printed = capsys.readouterr()
    again = json.loads(printed.out)
    assert "[8/8]" in printed.err
    assert again == {
        k: v
        for k, v in json.loads((tmp_path / "linear" / "cross_validation.json").read_text()).items()
        if k != "test_videos"
    }
    assert (
        main([*words, "model.head=linear", "training.epochs=2", "--out", str(tmp_path / "linear")])
        == 2
    )
    assert "was trained with another recipe" in capsys.readouterr().err

    found = compare([tmp_path / "pooling", tmp_path / "linear"])
    values = [interval.value for interval in found.intervals.values()]
    (difference,) = found.differences.values()
    assert difference.interval.value == pytest.approx(values[0] - values[1])
    assert main(["compare", str(tmp_path / "pooling"), str(tmp_path / "linear")]) == 0
    assert "paired differences" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "pooling")]) == 2
    assert "RUN must be at least two runs" in capsys.readouterr().err
    assert main(["compare", str(run.root), str(tmp_path)]) == 2
    assert "timeception test" in capsys.readouterr().err
