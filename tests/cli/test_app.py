"""The application: exit status and messages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import timeception
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
        (["test", "/nowhere"], "no run folder"),
        (["bank", "stat", "/nowhere"], "not a feature bank"),
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


def test_unknown_command_and_option_end_with_status_2() -> None:
    assert main(["trian"]) == 2
    assert main(["train", "gtea", "--epochs"]) == 2


def test_the_installed_command_is_this_one() -> None:
    command = Path(sys.executable).with_name("timeception")
    made = subprocess.run([command, "test", "/nowhere"], capture_output=True, text=True)
    assert made.returncode == 2
    assert made.stderr.startswith("timeception: /nowhere is no run folder")
