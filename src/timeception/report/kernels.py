"""The learned temporal kernels of a Timeception network, by layer and branch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.inference.saved_model import SavedModel
from timeception.report.charts import MARGIN
from timeception.report.page import Chart, Section, write_page
from timeception.torch import TimeceptionClassifier


def sorted_kernels(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scale each kernel to a largest absolute value of 1, and sort kernels by their centre in time.

    Shape:
        weight: channels, taps; result: the same.

    Example:
        >>> sorted_kernels(np.array([[0, 0, 2.0], [4, 0, 0]])).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    scaled = weight / np.maximum(np.abs(weight).max(1, keepdims=True), 1e-12)
    mass = np.square(scaled)
    centres = (mass * np.arange(weight.shape[1])).sum(1) / np.maximum(mass.sum(1), 1e-12)
    return np.asarray(scaled[np.argsort(centres, kind="stable")], dtype=np.float64)


def write_kernels(model: SavedModel, name: str, path: Path) -> None:
    """Write a page with the kernels, one row per channel, red for positive and blue for negative.

    Raises:
        ValueError: if the model has no Timeception layers.
    """
    head = model.head
    has_layers = isinstance(head, TimeceptionClassifier)
    checks.require(has_layers, "model", "have Timeception layers", type(head).__name__)
    sections = []
    for number, layer in enumerate(head.timeception.layers, start=1):
        charts = []
        pairs = zip(layer.temporal_kernels(), layer.spec.taps, strict=True)
        for branch, ((weight, _), taps) in enumerate(pairs, start=2):
            kernels = sorted_kernels(weight.detach().cpu().numpy())
            charts.append(_chart(kernels, tuple(taps), number, branch))
        sections.append(Section(f"Layer {number}", "", charts))
    summary = [("layers", str(len(sections))), ("classes", str(len(model.classes)))]
    write_page(path, f"Temporal kernels of {Path(name).name}", summary, sections)


def _chart(kernels: NDArray[np.float64], taps: tuple[int, ...], layer: int, branch: int) -> Chart:
    from plotly import graph_objects as go

    heat = go.Heatmap(
        z=kernels.astype(np.float32),
        x=[f"{tap:+d}" if tap else "0" for tap in taps],
        colorscale="RdBu_r",
        zmid=0,
        colorbar={"thickness": 12},
        hovertemplate="kernel %{y}, timestep %{x}: %{z:.2f}<extra></extra>",
    )
    layout = {
        "margin": MARGIN,
        "xaxis": {"title": {"text": "timestep"}, "type": "category"},
        "yaxis": {"title": {"text": "kernel, by its centre"}},
    }
    means = ", ".join(
        f"{tap:+d}: {value:.2f}" for tap, value in zip(taps, np.abs(kernels).mean(0), strict=True)
    )
    words = f"{len(kernels)} kernels of layer {layer}, branch {branch}. Mean absolute weight by "
    words += f"timestep, each kernel scaled to 1: {means}."
    reach = f"timesteps {taps[0]:+d} to {taps[-1]:+d}"
    return Chart(f"Branch {branch}: {len(taps)} taps, {reach}", words, go.Figure(heat, layout))
