"""The clickable timeline below the player."""

from __future__ import annotations

from html import escape

import numpy as np

from timeception.inference.timelines import Timeline
from timeception.report.page import COLOURS

N_ROWS = 6

#: A click on an element with ``data-seconds`` moves the player there; on a row, to the place of the
#: click. The listener is the page's, since the elements are replaced with each video.
CLICK_SCRIPT = """
() => {
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-seconds], [data-duration]");
    const player = document.querySelector("#player video");
    if (!target || !player) return;
    let seconds = Number(target.dataset.seconds);
    if (target.dataset.duration) {
      const box = target.getBoundingClientRect();
      seconds = (event.clientX - box.left) / box.width * Number(target.dataset.duration);
    }
    player.currentTime = seconds;
  });
}
"""

STYLE = """
.tl { display: grid; grid-template-columns: minmax(5rem, 10rem) 1fr; gap: .3rem .6rem; }
.tl .name { overflow-wrap: anywhere; font-size: .85rem; }
.tl .row { position: relative; height: 1.6rem; cursor: pointer; border-radius: .2rem;
  background-color: var(--background-fill-secondary); overflow: hidden; }
.tl .row svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.tl-list { display: flex; flex-wrap: wrap; gap: .4rem; padding: 0; margin: .8rem 0; }
.tl-list button { border: 1px solid var(--border-color-primary); border-radius: .3rem;
  padding: .15rem .5rem; cursor: pointer; }
"""


def timeline_html(timeline: Timeline, note: str = "") -> str:
    """Draw one row for each of the classes with the highest scores, and a button per interval.

    All names are escaped.
    """
    if not len(timeline.scores):
        return f"<p>{escape(note or 'There are no scores over time.')}</p>"
    end = float(timeline.end_seconds[-1])
    rows = []
    order = np.argsort(-timeline.scores.max(axis=0), kind="stable")[:N_ROWS]
    for number, column in enumerate(order):
        name, scores = escape(timeline.classes[column]), timeline.scores[:, column]
        bars = "".join(
            f'<rect x="{100 * start / end:.3f}" width="{100 * (stop - start) / end:.3f}" '
            f'y="{100 - 100 * score:.1f}" height="{100 * score:.1f}"/>'
            for start, stop, score in zip(
                timeline.start_seconds, timeline.end_seconds, scores, strict=True
            )
        )
        label = f"{name}: highest score {scores.max():.2f} of 1, over {end:.1f} seconds"
        rows.append(
            f'<span class="name">{name}</span><div class="row" data-duration="{end:.3f}">'
            f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" '
            f'aria-label="{label}" fill="{COLOURS[number % len(COLOURS)]}">{bars}</svg></div>'
        )
    buttons = "".join(
        f'<button type="button" data-seconds="{found.start_seconds:.3f}">{escape(found.label)} '
        f"{found.start_seconds:.1f} - {found.end_seconds:.1f} s ({found.score:.2f})</button>"
        for found in timeline.segments()
    )
    return f'<div class="tl">{"".join(rows)}</div><div class="tl-list">{buttons}</div>'
