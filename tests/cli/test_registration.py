"""Commands are registered once, however often a process runs one."""

from __future__ import annotations

import pytest

from timeception.cli import app as application
from timeception.cli import main


def names() -> list[str]:
    """Every command and group, as often as it is registered."""
    app = application.app
    commands = [command.name or command.callback.__name__ for command in app.registered_commands]
    return sorted([*commands, *(str(group.name) for group in app.registered_groups)])


def test_three_calls_register_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    first, shown = names(), capsys.readouterr().out
    assert len(first) == len(set(first)) == 17
    for _ in range(2):
        assert main(["--help"]) == 0
        assert capsys.readouterr().out == shown
    assert names() == first


def test_commands_of_groups_are_registered_once(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for _ in range(3):
        assert main(["bank", "--help"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] == shown[2]
    groups = application.app.registered_groups
    assert [group.name for group in groups].count("bank") == 1
    (bank,) = (group for group in groups if group.name == "bank")
    assert bank.typer_instance is not None
    assert len(bank.typer_instance.registered_commands) == 4
