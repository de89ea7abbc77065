"""The code in docs/moving-from-2019.md, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests import pages
from tests.names2019 import torch_state_2019
from timeception.spec import ClassifierSpec, TimeceptionSpec

BLOCKS = pages.blocks("moving-from-2019.md")
#: What each block that is run prints, in the page's order.
PRINTED = [
    ("keras", [r"1,494,304", r"248,100", r"1,742,404", r"\(None, 8, 7, 7, 2480\)"]),
    ("tensorflow", [r"\(None, 8, 7, 7, 2480\)"]),
    ("tensorflow", [r"\(1, 157\)"]),
    ("torch", [r"torch\.Size\(\[1, 2480, 8, 7, 7\]\)"]),
    ("jax", [r"\(1, 8, 7, 7, 2480\)"]),
    ("torch", [r"False 1e-05"]),
]


def blocks(kind: str) -> list[str]:
    return [code for tag, code in BLOCKS if tag == kind]


def without_imports(code: str) -> list[str]:
    """Lines that are neither imports nor the comment on the size of the batch."""
    lines = code.splitlines()
    return [line for line in lines if "import" not in line and "the output is" not in line]


def test_every_block_is_run() -> None:
    assert [kind for kind, _ in BLOCKS if kind != "2019"] == [kind for kind, _ in PRINTED]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PRINTED)))
def test_block(number: int, tmp_path: Path) -> None:
    spec = ClassifierSpec(TimeceptionSpec(40, 2, 4, is_dilated=False), 3)
    with (tmp_path / "weights_2019.pkl").open("wb") as file:
        np.savez(file, **torch_state_2019(spec))
    block = [block for block in BLOCKS if block.kind != "2019"][number]
    printed = pages.run(block, tmp_path)
    for words in PRINTED[number][1]:
        assert re.search(words, printed), printed


@pytest.mark.parametrize(("old", "new"), [(0, "keras"), (2, "torch")])
def test_code_changes_in_its_imports_alone(old: int, new: str) -> None:
    assert without_imports(blocks("2019")[old]) == without_imports(blocks(new)[0])


def test_the_old_code_is_that_of_the_seed(shared: Path) -> None:
    seed = "\n".join(path.read_text() for path in (shared / "seed").iterdir())
    assert [code for code in blocks("2019") if code not in seed] == []
