"""One self-contained HTML page: Plotly's script is embedded once, and nothing is loaded."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from timeception.files import write_text

#: Colours of classes and runs, readable on white and on black.
COLOURS = ("#2f7ed8", "#d9822b", "#2e9e5b", "#c0392b", "#8e6bbf", "#8a6d3b", "#c2519c", "#6b7785")


@dataclass(frozen=True)
class Chart:
    """A Plotly figure.

    Args:
        title: heading.
        alternative: what the chart shows, in words, for people who do not see it.
        figure: a ``plotly.graph_objects.Figure``.
        choices: names of traces of which one at a time is shown, chosen in a list.
        is_tall: whether it needs about twice the usual height.
    """

    title: str
    alternative: str
    figure: Any
    choices: tuple[str, ...] = ()
    is_tall: bool = False
    kind: str = field(default="chart", init=False)


@dataclass(frozen=True)
class Table:
    """Rows under columns; the first column is text. A number is sorted as one.

    ``bar`` is the index of a column of shares in [0, 1] that are also drawn as bars.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str | int | float | None]]
    bar: int | None = None
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Card:
    """A strip of thumbnails, as a data URI, with its caption; ``None`` without thumbnails."""

    image: str | None
    alternative: str
    heading: str
    text: str


@dataclass(frozen=True)
class Cards:
    """Thumbnails in a grid."""

    title: str
    cards: Sequence[Card]
    kind: str = field(default="cards", init=False)


@dataclass(frozen=True)
class Strip:
    """Equally spaced thumbnails, as wide as the plot area of the chart that follows."""

    images: Sequence[str]
    alternative: str
    kind: str = field(default="strip", init=False)


@dataclass(frozen=True)
class Section:
    """A part of the page: a heading, a paragraph and its items."""

    title: str
    text: str
    items: Sequence[Chart | Table | Cards | Strip] = ()


def plot_text(text: str) -> str:
    """Escape a text of users for Plotly, which reads some HTML in labels.

    Example:
        >>> plot_text("<b>pour</b>")
        '&lt;b&gt;pour&lt;/b&gt;'
    """
    return escape(text, quote=False)


def require_plotly() -> None:
    """Import what pages are made with, before any work is done.

    Raises:
        ModuleNotFoundError: if Plotly is not installed.
    """
    import_module("plotly")


def write_page(
    path: Path, title: str, summary: Sequence[tuple[str, str]], sections: Sequence[Section]
) -> None:
    """Write a page; the file appears whole or not at all.

    Args:
        path: the HTML file, created or replaced.
        title: title and first heading.
        summary: names and values above the sections.
        sections: the parts, in order.
    """
    write_text(path, render(title, summary, sections))


def render(title: str, summary: Sequence[tuple[str, str]], sections: Sequence[Section]) -> str:
    """Return the page as HTML.

    All texts are escaped. A content security policy allows only the page's two scripts, by their
    hashes, so that nothing in a name can run or load.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    charts = [item for part in sections for item in part.items if isinstance(item, Chart)]
    numbers = {id(chart): number for number, chart in enumerate(charts)}
    plotly = _script(get_plotlyjs()) if charts else ""
    own = _script(_asset("page.js"))
    environment = Environment(
        loader=PackageLoader("timeception.report", "assets"), autoescape=True, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        title=title,
        summary=summary,
        sections=sections,
        number=lambda chart: numbers[id(chart)],
        cell=_cell,
        style=Markup(_asset("page.css")),
        plotly=Markup(plotly),
        script=Markup(own),
        hashes=[_hash(script) for script in (plotly, own) if script],
        figures=Markup(_json([_figure(chart.figure) for chart in charts])),
    )


def _figure(figure: Any) -> dict[str, Any]:
    figure.update_layout(template="none")
    found: dict[str, Any] = json.loads(figure.to_json())
    return found


def _json(value: Any) -> str:
    """JSON that cannot end the script element that holds it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _asset(name: str) -> str:
    return (files("timeception.report") / "assets" / name).read_text(encoding="utf-8")


def _script(text: str) -> str:
    return text.replace("\r\n", "\n").replace("</script", "<\\/script")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
