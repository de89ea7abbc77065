"""Code in the documents, to be run as it stands there.

A block says what it needs by the word behind the language: ```` ```python keras ````.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[1] / "docs"

_BLOCK = re.compile(r"```python (\w+)\n(.*?)```", re.DOTALL)


class Block(NamedTuple):
    """The framework that is needed, or what else stands behind the language; and the code."""

    kind: str
    code: str


def blocks(page: str) -> list[Block]:
    """All marked blocks of a page, in its order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [Block(*found) for found in _BLOCK.findall(text)]


def run(block: Block, folder: Path, keras_backend: str = "tensorflow") -> str:
    """Run a block in a process of its own; return what it printed."""
    needed = {"keras": ("keras", keras_backend), "tensorflow": ("keras", "tensorflow")}
    for name in needed.get(block.kind, (block.kind,)):
        if not find_spec(name):
            pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", block.code],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": keras_backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
