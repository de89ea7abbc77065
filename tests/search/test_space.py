"""Ranges and choices: how they are written, what is refused, and the default space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.small_runs import small_recipe
from timeception.search.space import Choices, Range, check_space, default_space, read_space
from timeception.search.trials import with_settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:3", Range(1, 3)),
        ("0.5:3", Range(0.5, 3)),
        ("1e-4:1e-2:log", Range(1e-4, 1e-2, is_log=True)),
        ("[a, b]", Choices.of(["a", "b"])),
        ("[[0.0, 0.1], [0.5, 0.25]]", Choices.of([[0.0, 0.1], [0.5, 0.25]])),
    ],
)
def test_a_range_reads_alike_from_words_and_files(text: str, expected: Any, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(f"# comment\nmodel.hidden: {text}  # as given\ntraining.epochs: 1:2\n")
    assert read_space([f"model.hidden={text}"]) == {"model.hidden": expected}
    assert read_space([str(file)]) == {"model.hidden": expected, "training.epochs": Range(1, 2)}


def test_later_words_replace_earlier_ones() -> None:
    assert read_space(["a.b=1:2", "a.b=3:4"]) == {"a.b": Range(3, 4)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=1", "have the form low:high"),
        ("a=1:x", "have the form low:high"),
        ("a=1:2:3", "have the form low:high"),
        ("a=2:1", "have a low end below its high end; got '2:1'"),
        ("a=0:1:log", "begin above 0"),
        ("a=[]", "at least one choice"),
        ("nowhere.yaml", "be a YAML file"),
    ],
)
def test_a_wrong_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_space([text])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.learning_rat=1:2", "field of the recipe.*Did you mean 'training.learning_rate'"),
        ("training=1:2", "field of the recipe"),
        ("data=1:2", "field that may vary"),
        ("seed=1:2", "field that may vary; got 'seed'"),
        ("data.split.seed=1:2", "field that may vary"),
        ("testing.draws=1:2", "field that may vary"),
        ("training.label_smoothing=0.0:1.5", "training.label_smoothing: .*less than 1; got 1.5"),
        ("model.hidden=0.5:3.5", "model.hidden: .*integer.*got 0.5"),
        ("training.optimizer=[adam, adan]", "training.optimizer: .*got 'adan'"),
    ],
)
def test_a_field_that_cannot_vary_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        check_space(read_space([text]), small_recipe(tmp_path))


def test_the_bank_may_vary(tmp_path: Path) -> None:
    check_space(read_space(["data.bank=[one, two]"]), small_recipe(tmp_path))


def test_the_default_space_fits_the_head(tmp_path: Path) -> None:
    def space(head: str, n_timesteps: int = 4) -> Any:
        made = small_recipe(
            tmp_path,
            model={"head": head, "n_layers": 1},
            sampling__n_timesteps=n_timesteps,
        )
        check_space(default_space(made), made)
        return default_space(made)

    assert space("timeception")["model.n_layers"] == Range(1, 2)
    assert space("timeception", 64)["model.n_layers"] == Range(1, 4)
    assert space("transformer")["model.n_layers"] == Range(1, 4)
    assert "model.n_layers" not in space("timeception", 3)
    assert "model.n_layers" not in space("pooling")
    assert "model.hidden" not in space("linear")


def test_settings_replace_fields_of_the_recipe(tmp_path: Path) -> None:
    made = with_settings(
        small_recipe(tmp_path), {"model.dropout": [0.1, 0.2], "training.epochs": 7}
    )
    assert made.model.dropout == (0.1, 0.2) and made.training.epochs == 7
    with pytest.raises(ValueError, match="too short"):
        with_settings(small_recipe(tmp_path), {"model.head": "timeception"})
