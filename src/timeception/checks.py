"""Argument checks, and the only place that words their errors.

Every message names the argument, the requirement, the value received and what to do.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

#: What to do with an array of integers, which are the pixel levels of images.
FLOAT_ADVICE = "Pass x.astype('float32'); to classify images, extract features from them first."


def problem(argument: str, requirement: str, value: object, advice: str = "") -> str:
    """Return an error message: ``argument must requirement; got value. advice``."""
    text = f"{argument} must {requirement}; got {value!r}."
    return f"{text} {advice}" if advice else text


def require(
    condition: bool, argument: str, requirement: str, value: object, advice: str = ""
) -> None:
    """Raise a ``ValueError`` with the message of ``problem`` unless ``condition`` holds."""
    if not condition:
        raise ValueError(problem(argument, requirement, value, advice))


def positive_int(argument: str, value: Any, advice: str = "") -> int:
    """Return ``value`` as an int of at least 1.

    Raises:
        ValueError: If it is not a whole number of at least 1. A bool is not a whole number.
    """
    is_whole = not isinstance(value, bool) and hasattr(value, "__index__")
    require(is_whole and value >= 1, argument, "be a whole number of at least 1", value, advice)
    return int(value)


def fraction(argument: str, value: Any, advice: str = "") -> float:
    """Return ``value`` as a float in [0, 1).

    Raises:
        ValueError: If it is not a number, or is outside.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    require(is_number and 0 <= value < 1, argument, "lie in [0, 1)", value, advice)
    return float(value)


def one_of(argument: str, value: Any, allowed: Sequence[Any], advice: str = "") -> Any:
    """Return ``value`` if it is in ``allowed``; otherwise the error suggests the closest one."""
    if value not in allowed:
        names = ", ".join(map(repr, allowed))
        hints = filter(None, [did_you_mean(str(value), map(str, allowed)), advice])
        raise ValueError(problem(argument, f"be one of {names}", value, " ".join(hints)))
    return value


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``Did you mean 'x'?`` with the known word closest to ``word``, or an empty string."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"Did you mean {nearest[0]!r}?" if nearest else ""


def same_names(what: str, expected: Iterable[str], received: Iterable[str]) -> None:
    """Check that two sets of names are equal.

    Raises:
        ValueError: If they are not; the error lists the missing and the unexpected names.
    """
    wanted, given = set(expected), set(received)
    if wanted == given:
        return
    lines = [f"{what}: names do not match ({len(given)} received, {len(wanted)} expected)."]
    for title, names in (("missing", wanted - given), ("unexpected", given - wanted)):
        shown = sorted(names)
        if shown:
            more = f", ... {len(shown) - 8} more" if len(shown) > 8 else ""
            lines.append(f"  {title}: {', '.join(shown[:8])}{more}")
    raise ValueError("\n".join(lines))


def warn_renamed(old: str, new: str) -> None:
    """Warn that a name has changed; the old one keeps working for one release."""
    text = f"{old} is now called {new}; the old name will go in the next release."
    warnings.warn(text, DeprecationWarning, stacklevel=3)
