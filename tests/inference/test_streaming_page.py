"""The code in docs/streaming.md, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.features.videos import make_video
from tests.inference.saved_models import save_model, tiny_backbone

PAGE = Path(__file__).parents[2] / "docs" / "streaming.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)

PRINTED = [
    [r"^2\.0 s: \[\('\w+', [01]\.\d+\), \('\w+', [01]", r"^  0\.0 s alone: ", r"^True None$"],
    [r"^30 torch\.Size\(\[1, 157\]\)$"],
]


@pytest.mark.parametrize("number", range(2))
def test_block(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(BLOCKS) == len(PRINTED)
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "runs" / "kitchen", tiny_backbone())
    make_video(tmp_path / "kitchen.ts", 60, width=64, height=48)
    exec(BLOCKS[number], {})
    shown = capsys.readouterr().out
    for words in PRINTED[number]:
        assert re.search(words, shown, re.MULTILINE), shown
