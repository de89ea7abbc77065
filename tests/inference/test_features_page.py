"""Every command and the code in docs/your-own-features.md, run as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from scipy import io

from tests.pages import DOCS
from tests.training.small_runs import FRAMEWORK_WARNINGS
from timeception.cli import main

PAGE = (DOCS / "your-own-features.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(timeception .*)$", PAGE, re.MULTILINE)
pytestmark = [pytest.mark.slow, *FRAMEWORK_WARNINGS]


def write_features(folder: Path) -> None:
    """The files that the page speaks of: 32 channels, 40 steps."""
    rng = np.random.default_rng(0)
    for name in ("features", "newer", "maps", "new"):
        (folder / name).mkdir()
    for person in range(1, 5):
        for label in ("pour", "stir"):
            for name in ("features", "newer"):
                steps = rng.normal(size=(40, 32)).astype(np.float32) + (label == "pour")
                labels = np.array([label] * 40)
                file = folder / name / f"P{person:02}_{label}_1.npz"
                np.savez(file, features=steps, frame_labels=labels)
    np.save(folder / "maps" / "a.npy", rng.normal(size=(5, 4, 4, 8)))
    np.savez(folder / "new" / "kitchen.npz", features=steps)
    io.savemat(folder / "new" / "kitchen.mat", {"X": steps})


def test_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_features(tmp_path)
    (recipe,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(recipe)
    assert len(COMMANDS) == 14
    for command in COMMANDS:
        status = main(shlex.split(command)[1:])
        assert status == 0, (command, capsys.readouterr().err)
    assert (tmp_path / "timed.csv").read_text().splitlines()[1].startswith("P01_pour_1,pour,0,")
    assert (tmp_path / "runs/mine/results/test_on_newer.json").exists()
    capsys.readouterr()
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\[\('(pour|stir)', [01]\.\d+\)\]", first) and second.count("(") == 2
