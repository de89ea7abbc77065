"""Searches: trials, pruning, folds, resumption, failures, and the recipe of the best trial."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.order_recipe import table
from tests.training.small_runs import FRAMEWORK_WARNINGS, cut_power, small_recipe, write_data
from timeception.cli import main
from timeception.features.bank import FeatureBank
from timeception.files import write_text
from timeception.recipes.recipe import Recipe, load_recipe
from timeception.search import trials as trials_module
from timeception.search.space import Space, read_space
from timeception.search.study import search
from timeception.training.curves import read_curves
from timeception.training.progress import TrainingProgress
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

ROWS = [
    (f"{person}_{label}{take}", label, split)
    for person, split in (("P1", "train"), ("P2", "train"), ("P3", "validation"), ("P4", "test"))
    for label in ("cut", "pour")
    for take in range(2)
]
GROUP = "(?P<subject>P[0-9]+)_"
SPACE = ("training.learning_rate=1e-3:1e-1:log", "model.hidden=[4, 6, 8]")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return small_recipe(
        write_data(tmp_path, ROWS),
        training={"epochs": 3, "batch_size": 4, "learning_rate": 0.05, "checkpoint_every": 1},
    )


@pytest.fixture
def space() -> Space:
    return read_space(SPACE)


def rows_of(out: Path) -> list[dict[str, str]]:
    """The table of the trials, without times."""
    rows = table(out / "trials.csv")
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Recipe]]:
    """Replace training by one that logs given metrics; returns the recipes it is called with."""

    def script(metrics: Callable[[Recipe, int], list[float]]) -> list[Recipe]:
        trained: list[Recipe] = []

        def fake(recipe: Recipe, root: Path, *, on_progress: Any, **more: Any) -> None:
            trained.append(recipe)
            progress = TrainingProgress(recipe.name, 2, {"train": 4}, recipe.training.epochs)
            on_progress(progress)
            lines = ["epoch,step,validation_map"]
            for epoch, value in enumerate(metrics(recipe, len(trained))):
                lines.append(f"{epoch},{epoch},{value}")
                write_text(root / "logs" / "part_1" / "metrics.csv", "\n".join(lines) + "\n")
                progress.epoch, progress.metrics = epoch + 1, {"validation_map": value}
                on_progress(progress)

        monkeypatch.setattr(trials_module, "train", fake)
        return trained

    return script


def test_the_best_recipe_trains_to_the_same_metric(
    framework: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    whole = FeatureBank.draw

    def draw(self: FeatureBank, video_id: str, *words: Any, **more: Any) -> Any:
        seen.add(video_id)
        return whole(self, video_id, *words, **more)

    monkeypatch.setattr(FeatureBank, "draw", draw)
    file, out = tmp_path / "recipe.yaml", tmp_path / "out"
    file.write_text(recipe.model_copy(update={"framework": framework}).to_yaml())
    spaces = [word for one in SPACE for word in ("--space", one)]
    assert main(["search", str(file), "--trials", "3", *spaces, "--out", str(out)]) == 0
    assert seen and not [name for name in seen if name.startswith("P4")]  # the test videos
    rows = rows_of(out)
    assert [row["trial"] for row in rows] == ["1", "2", "3"]
    own = {key.partition("=")[0]: rows[0][key.partition("=")[0]] for key in SPACE}
    assert own == {"training.learning_rate": "0.05", "model.hidden": "6"}
    assert len({row["training.learning_rate"] for row in rows}) == 3
    best = max(rows, key=lambda row: float(row["validation_map"]))
    made = load_recipe(out / "best.yaml")
    assert made.name == "small_best"
    assert made.training.learning_rate == float(best["training.learning_rate"])
    assert made.model.hidden == int(best["model.hidden"])
    again = train(made, tmp_path / "again")
    reached = max(read_curves(again.logs)["validation_map"].values())
    assert reached == pytest.approx(float(best["validation_map"]), abs=1e-6)
    assert (out / "history.png").is_file() and (out / "trial_1" / "curves.png").is_file()
    assert not (out / "trial_1" / "checkpoints").exists()


def test_a_pruned_trial_ends_the_training(framework: str, recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.model_copy(update={"framework": framework})

    def prune(progress: TrainingProgress) -> None:
        if progress.epoch == 2:
            raise optuna.TrialPruned

    with pytest.raises(optuna.TrialPruned):
        train(recipe, tmp_path / "run", on_progress=prune)
    assert max(read_curves(tmp_path / "run" / "logs")["validation_map"]) <= 1


def test_an_interrupted_search_continues(
    recipe: Recipe, space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill leaves a trial open, as an interruption does; its number is tried again."""
    search(recipe, tmp_path / "whole", 3, space)
    with monkeypatch.context() as patch:
        cut_power(patch, after=(3 + 2) * 8 + 2, error=KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            search(recipe, tmp_path / "cut", 3, space)
    assert len(rows_of(tmp_path / "cut")) == 1
    assert (tmp_path / "cut" / "trial_2" / "checkpoints" / "last.ckpt").is_file()
    search(recipe, tmp_path / "cut", 3, space)
    assert rows_of(tmp_path / "cut") == rows_of(tmp_path / "whole")
    assert len(list((tmp_path / "cut" / "trial_2" / "logs").iterdir())) == 2  # resumed
    lines: list[str] = []
    search(recipe, tmp_path / "cut", 3, space, report=lines.append)
    assert lines == []  # nothing is left to do


def test_a_trial_below_the_median_is_pruned(
    recipe: Recipe, space: Space, tmp_path: Path, scripted: Callable[..., list[Recipe]]
) -> None:
    curves = [[0.5, 0.6, 0.7]] * 5 + [[0.1, 0.1, 0.9]]
    scripted(lambda _, number: curves[number - 1])
    result = search(recipe, tmp_path / "out", 6, space)
    assert [one.state for one in result.trials] == ["complete"] * 5 + ["pruned"]
    assert result.trials[5].epochs == 1 and result.trials[5].value is None
    assert result.best is not None and result.best.number == 1


def test_folds_leave_the_test_videos_out(
    recipe: Recipe, space: Space, tmp_path: Path, scripted: Callable[..., list[Recipe]]
) -> None:
    trained = scripted(lambda _, number: [0.0, number / 10, 0.0])
    result = search(recipe, tmp_path / "out", 1, space, group=GROUP)
    assert [one.data.split.validation[0][:2] for one in trained] == ["P1", "P2", "P3"]
    for one in trained:
        train_ids, validation_ids = set(one.data.split.train), set(one.data.split.validation)
        assert len(train_ids) == 8 and len(validation_ids) == 4
        names = {name for name, _, split in ROWS if split != "test"}
        assert train_ids | validation_ids == names and not one.data.split.test
    assert result.trials[0].value == pytest.approx((0.1 + 0.2 + 0.3) / 3)
    assert load_recipe(tmp_path / "out" / "best.yaml").data.split == recipe.data.split
    trained.clear()
    search(recipe, tmp_path / "two", 1, space, n_folds=2)
    assert [len(one.data.split.validation) for one in trained] == [6, 6]


def test_a_failed_trial_is_named_and_the_search_goes_on(
    recipe: Recipe,
    tmp_path: Path,
    scripted: Callable[..., list[Recipe]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def metrics(_: Recipe, number: int) -> list[float]:
        if number == 2:
            raise RuntimeError("out of\n memory")
        return [0.5]

    scripted(metrics)
    file, out = tmp_path / "recipe.yaml", tmp_path / "out"
    file.write_text(recipe.to_yaml())
    assert main(["search", str(file), "--trials", "3", "--out", str(out), "--json"]) == 1
    printed = capsys.readouterr()
    assert "trial 2: failed: out of memory" in printed.err
    found = json.loads(printed.out)
    assert [one["state"] for one in found["trials"]] == ["complete", "failed", "complete"]
    assert found["best"] == 1
    assert rows_of(out)[1]["error"] == "out of memory"


def test_a_search_without_a_complete_trial_is_an_error(
    recipe: Recipe,
    tmp_path: Path,
    scripted: Callable[..., list[Recipe]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted(lambda *_: [float("nan")])
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.to_yaml())
    assert main(["search", str(file), "--trials", "1", "--out", str(tmp_path / "out")]) == 2
    assert "no trial is complete" in capsys.readouterr().err
    assert "not a number" in rows_of(tmp_path / "out")[0]["error"]


def test_proposals_depend_on_the_seed(
    recipe: Recipe, space: Space, tmp_path: Path, scripted: Callable[..., list[Recipe]]
) -> None:
    def rates(seed: int, name: str) -> list[float]:
        trained = scripted(lambda *_: [0.5])
        search(recipe.model_copy(update={"seed": seed}), tmp_path / name, 3, space)
        return [one.training.learning_rate for one in trained]

    assert rates(0, "a") == rates(0, "b") != rates(1, "c")


def test_more_trials_continue_a_search(
    recipe: Recipe, space: Space, tmp_path: Path, scripted: Callable[..., list[Recipe]]
) -> None:
    trained = scripted(lambda *_: [0.5])
    search(recipe, tmp_path / "out", 1, space)
    assert len(search(recipe, tmp_path / "out", 3, space).trials) == 3
    assert len(trained) == 3


def test_another_search_is_refused(
    recipe: Recipe, space: Space, tmp_path: Path, scripted: Callable[..., list[Recipe]]
) -> None:
    scripted(lambda *_: [0.5])
    out = tmp_path / "out"
    search(recipe, out, 1, space)
    with pytest.raises(ValueError, match=r"another search:\n  space.model.hidden: '\[4, 6, 8\]'"):
        search(recipe, out, 1, space | read_space(["model.hidden=[4]"]))
    with pytest.raises(ValueError, match=r"recipe.seed: 0 in the search, 3 now"):
        search(recipe.model_copy(update={"seed": 3}), out, 1, space)
    with pytest.raises(ValueError, match="holds no search"):
        search(recipe, tmp_path, 1, space)


def test_one_process_searches_at_a_time(
    recipe: Recipe, space: Space, tmp_path: Path, scripted: Callable[..., list[Recipe]]
) -> None:
    scripted(lambda *_: [0.5])
    search(recipe, tmp_path / "out", 1, space)
    other = sqlite3.connect(tmp_path / "out" / "lock.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ValueError, match="another process runs the search"):
        search(recipe, tmp_path / "out", 2, space)
    other.close()
    assert len(search(recipe, tmp_path / "out", 2, space).trials) == 2


def test_without_validation_videos_a_search_is_refused(
    recipe: Recipe, space: Space, tmp_path: Path
) -> None:
    split = recipe.data.split.model_copy(update={"train": ("P*",)})
    data = recipe.data.model_copy(update={"split": split})
    with pytest.raises(ValueError, match=r"validation_fraction=0.25, or pass --folds"):
        search(recipe.model_copy(update={"data": data}), tmp_path / "out", 1, space)


@pytest.fixture
def without_optuna(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "timeception.search.study", raising=False)
    yield


@pytest.mark.usefixtures("without_optuna")
def test_without_optuna_the_error_says_how_to_install_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["search", "gtea"]) == 2
    assert "pip install 'timeception[search]'" in capsys.readouterr().err


def test_folds_and_group_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "gtea", "--folds", "2", "--group", "subject"]) == 2
    assert "pass either --folds or --group" in capsys.readouterr().err
