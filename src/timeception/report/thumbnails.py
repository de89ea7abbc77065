"""Thumbnails of videos, as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timeception.video import VideoReader

HEIGHT_PIXELS = 72
_QUALITY = 60


def thumbnails(
    path: Path,
    count: int,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    height: int = HEIGHT_PIXELS,
) -> list[NDArray[np.uint8]]:
    """Return equally spaced frames of a time span, each the middle of its share.

    Args:
        path: the video.
        count: number of frames.
        start_seconds: begin of the span.
        end_seconds: end of the span; ``None`` is the end of the video.
        height: of the frames, in pixels.

    Raises:
        VideoError: if the video cannot be read.
    """
    from PIL import Image

    with VideoReader(path) as video:
        info = video.info
        end = info.duration_seconds if end_seconds is None else end_seconds
        seconds = start_seconds + (np.arange(count) + 0.5) / count * (end - start_seconds)
        indices = np.clip((seconds * info.fps).astype(int), 0, info.n_frames - 1)
        frames = video.read(indices)
    width = max(1, round(height * info.width / info.height))
    return [np.asarray(Image.fromarray(frame).resize((width, height))) for frame in frames]


def data_uri(image: NDArray[np.uint8]) -> str:
    """Return an image, H x W x 3, as the data URI of a JPEG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
