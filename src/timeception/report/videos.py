"""The report of videos: frames above scores over time, intervals, evidence, truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timeception.datasets.records import Interval
from timeception.inference.explanation import Explanation
from timeception.inference.timelines import Timeline
from timeception.report.charts import LEGEND, MARGIN
from timeception.report.page import COLOURS, Chart, Section, Strip, Table, plot_text, write_page
from timeception.report.thumbnails import data_uri, thumbnails
from timeception.video import VideoError

N_FRAMES = 16


@dataclass(frozen=True)
class VideoResult:
    """What the report shows of one video.

    Args:
        video: path of the video.
        timeline: scores over time; ``None`` if there are none.
        best: class and score in the whole video, highest first; empty for a localizer.
        explanation: evidence for the class with the highest score; ``None`` without it.
        truth: true intervals; ``None`` if unknown.
        note: what is missing, and why.
    """

    video: str
    timeline: Timeline | None
    best: Sequence[tuple[str, float]] = ()
    explanation: Explanation | None = None
    truth: Sequence[Interval] | None = None
    note: str = ""


def write_video_report(results: Sequence[VideoResult], path: Path, top: int) -> None:
    """Write the page of one or several videos.

    Args:
        results: one for each video.
        path: the HTML file, created or replaced.
        top: number of classes that are drawn, highest scores first.
    """
    summary = [("videos", str(len(results)))]
    write_page(path, "Predictions", summary, [_section(result, top) for result in results])


def write_explanation(found: Explanation, video: Path, path: Path) -> None:
    """Write the page of an explanation: frames above the contributions over time."""
    summary = [
        ("class", found.label),
        ("score", f"{found.score:.3f}"),
        ("method", found.method),
        ("rest of the logit", f"{found.rest:+.3f}"),
    ]
    start, end = float(found.edges_seconds[0]), float(found.edges_seconds[-1])
    items: list[Chart | Strip] = [*_strip(video, start, end), moment_chart(found)]
    if found.places.size > 1:
        items.append(place_chart(found))
    text = "Contributions to the logit of the class; negative ones speak against it."
    write_page(path, f"Explanation of {video.name}", summary, [Section("Moments", text, items)])


def _section(result: VideoResult, top: int) -> Section:
    items: list[Chart | Table | Strip] = []
    timeline = result.timeline
    end = None
    if timeline is not None and len(timeline.scores):
        end = float(timeline.end_seconds[-1])
        items += _strip(Path(result.video), 0.0, end)
        items.append(score_chart(timeline, top))
    if result.best:
        items.append(Table("Scores of the whole video", ("class", "score"), result.best, bar=1))
    columns = ("class", "from (s)", "to (s)", "mean score")
    if end is not None and timeline is not None:
        rows = [(s.label, s.start_seconds, s.end_seconds, s.score) for s in timeline.segments()]
        items.append(Table("Intervals", columns, rows))
    if result.explanation is not None:
        items.append(moment_chart(result.explanation))
    if result.truth is not None:
        true = [(i.label, i.start_seconds, i.end_seconds) for i in result.truth]
        items.append(truth_chart(true, end))
        items.append(Table("True intervals", columns[:3], true))
    return Section(result.video, result.note, items)


def _strip(video: Path, start: float, end: float) -> list[Strip]:
    try:
        images = thumbnails(video, N_FRAMES, start, end)
    except (VideoError, OSError):  # the error of the prediction says why
        return []
    words = f"{N_FRAMES} frames of the video from {start:.1f} to {end:.1f} seconds"
    return [Strip([data_uri(image) for image in images], words)]


def score_chart(timeline: Timeline, top: int) -> Chart:
    """Draw the classes with the highest scores over time, one level for each timestep."""
    from plotly import graph_objects as go

    figure = go.Figure(layout={"margin": MARGIN, "showlegend": True})
    edges = [*timeline.start_seconds.tolist(), float(timeline.end_seconds[-1])]
    words = []
    highest = np.argsort(-timeline.scores.max(axis=0), kind="stable")[:top]
    for number, column in enumerate(highest):
        scores, name = timeline.scores[:, column].round(4), timeline.classes[column]
        figure.add_scatter(
            x=edges,
            y=np.append(scores, scores[-1]),
            mode="lines",
            name=plot_text(name),
            line={"shape": "hv", "color": COLOURS[number % len(COLOURS)]},
        )
        at = int(np.argmax(scores))
        words.append(f"{name}: highest {scores[at]:.2f} at {edges[at]:.1f} s")
    figure.update_xaxes(title="seconds", range=[edges[0], edges[-1]])
    figure.update_yaxes(title="score", range=[0, 1.05])
    figure.update_layout(legend=LEGEND)
    return Chart("Scores over time", f"Scores over time. {'; '.join(words)}.", figure)


def moment_chart(found: Explanation) -> Chart:
    """Draw the contribution of each step."""
    from plotly import graph_objects as go

    edges, moments = found.edges_seconds, found.moments
    bars = go.Bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=moments,
        width=np.diff(edges),
        marker={"color": [COLOURS[0] if value >= 0 else COLOURS[3] for value in moments]},
        hovertemplate="%{x:.1f} s: %{y:+.3f}<extra></extra>",
    )
    figure = go.Figure(bars, layout={"margin": MARGIN, "bargap": 0})
    figure.update_xaxes(title="seconds", range=[float(edges[0]), float(edges[-1])])
    figure.update_yaxes(title="contribution")
    best = "; ".join(f"{a:.1f} to {b:.1f} s: {value:+.2f}" for a, b, value in found.top_moments(3))
    title = f"Evidence for {found.label} ({found.method})"
    return Chart(title, f"{title}. Largest contributions: {best}.", figure)


def place_chart(found: Explanation) -> Chart:
    """Draw the contribution of each place of the frame."""
    from plotly import graph_objects as go

    places = found.places
    heat = go.Heatmap(z=places, colorscale="RdBu_r", zmid=0, colorbar={"thickness": 12})
    figure = go.Figure(heat, layout={"margin": MARGIN})
    figure.update_yaxes(autorange="reversed", scaleanchor="x", title="row")
    figure.update_xaxes(title="column of the feature map", constrain="domain")
    row, column = np.unravel_index(places.argmax(), places.shape)
    words = f"Contribution of each place of the {places.shape[0]} by {places.shape[1]} map; "
    words += f"largest in row {row + 1}, column {column + 1}."
    return Chart("Places", words, figure)


def truth_chart(intervals: Sequence[tuple[str, float, float]], end: float | None) -> Chart:
    """Draw the true intervals, one row per class."""
    from plotly import graph_objects as go

    figure = go.Figure(layout={"margin": MARGIN, "showlegend": False})
    for number, name in enumerate(sorted({label for label, _, _ in intervals})):
        spans = [(start, stop) for label, start, stop in intervals if label == name]
        figure.add_bar(
            base=[start for start, _ in spans],
            x=[stop - start for start, stop in spans],
            y=[plot_text(name)] * len(spans),
            orientation="h",
            marker={"color": COLOURS[number % len(COLOURS)]},
        )
    figure.update_xaxes(title="seconds", range=None if end is None else [0, end])
    figure.update_yaxes(automargin=True, type="category")
    words = "; ".join(f"{name} {start:.1f} to {stop:.1f} s" for name, start, stop in intervals)
    return Chart("True intervals", f"True intervals. {words or 'none'}.", figure)
