"""A finding of the doctor, with its cure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: Wraps an iteration, to show progress.
Track = Callable[[Sequence[Any]], Iterable[Any]]

MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Advice:
    """Something that is wrong, and what to do.

    Args:
        code: Short stable name of the kind of finding, such as ``leak``.
        place: The file, folder or machine part that it concerns.
        problem: What is wrong, with the value.
        cure: What to do.
    """

    code: str
    place: str
    problem: str
    cure: str

    def to_dict(self) -> dict[str, str]:
        """The fields, for JSON."""
        return asdict(self)


def examples(items: Sequence[str]) -> str:
    """Name the first few items, and how many there are.

    Example:
        >>> examples(["a", "b"]), examples(list("abcdefg"))
        ('2: a, b', '7: a, b, c, d, e, ...')
    """
    more = ", ..." if len(items) > MAX_EXAMPLES else ""
    return f"{len(items)}: {', '.join(items[:MAX_EXAMPLES])}{more}"
