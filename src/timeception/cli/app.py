"""The application: registers the commands, prints errors and warnings, sets the exit status."""

from __future__ import annotations

import functools
import importlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

import timeception

_COMMANDS = (
    "demo",
    "extract",
    "train",
    "compare",
    "search",
    "predict",
    "recipe",
    "bank",
    "data",
    "convert",
    "zoo",
    "doctor",
    "report",
    "explain",
    "serve",
)
_EXTRAS = {
    "keras": "keras",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "ray": "ray",
    "transformers": "hf",
    "optuna": "search",
    "plotly": "report",
    "captum": "explain",
    "gradio": "serve",
}
_RENAMED = r".+ is now called .+; the old name "  # what checks.warn_renamed says
_INTERRUPTED = "stopped. Run the same command again to continue; `train` also needs --resume."

app = typer.Typer(
    name="timeception",
    help="Recognise complex actions in videos that last minutes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # lines of a paragraph are joined
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log each step to the error stream.")
    ] = False,
) -> None:
    """Handle the options that precede a command."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)


@functools.cache
def _register_commands() -> None:
    """Add every command to the application, once a process."""
    for name in _COMMANDS:
        importlib.import_module(f"timeception.cli.{name}").register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status.

    Invalid input prints one message on the error stream, without a traceback, and returns 2.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if words == ["--version"]:
        print(timeception.__version__)
        return 0
    _register_commands()
    try:
        with _renames_printed():
            app(words, prog_name="timeception")
    except SystemExit as end:  # typer reports wrong usage itself, with status 2
        status = end.code if isinstance(end.code, int) else 0
        return _say(_INTERRUPTED, status) if status == 130 else status
    except KeyboardInterrupt:
        return _say(_INTERRUPTED, 130)
    except ValueError as error:
        return _say(str(error), 2)
    except ImportError as error:
        return _say(_missing_package(error), 2)
    except OSError as error:
        is_plain = error.filename and error.strerror  # without "[Errno 2]"
        return _say(f"{error.filename}: {error.strerror}" if is_plain else str(error), 2)
    return 0


def _missing_package(error: ImportError) -> str:
    """Say which package is missing and how to install it; other import errors are raised."""
    cause = error.__cause__ if isinstance(error.__cause__, ModuleNotFoundError) else error
    name = (getattr(cause, "name", None) or "timeception").partition(".")[0]
    if not isinstance(cause, ModuleNotFoundError) or name == "timeception":
        raise error
    if cause is not error:
        return f"{error}"  # it says what requires the package, and how to install it
    package = f"timeception[{_EXTRAS[name]}]" if name in _EXTRAS else name
    return f"this command requires {name}, which is not installed: pip install '{package}'"


@contextmanager
def _renames_printed() -> Iterator[None]:
    """Print each use of an old name once, as one line; Python hides such warnings by default."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", _RENAMED, DeprecationWarning)
        show_other, printed = warnings.showwarning, set()

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            text = str(message)
            if not (issubclass(category, DeprecationWarning) and re.match(_RENAMED, text)):
                show_other(message, category, *where, **more)
            elif text not in printed:
                printed.add(text)
                _say(text)

        warnings.showwarning = show
        yield


def _say(message: str, status: int = 0) -> int:
    """Print a message on the error stream and return ``status``."""
    print(f"timeception: {message}", file=sys.stderr)
    return status
