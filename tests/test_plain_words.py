"""The check of words finds what it is for, and nothing else."""

from __future__ import annotations

import pytest

from tests.plain_words import ROOT, files, find


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("The message tells the stride.", 1, "tells"),
        ("\noptions told here", 2, "told"),
        ("What tells them apart is time.", 1, "tells them apart"),
        ("told apart by content", 1, "told apart"),
        ("a stream as\n    # it comes", 1, "as it comes"),
        ("a page\nof its\nown", 2, "of its own"),
        ("So many frames", 1, "So many"),
        ("keep what\nis there", 1, "what is there"),
    ],
)
def test_words_are_found_across_lines(text: str, line: int, words: str) -> None:
    ((found_line, found_words, alternative),) = find(text)
    assert (found_line, found_words) == (line, words)
    assert alternative


@pytest.mark.parametrize("text", ["untold", "retell", "intelligent", "as it is", "its own page"])
def test_other_words_pass(text: str) -> None:
    assert list(find(text)) == []


def test_sources_recipes_kernels_and_pages_are_checked() -> None:
    names = {str(path.relative_to(ROOT)) for path in files(ROOT)}
    expected = {"README.md", "CONTRIBUTING.md", "docs/recipes.md"}
    expected |= {"src/timeception/checks.py", "src/timeception/recipes/packaged/demo.yaml"}
    assert expected <= names
    assert any(name.endswith(".cpp") for name in names)
