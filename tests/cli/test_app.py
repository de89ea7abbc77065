"""The application: exit status and messages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import pytest
import typer

import timeception
from timeception import checks
from timeception.cli import main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("demo", "extract", "train", "test", "predict", "bank", "data", "convert"):
        assert re.search(rf"\b{command}\b", shown), command


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == timeception.__version__


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "no_such_recipe"], "neither a file nor a packaged recipe"),
        (["train", "gtea", "training.epoch=3"], "Did you mean 'epochs'"),
        (["train", "gtea", "data.bank=/nowhere"], "not a feature bank"),
        (["test", "/nowhere"], "not a run folder"),
        (["bank", "stat", "/nowhere"], "not a feature bank"),
        (["extract", "a", "--out", "b", "--set", "seed=1"], "--set requires --recipe."),
        (
            ["extract", "a", "--out", "b", "--stride", "3", "--frames-2019", "64"],
            "pass either --stride or --frames-2019, not both.",
        ),
        (["convert", "/nowhere", "new.pt", "--to", "torch"], "timeception: /nowhere: No such file"),
    ],
)
def test_wrong_use_is_one_clear_message(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_a_renamed_field_is_reported_once_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "validate", "gtea", "model.keep_positions=false"]) == 0
    assert capsys.readouterr().err == (
        "timeception: model.keep_positions is now called model.keep_spatial; "
        "the old name will go in the next release.\n"
    )
    assert main(["recipe", "validate", "gtea", "model.keep_spatial=false"]) == 0
    assert capsys.readouterr().err == ""


def test_a_repeated_warning_is_printed_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(*words: object, **more: object) -> None:
        for new in ("b", "b", "c"):
            checks.warn_renamed("a", new)

    monkeypatch.setattr(typer.Typer, "__call__", warn)
    assert main(["recipe", "list"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in lines] == [
        "timeception: a is now called b",
        "timeception: a is now called c",
    ]


def test_other_warnings_go_their_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*words: object, **more: object) -> None:
        warnings.warn("something else", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr(typer.Typer, "__call__", warn)
    with pytest.warns(DeprecationWarning, match="something else"):
        assert main(["recipe", "list"]) == 0


@pytest.mark.parametrize("command", [[], *([name] for name in ("extract", "predict", "zoo"))])
def test_help_joins_the_lines_of_a_paragraph(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of running text ends only where the next word does not fit."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: timeception {' '.join(command)}".strip() in text
    lines = text.partition("╭")[0].splitlines()
    for line, following in pairwise(lines):
        if line.strip() and following.strip():
            assert len(line.rstrip()) + len(following.split()[0]) + 1 > 78, line


def test_completion_lists_commands_and_options() -> None:
    command = Path(sys.executable).with_name("timeception")

    def complete(words: str) -> list[str]:
        position = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        request = {**os.environ, **position, "_TIMECEPTION_COMPLETE": "complete_bash"}
        done = subprocess.run([command], capture_output=True, text=True, env=request)
        assert done.returncode == 0 and done.stderr == ""
        return done.stdout.split()

    assert complete("timeception extr") == ["extract"]
    assert complete("timeception bank ") == ["import", "resize", "stat", "check"]
    assert complete("timeception extract --map") == ["--map-size"]
    shown = subprocess.run(
        [command, "--show-completion", "bash"],
        capture_output=True,
        text=True,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert shown.returncode == 0
    assert "_TIMECEPTION_COMPLETE=complete_bash" in shown.stdout


def test_unknown_command_and_option_end_with_status_2() -> None:
    assert main(["trian"]) == 2
    assert main(["train", "gtea", "--epochs"]) == 2


def test_the_installed_command_is_this_one() -> None:
    command = Path(sys.executable).with_name("timeception")
    made = subprocess.run([command, "test", "/nowhere"], capture_output=True, text=True)
    assert made.returncode == 2
    assert made.stderr.startswith("timeception: /nowhere is not a run folder")
