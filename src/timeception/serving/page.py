"""The page, in Gradio."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timeception.serving.limits import RefusedError
from timeception.serving.scoring import BusyError, VideoService
from timeception.serving.timeline_html import timeline_html

_NO_EXAMPLE = "none"
N_CLASSES = 5


def build_page(
    service: VideoService, title: str, examples: Mapping[str, Path], folder: Path
) -> Any:
    """Build the page.

    Args:
        service: what scores videos.
        title: first heading.
        examples: videos to choose from, by name.
        folder: folder of the results that can be downloaded.
    """
    import gradio as gr

    def score(path: str | None, progress: Any = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
        if path is None:
            raise gr.Error("Choose a video first.", print_exception=False)
        progress(0.1, desc="Waiting and reading the video")
        try:
            found = service.score(Path(path))
        except (RefusedError, BusyError) as error:
            raise gr.Error(str(error), print_exception=False) from None
        progress(0.9, desc="Drawing")
        files = Path(tempfile.mkdtemp(dir=folder))
        timeline = found.timeline
        timeline.to_json(files / "timeline.json")
        timeline.to_csv(files / "timeline.csv")
        timeline.to_webvtt(files / "timeline.vtt")
        buttons = [str(files / f"timeline.{suffix}") for suffix in ("json", "csv", "vtt")]
        has_times = len(timeline.scores) > 0
        return (
            found.scores,
            timeline_html(timeline, found.note),
            *(gr.DownloadButton(value=name, interactive=has_times) for name in buttons),
        )

    def choose(name: str) -> str | None:
        return str(examples[name]) if name in examples else None

    limits = service.limits
    with gr.Blocks(title=title, analytics_enabled=False) as page:
        gr.Markdown("# What happens, and when")
        gr.Markdown(
            f"A video of at most {limits.max_megabytes:g} MB and {limits.max_minutes:g} minutes. "
            f"Uploads are deleted after {limits.keep_seconds / 60:g} minutes."
        )
        with gr.Row():
            with gr.Column(scale=2):
                video = gr.Video(
                    label="Video",
                    sources=["upload", "webcam"],
                    include_audio=True,
                    elem_id="player",
                    webcam_options=gr.WebcamOptions(mirror=False),
                )
                if examples:
                    chosen = gr.Dropdown(
                        [_NO_EXAMPLE, *examples], value=_NO_EXAMPLE, label="Example"
                    )
                    chosen.change(choose, chosen, video, api_visibility="private")
                button = gr.Button("Score the video", variant="primary", elem_id="score")
            label = gr.Label(label="Classes", num_top_classes=N_CLASSES, elem_id="classes")
        timeline = gr.HTML(label="Timeline", elem_id="timeline")
        with gr.Row():
            names = ("JSON", "CSV", "WebVTT")
            downloads = [
                gr.DownloadButton(f"Download {name}", interactive=False, elem_id=f"get-{name}")
                for name in names
            ]
        outputs = [label, timeline, *downloads]
        button.click(
            score,
            video,
            outputs,
            concurrency_limit=limits.n_workers,
            api_visibility="private",
        )
    page.queue(max_size=limits.n_workers + limits.max_waiting)
    return page
