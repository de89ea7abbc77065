"""The curves of a training: read from its logs, and drawn in ``RUN/curves.png``."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from timeception.files import replacing
from timeception.training.runs import Run

#: Value by epoch, from 0, of each name in the logs.
Curves = dict[str, dict[int, float]]

#: Panels of the picture: title, and the title of each curve by its name in the logs.
_PANELS: tuple[tuple[str, dict[str, str]], ...] = (
    ("loss", {"train_loss": "training", "validation_loss": "validation"}),
    ("validation metric", {"validation_map": "mAP", "validation_accuracy": "accuracy"}),
    ("learning rate", {"learning_rate": "learning rate"}),
)


def read_curves(logs: Path) -> Curves:
    """Read the curves of all starts of a training; of an epoch, the last start counts.

    Args:
        logs: the folder ``logs`` of a run.
    """
    curves: Curves = {}
    parts = sorted(logs.glob("part_*/metrics.csv"), key=lambda path: _part_number(path.parent))
    for path in parts:
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            epoch = int(row["epoch"])
            for name, value in row.items():
                if name not in ("epoch", "step") and value:
                    curves.setdefault(name, {})[epoch] = float(value)
    return curves


def _part_number(folder: Path) -> int:
    return int(folder.name.removeprefix("part_"))


@contextmanager
def curves_drawn(run: Run, report: Callable[[str], None]) -> Iterator[None]:
    """Draw ``RUN/curves.png`` when a training ends, also if it is interrupted.

    Args:
        run: the run that is trained.
        report: receives a line if matplotlib is missing.
    """
    try:
        yield
    finally:
        curves = read_curves(run.logs)
        if find_spec("matplotlib") is None:
            report("curves.png is not drawn: matplotlib is not installed (pip install matplotlib)")
        elif curves:
            draw_curves(curves, run.root.absolute().name, run.curves_file)


def draw_curves(curves: Curves, title: str, path: Path) -> None:
    """Draw loss, validation metrics and learning rate over the epochs.

    Args:
        curves: from ``read_curves``; names that are missing leave their panel out.
        title: title of the picture.
        path: the PNG file, created or replaced.
    """
    from matplotlib.figure import Figure

    shown = [(name, titles) for name, titles in _PANELS if any(map(curves.get, titles))]
    figure = Figure(figsize=(4.2 * len(shown), 3.4), dpi=100)
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for panel, (name, titles) in zip(panels, shown, strict=True):
        _draw_panel(panel, name, {titles[key]: curves[key] for key in titles if key in curves})
        if name == "validation metric" and "validation_map" in curves:
            _mark_best(panel, curves["validation_map"])
    figure.suptitle(title, fontsize=11)
    left, right = 0.65 / (4.2 * len(shown)), 1 - 0.2 / (4.2 * len(shown))
    figure.subplots_adjust(left=left, right=right, bottom=0.15, top=0.83, wspace=0.25)
    save_figure(figure, path)


def _draw_panel(panel: Any, title: str, curves: dict[str, dict[int, float]]) -> None:
    for label, values in curves.items():
        epochs = sorted(values)
        marker = "o" if len(epochs) < 3 else ""
        ys = [values[epoch] for epoch in epochs]
        panel.plot([epoch + 1 for epoch in epochs], ys, marker=marker, label=label)
    panel.set_title(title, fontsize=10)
    panel.set_xlabel("epoch")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.grid(alpha=0.3)
    if title == "validation metric":
        panel.set_ylim(-0.02, 1.02)
    elif title == "learning rate":
        panel.set_ylim(0, 1.1 * max(max(values.values()) for values in curves.values()))
        panel.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    if title != "learning rate":
        panel.legend(frameon=False, fontsize=9)


def _mark_best(panel: Any, values: dict[int, float]) -> None:
    """Mark the epoch whose weights are saved: the first with the best mAP."""
    best = max(sorted(values), key=values.__getitem__)
    panel.plot([best + 1], [values[best]], "o", color="black", markersize=5)
    panel.set_title(f"validation metric; mAP {values[best]:.3f} in epoch {best + 1}", fontsize=10)


def save_figure(figure: Any, path: Path) -> None:
    """Save a matplotlib figure; the file appears whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary)
