"""Help texts are shown as they are written."""

from __future__ import annotations

import pytest

from timeception.cli import main


@pytest.mark.parametrize("command", ["train", "cross-validate"])
def test_patterns_keep_their_angle_brackets(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The help is Markdown, in which <subject> outside backquotes is a tag, and vanishes."""
    monkeypatch.setenv("COLUMNS", "160")
    assert main([command, "--help"]) == 0
    assert "(?P<subject>P[0-9]+)_" in capsys.readouterr().out
