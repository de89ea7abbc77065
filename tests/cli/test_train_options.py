"""``timeception train``: each word and option changes what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.training.small_runs import (
    FRAMEWORK_WARNINGS,
    curve,
    cut_power,
    small_recipe,
    write_data,
)
from timeception.cli import main
from timeception.training.runs import Run

pytestmark = FRAMEWORK_WARNINGS

N_VIDEOS, N_EPOCHS = 4, 3


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a bank and ``recipe.yaml``."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"t{n}", ("cut", "pour")[n % 2], "train") for n in range(N_VIDEOS)]
    settings = {"training__epochs": N_EPOCHS, "training__checkpoint_every": 1}
    recipe = small_recipe(write_data(tmp_path, rows), **settings)
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    return tmp_path


def n_epochs(run: Path) -> int:
    return len(curve(Run(run), "train_loss"))


def test_the_run_folder(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "recipe.yaml"]) == 0
    assert "runs/small" in capsys.readouterr().out
    assert (data / "runs" / "small" / "model" / "config.json").is_file()
    assert main(["train", "recipe.yaml", "name=other"]) == 0
    assert (data / "runs" / "other" / "model" / "config.json").is_file()
    assert main(["train", "recipe.yaml", "--out", "deep/er"]) == 0
    assert "deep/er" in capsys.readouterr().out
    assert (data / "deep" / "er" / "model" / "config.json").is_file()
    assert n_epochs(data / "deep" / "er") == N_EPOCHS


def test_fields_are_changed(data: Path) -> None:
    words = ["training.epochs=2", "seed=5", "training.optimizer=sgd", "model.dropout=[0.1,0.2]"]
    assert main(["train", "recipe.yaml", *words, "--out", "run"]) == 0
    recipe = Run(data / "run").recipe()
    assert recipe.training.epochs == n_epochs(data / "run") == 2
    assert (recipe.seed, recipe.training.optimizer) == (5, "sgd")
    assert recipe.model.dropout == (0.1, 0.2)


def test_the_framework_is_the_recipes(framework: str, data: Path) -> None:
    assert main(["train", "recipe.yaml", f"framework={framework}", "--out", "run"]) == 0
    suffix = {"torch": "last.ckpt", "keras": "last.weights.h5"}[framework]
    assert (data / "run" / "checkpoints" / suffix).is_file()


def test_resume_goes_on_where_the_run_was_broken_off(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "recipe.yaml", "--out", "run"]
    with monkeypatch.context() as patch:
        cut_power(patch, after=2 * N_VIDEOS)
        with pytest.raises(RuntimeError, match="the power went out"):
            main(words)
    assert main(words) == 2
    assert "holds an unfinished run" in capsys.readouterr().err
    assert main([*words, "seed=1", "--resume"]) == 2
    assert "seed: 0 in the run, 1 now" in capsys.readouterr().err
    drawn = N_VIDEOS  # of the one epoch that is left
    with monkeypatch.context() as patch:
        cut_power(patch, after=drawn)
        assert main([*words, "--resume"]) == 0
    assert curve(Run(data / "run"), "epoch")[-1] == N_EPOCHS - 1
    assert main(["train", "recipe.yaml", "--out", "whole"]) == 0
    expected = load_file(data / "whole" / "model" / "model.safetensors")
    for name, array in load_file(data / "run" / "model" / "model.safetensors").items():
        assert array == pytest.approx(expected[name], abs=1e-6), name


def test_resume_of_nothing_begins(data: Path) -> None:
    assert main(["train", "recipe.yaml", "--out", "run", "--resume"]) == 0
    assert n_epochs(data / "run") == N_EPOCHS


def test_what_a_training_starts_from_is_said(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "recipe.yaml", "--out", "first"]) == 0
    assert "init_from" not in capsys.readouterr().out
    words = ["init_from=first", "training.freeze=[hidden.*]", "--out", "second"]
    assert main(["train", "recipe.yaml", *words]) == 0
    shown = capsys.readouterr().out
    assert "loaded: hidden (2), norm (4), output (2)" in shown
    assert "frozen: hidden (2)" in shown
