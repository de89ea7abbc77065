"""Finds words that plain English avoids, in ``src`` and the pages: ``python tests/plain_words.py``.

It prints ``file:line: words: the plain alternative`` for each place, and exits with status 1 if
there is one. ``make check`` runs it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUFFIXES = (".py", ".yaml", ".md", ".cpp", ".hpp")

#: By regular expression, the plain alternative. A space also matches a line break in a comment.
ALTERNATIVES = {
    r"tell(s|ing)? apart|told apart|tell(s|ing)? \w+ apart": "distinguish",
    r"told": "given, specified, reported",
    r"(?<!\.)tells?|telling": "say, specify, report, show, determine",
    r"as (it|they) comes?": "say how: live, unchanged, in order of arrival",
    r"of (its|their) own": "its own ..., a separate ...",
    r"so many": "state the number, or: a number of",
    r"what is there": "name it: the existing files, the current state",
}
_GAP = r"[\s#*/]+"
_PATTERN = re.compile(
    "|".join(rf"\b(?:{words.replace(' ', _GAP)})\b" for words in ALTERNATIVES), re.IGNORECASE
)


def find(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the words and the plain alternative of each place in ``text``."""
    for match in _PATTERN.finditer(text):
        words = " ".join(re.split(_GAP, match[0]))
        line = text.count("\n", 0, match.start()) + 1
        yield line, words, next(a for w, a in ALTERNATIVES.items() if re.fullmatch(w, words, re.I))


def files(root: Path) -> list[Path]:
    """Return the sources and pages that are checked."""
    inside = [path for folder in ("src", "docs") for path in (root / folder).rglob("*")]
    return sorted(path for path in [*inside, *root.glob("*.md")] if path.suffix in SUFFIXES)


def main() -> None:
    """Check every file; exit with the list of places as the message."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {words!r}: write {alternative}"
        for path in files(ROOT)
        for line, words, alternative in find(path.read_text(encoding="utf-8"))
    ]
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
