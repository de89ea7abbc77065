"""The code in docs/frameworks.md, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import oracle, pages
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.weights import write_folder

PAGE = (pages.DOCS / "frameworks.md").read_text(encoding="utf-8")
BLOCKS = {block.kind: block for block in pages.blocks("frameworks.md")}
FEATURES, LOGITS = r"\(1, 2, 7, 7, 2480\)", r"(\(1, 157\)|\[1, 157\])"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``my-model`` is, as the first block makes it."""
    folder = tmp_path_factory.mktemp("page")
    spec = ClassifierSpec(TimeceptionSpec(1024, 4), 157)
    write_folder(folder / "my-model", spec, oracle.random_arrays(spec.parameter_shapes()))
    return folder


def test_every_block_is_run() -> None:
    assert list(BLOCKS) == ["torch", "keras", "tensorflow", "jax"]
    assert len(pages.blocks("frameworks.md")) == 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torch", "tensorflow", "jax"])
def test_block(kind: str, folder: Path) -> None:
    printed = pages.run(BLOCKS[kind], folder)
    for words in (FEATURES, LOGITS) if kind == "tensorflow" else (LOGITS,):
        assert re.search(words, printed), printed


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_keras_block(backend: str, folder: Path) -> None:
    printed = pages.run(BLOCKS["keras"], folder, backend)
    assert re.search(LOGITS, printed), printed


def test_the_tests_that_are_named_exist() -> None:
    root = Path(__file__).parents[1]
    named = re.findall(r"`(tests/[\w/.]+)`", PAGE)
    assert len(named) >= 8
    assert [name for name in named if not (root / name).exists()] == []
