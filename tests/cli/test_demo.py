"""``timeception demo --videos``: the main job on one's own folders of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from timeception.cli import main
from timeception.datasets.synthetic.generate import write_mp4
from timeception.training.runs import find_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]


def test_own_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(8):
        label, level = (("dark", 40), ("light", 200))[number % 2]
        path = tmp_path / "videos" / label / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(-20, 20, (10, 48, 64, 3))
        write_mp4(path, (level + noise).astype(np.uint8), fps=10)
    words = ["demo", "--videos", str(tmp_path / "videos"), "--out", str(tmp_path / "out")]
    assert main([*words, "--seeds", "1"]) == 0
    shown = capsys.readouterr().out
    assert "8 videos of 2 classes" in shown and "8 extracted, 0 already in the bank" in shown
    assert f"held-out videos of {tmp_path / 'videos'} (2), mean over 1 seed(s)" in shown
    assert "true label: dark" in shown
    for head in ("timeception", "pooling"):
        recipe = find_run(tmp_path / "out" / "runs" / f"{head}_0").recipe()
        assert recipe.data.videos == recipe.data.source == tmp_path / "videos"
    (tmp_path / "videos" / "dark" / "new.mp4").write_text("no video at all")
    assert main([*words, "--seeds", "1"]) == 1  # goes on; what failed is named
    shown = capsys.readouterr()
    assert "0 extracted, 8 already in the bank, 1 failed" in shown.out
    assert "failed: dark/new: " in shown.err
