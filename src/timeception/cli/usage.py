"""Checks of options that depend on each other."""

from __future__ import annotations


def is_given(value: object) -> bool:
    """Whether an option was given; 0 counts as given, ``False`` and an empty list do not."""
    return value is not None and value is not False and value != []


def require(needed: str, needed_value: object, **options: object) -> None:
    """Raise ``ValueError`` if an option is given without the one that it requires.

    Args:
        needed: the required option, as typed.
        needed_value: its value.
        **options: value of each option that requires it, by parameter name.
    """
    names = _names(options)
    if names and not is_given(needed_value):
        verb = "requires" if len(names) == 1 else "require"
        raise ValueError(f"{' and '.join(names)} {verb} {needed}.")


def exclude(**options: object) -> None:
    """Raise ``ValueError`` if more than one of the options is given."""
    names = _names(options)
    if len(names) > 1:
        raise ValueError(f"pass either {' or '.join(names)}, not both.")


def refuse(reason: str, **options: object) -> None:
    """Raise ``ValueError`` if an option is given that has no effect here.

    Args:
        reason: why, to end the sentence "--draws has no effect ...".
        **options: value of each option, by parameter name.
    """
    names = _names(options)
    if names:
        verb = "has" if len(names) == 1 else "have"
        raise ValueError(f"{' and '.join(names)} {verb} no effect {reason}. Leave it out.")


def _names(options: dict[str, object]) -> list[str]:
    """Names of the options that are given, as typed; arguments in capitals stay as they are."""
    given = [name for name, value in options.items() if is_given(value)]
    return [name if name.isupper() else f"--{name.replace('_', '-')}" for name in given]
