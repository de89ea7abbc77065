"""Every command of the page "Your own videos" runs, in its order, on a tiny folder."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from timeception.cli import main
from timeception.training import own_videos

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "your-own-videos.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}timeception (.*)$", PAGE, re.M) + re.findall(
    r"`timeception (train [^`]*)`", PAGE
)


def test_commands(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one epoch on small frames, and two folds: what is chosen is tested elsewhere."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(clips, "videos")
    shutil.copy(clips / "left" / "0.mp4", "video.mp4")
    chosen = own_videos.end_to_end_fields

    def quick(n_train: int) -> tuple[dict[str, dict[str, object]], list[str]]:
        fields, reasons = chosen(n_train)
        fields["training"]["epochs"] = 1
        fields["backbone"] |= {"resize": 48, "crop": 32, "map_size": [1, 1]}
        fields["testing"]["draws"] = 1
        return fields, reasons

    monkeypatch.setattr(own_videos, "end_to_end_fields", quick)
    assert len(COMMANDS) == 7
    for command in COMMANDS:
        words = shlex.split(command.replace("--folds 5 --seeds 3", "--folds 2 --workers 1"))
        assert main(words) == 0, command
    assert Path("runs/kitchen_cv/cross_validation.json").is_file()
    assert Path("runs/again/model/config.json").is_file()
