"""``timeception doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(doctor)


def doctor(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Run folders, banks, folders of videos, recipes, saved-model folders. Given with "
            "a run or model, banks and videos are compared with it.",
            show_default="this machine",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find what ruins results silently, and say how to cure it.

    It checks features (damaged, not finite, constant, out of order of time, of another scale),
    splits (equal or near-identical videos, and groups, on both sides), classes without positives,
    recipes and models that do not fit their bank, frame rates, and, without a path, this machine.
    The exit status is 1 if there are findings.
    """
    from timeception.cli.progress import Lines, track
    from timeception.doctor import diagnose

    def show(items: Sequence[Any]) -> Iterable[Any]:
        return track(items, "examining", is_json=as_json)

    Lines(as_json).say(f"examining {', '.join(map(str, paths or ())) or 'this machine'}")
    found = list(diagnose(paths or (), show))
    if as_json:
        print(json.dumps([advice.to_dict() for advice in found], indent=2, ensure_ascii=False))
    else:
        for advice in found:
            print(f"{advice.place}: {advice.problem}\n  cure: {advice.cure}")
        print(f"{len(found)} finding(s)" if found else "no findings")
    if found:
        raise typer.Exit(1)
