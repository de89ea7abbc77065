"""The server: the page at ``/``, the API at ``/api/score``, and the deletion of uploads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from timeception import checks
from timeception.datasets.video_files import find_videos
from timeception.serving.guard import Guard
from timeception.serving.limits import RefusedError
from timeception.serving.scoring import BusyError, VideoService
from timeception.serving.timeline_html import CLICK_SCRIPT, STYLE

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SWEEP_SECONDS = 20.0
MAX_EXAMPLES = 20


def require_gradio() -> None:
    """Import Gradio, before any work is done, without its telemetry.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import_module("gradio")


def read_examples(folder: Path | None) -> dict[str, Path]:
    """Return the first videos of a folder by id.

    Raises:
        ValueError: if the folder does not exist or contains no video.
    """
    if folder is None:
        return {}
    found = find_videos(folder)
    checks.require(bool(found), "--examples", "be a folder of videos", str(folder))
    return dict(list(found.items())[:MAX_EXAMPLES])


def sweep(folder: Path, keep_seconds: float) -> int:
    """Delete the files in a folder that are older than ``keep_seconds``; return how many."""
    limit, count = time.time() - keep_seconds, 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < limit:
                path.unlink()
                count += 1
    return count


def build_app(
    service: VideoService, title: str, examples: Mapping[str, Path], folder: Path, host: str
) -> Any:
    """Build the ASGI application.

    Args:
        service: what scores videos.
        title: title of the page.
        examples: videos to choose from, by name.
        folder: folder of uploads and results; emptied by age while the application runs, and
            removed when it ends.
        host: address that it is served at. On a loopback address, other host names are refused.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    import gradio as gr
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from timeception.serving.page import build_page

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def sweep_often() -> None:
            while True:
                await asyncio.sleep(min(_SWEEP_SECONDS, service.limits.keep_seconds))
                sweep(folder, service.limits.keep_seconds)

        task = asyncio.create_task(sweep_often())
        yield
        task.cancel()
        shutil.rmtree(folder, ignore_errors=True)  # here, because a signal ends the process next

    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    async def score(request: Any) -> JSONResponse:
        async with request.form(max_files=1, max_fields=1) as form:
            video = form.get("video")
            if not hasattr(video, "read"):
                text = "Send the file in the field video of a multipart form."
                return JSONResponse({"error": text}, status_code=422)
            with tempfile.TemporaryDirectory(dir=folder) as own:
                path = Path(own) / "video"  # the name of the upload is not used
                with path.open("wb") as file:
                    while part := await video.read(1 << 20):
                        file.write(part)
                try:
                    found = await run_in_threadpool(service.score, path)
                except RefusedError as error:
                    return JSONResponse({"error": str(error)}, status_code=422)
                except BusyError as error:
                    return JSONResponse({"error": str(error)}, status_code=503)
        return JSONResponse(found.to_dict())

    app.add_route("/api/score", score, methods=["POST"])
    fonts = ["system-ui", "sans-serif"]  # none is loaded
    gr.mount_gradio_app(
        app,
        build_page(service, title, examples, folder),
        path="/",
        theme=gr.themes.Default(font=fonts, font_mono=["monospace"]),
        css=STYLE,
        js=CLICK_SCRIPT,
        max_file_size=service.limits.max_bytes,
        blocked_paths=[],
        allowed_paths=[],
        show_error=False,
        ssr_mode=False,
        footer_links=[],
        mcp_server=False,
        pwa=False,
    )
    app.add_middleware(Guard, limits=service.limits, folder=folder)
    if host in LOOPBACK:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    return app


def serve(
    service: VideoService, title: str, examples: Mapping[str, Path], host: str, port: int
) -> None:
    """Serve until interrupted; all uploads are deleted at the end."""
    import uvicorn

    folder = Path(tempfile.mkdtemp(prefix="timeception_serve_"))
    app = build_app(service, title, examples, folder, host)
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)
