"""The charts of reports, as Plotly figures. Texts of users are escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception.report.measures import Calibration
from timeception.report.page import COLOURS, Chart, plot_text
from timeception.training.curves import Curves

Array = NDArray[np.float64]

MARGIN = {"l": 60, "r": 20, "t": 10, "b": 45}
LEGEND = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0}
_SHORT = 24  # characters of a class name on an axis
_MAX_LABELLED = 40  # classes that have their names on the axes of the confusion matrix


def confusion_chart(matrix: Array, classes: Sequence[str]) -> Chart:
    """Draw a matrix from ``measures.confusion``; each row is divided by its sum."""
    from plotly import graph_objects as go

    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    names = [plot_text(name) for name in classes]
    ticks = [plot_text(name[:_SHORT] + ("…" if len(name) > _SHORT else "")) for name in classes]
    places = list(range(len(names)))
    axis: dict[str, Any] = {"showgrid": False, "zeroline": False}
    if len(names) <= _MAX_LABELLED:
        axis |= {"tickvals": places, "ticktext": ticks, "automargin": True}
    else:
        axis |= {"showticklabels": False}
    heat = go.Heatmap(
        z=np.round(shares, 3).astype(np.float32),
        colorscale="Blues",
        zmin=0,
        zmax=1,
        customdata=None,
        hovertemplate="true class %{y}, predicted class %{x}: %{z:.0%}<extra></extra>",
        colorbar={"tickformat": ".0%", "thickness": 12},
    )
    if len(names) > _MAX_LABELLED:
        heat.update(x=names, y=names)
    layout = {
        "margin": MARGIN,
        "xaxis": axis | {"title": {"text": "predicted"}, "tickangle": 90},
        "yaxis": axis | {"title": {"text": "true"}, "autorange": "reversed"},
    }
    share = float(matrix.trace() / max(matrix.sum(), 1))
    words = f"Confusion matrix of {len(classes)} classes; {share:.0%} of the positives are on the "
    words += "diagonal. The table of confusions below lists the largest entries."
    return Chart("", words, go.Figure(heat, layout), is_tall=True)


def precision_recall_chart(curves: Mapping[str, tuple[Array, Array, float]]) -> Chart:
    """Draw recall, precision and AP by class, one class at a time."""
    from plotly import graph_objects as go

    figure = go.Figure(layout={"margin": MARGIN, "showlegend": False})
    for number, (name, (recall, precision, _)) in enumerate(curves.items()):
        figure.add_scatter(
            x=recall.astype(np.float32),
            y=precision.astype(np.float32),
            mode="lines",
            line={"color": COLOURS[0], "shape": "hv"},
            visible=number == 0,
            name=plot_text(name),
            hovertemplate="recall %{x:.2f}, precision %{y:.2f}<extra></extra>",
        )
    figure.update_xaxes(title="recall", range=[0, 1.02])
    figure.update_yaxes(title="precision", range=[0, 1.05])
    choices = tuple(f"{name} (AP {value:.3f})" for name, (_, _, value) in curves.items())
    words = "Precision against recall of the class chosen in the list; the table of classes gives "
    words += "the average precision of each."
    return Chart("", words, figure, choices)


def calibration_chart(found: Calibration) -> Chart:
    """Draw frequency against score, beside the diagonal."""
    from plotly import graph_objects as go

    figure = go.Figure(layout={"margin": MARGIN, "legend": LEGEND})
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="calibrated", line={"color": "#888", "dash": "dot"}
    )
    figure.add_scatter(
        x=np.round(found.mean_scores, 4),
        y=np.round(found.frequencies, 4),
        customdata=found.counts,
        mode="lines+markers",
        name="model",
        line={"color": COLOURS[0]},
        hovertemplate="score %{x:.2f}: %{y:.0%} right, %{customdata} scores<extra></extra>",
    )
    figure.update_xaxes(title="score", range=[0, 1.02])
    figure.update_yaxes(title="share that is right", range=[0, 1.05])
    pairs = zip(found.mean_scores, found.frequencies, strict=True)
    words = "; ".join(f"score {score:.2f}: {share:.0%} right" for score, share in pairs)
    return Chart("", f"Calibration of the scores. {words}.", figure)


def curve_charts(curves: Curves) -> list[Chart]:
    """Draw loss and validation metrics over the epochs; names that are missing are left out."""
    from plotly import graph_objects as go

    panels = {
        "Loss": {"train_loss": "training", "validation_loss": "validation"},
        "Validation metric": {"validation_map": "mAP", "validation_accuracy": "accuracy"},
        "Learning rate": {"learning_rate": "learning rate"},
    }
    charts = []
    for title, names in panels.items():
        figure, words = go.Figure(layout={"margin": MARGIN, "showlegend": True}), []
        for number, (key, name) in enumerate(names.items()):
            if key not in curves:
                continue
            epochs = sorted(curves[key])
            values = [curves[key][epoch] for epoch in epochs]
            figure.add_scatter(
                x=[epoch + 1 for epoch in epochs],
                y=values,
                name=name,
                mode="lines+markers" if len(epochs) < 30 else "lines",
                line={"color": COLOURS[number]},
            )
            words.append(f"{name} from {values[0]:.4g} to {values[-1]:.4g}")
        if words:
            figure.update_xaxes(title="epoch")
            figure.update_layout(legend=LEGEND)
            alternative = f"{title} over the epochs: {', '.join(words)}."
            charts.append(Chart(title, alternative, figure))
    return charts


def interval_chart(metric: str, intervals: Mapping[str, tuple[float, float, float]]) -> Chart:
    """Draw value, low and high end of each run's confidence interval."""
    from plotly import graph_objects as go

    names = list(intervals)
    values, lows, highs = (np.array(column) for column in zip(*intervals.values(), strict=True))
    figure = go.Figure(layout={"margin": MARGIN})
    figure.add_scatter(
        x=values,
        y=[plot_text(name) for name in names],
        error_x={"type": "data", "symmetric": False, "array": highs - values}
        | {"arrayminus": values - lows},
        mode="markers",
        marker={"size": 10, "color": COLOURS[0]},
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure.update_xaxes(title=f"{metric}, 95 % interval")
    figure.update_yaxes(automargin=True, autorange="reversed", type="category")
    words = "; ".join(
        f"{name}: {value:.3f}, from {low:.3f} to {high:.3f}"
        for name, (value, low, high) in intervals.items()
    )
    return Chart(f"{metric} of each run", f"{metric} with its 95 % interval. {words}.", figure)
