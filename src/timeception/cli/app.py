"""The application: registers the sub-commands, words the errors, sets the exit status."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from typing import Annotated

import typer

import timeception

_COMMANDS = ("demo", "extract", "train", "predict", "recipe", "bank", "data", "convert", "zoo")

app = typer.Typer(
    name="timeception",
    help="Long-range temporal reasoning for complex actions in minutes-long video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what is done.")] = False,
) -> None:
    """Options that stand before every command."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)


@functools.cache
def _register_commands() -> None:
    """Add every command to the application, once a process."""
    for name in _COMMANDS:
        importlib.import_module(f"timeception.cli.{name}").register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status.

    Wrong input ends in one clear message on the error stream and status 2, without a traceback.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if words == ["--version"]:
        print(timeception.__version__)
        return 0
    _register_commands()
    try:
        app(words)
    except SystemExit as end:  # typer words wrong usage itself, with status 2
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return _fail("stopped; the same command goes on from here where it can.", 130)
    except (ValueError, OSError) as error:
        return _fail(str(error), 2)
    return 0


def _fail(message: str, status: int) -> int:
    print(f"timeception: {message}", file=sys.stderr)
    return status
