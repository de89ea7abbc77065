"""Timesteps of a video: each segment alone, or the whole video in one piece.

A timestep stands for one segment of ``frames_per_segment`` (F) frames; a backbone that gives
several maps for a segment has them averaged. There are two ways to compute it:

- *isolated*: the segment goes through the network as a clip of its own. Nothing outside it is
  seen; the network's own padding in time stands at both of its ends. Segments may lie anywhere,
  so a bank of them can be drawn from at random. This is the recipe of 2019.
- *continuous*: the video goes through the network as one clip, so that a timestep also sees its
  neighbours, as far as the network reaches. Segments touch: timestep i is that of the frames
  from i F to (i + 1) F. Only the first and the last frame of the video are padded.

A long video does not fit into memory at once. ``plan_chunks`` cuts it into overlapping chunks:
each is read with ``temporal_margin`` frames more on either side, whose timesteps are dropped.
What remains equals the pass over the whole video (up to rounding), because chunks begin at
multiples of the network's stride and the margin covers all that a timestep depends on.
The frames after the last whole segment are left out; a video shorter than a segment repeats its
last frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timeception import checks
from timeception.backbones.base import Backbone

#: Frames (3, T, H, W), preprocessed, of the frame indices (T,).
ReadFrames = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]

DEFAULT_CHUNK_SEGMENTS = 16


@dataclass(frozen=True)
class Chunk:
    """A part of a video that goes through the network at once.

    Args:
        first_step: the first timestep that it gives.
        n_steps: timesteps that it gives.
        start_frame: the first frame to read, margin included.
        n_frames: frames to read, margins included.
        skip_frames: frames of the margin before ``first_step``.
    """

    first_step: int
    n_steps: int
    start_frame: int
    n_frames: int
    skip_frames: int


def isolated_features(backbone: Backbone, segments: Tensor) -> Tensor:
    """Timesteps of segments, each alone.

    Args:
        backbone: the network.
        segments: normalised frames.

    Shape:
        segments: (S, 3, F, H, W). Returns (S, C, H', W').

    Raises:
        ValueError: if the segments do not have ``frames_per_segment`` frames.
    """
    checks.require(
        segments.ndim == 5 and segments.shape[2] == backbone.frames_per_segment,
        "segments",
        f"have the shape (S, {backbone.in_channels}, {backbone.frames_per_segment}, H, W)",
        tuple(segments.shape),
    )
    return backbone(segments).mean(dim=2)


def plan_chunks(
    backbone: Backbone, n_frames: int, chunk_segments: int = DEFAULT_CHUNK_SEGMENTS
) -> list[Chunk]:
    """Cut a video into overlapping chunks for the continuous pass.

    Args:
        backbone: the network.
        n_frames: frames in the video.
        chunk_segments: timesteps that a chunk gives; more take more memory and less time.

    Raises:
        ValueError: if the network's reach in time is not bounded (attention over time), or a
            segment is not a whole number of its strides.
    """
    segment, margin = backbone.frames_per_segment, backbone.network.temporal_margin
    checks.positive_int("n_frames", n_frames)
    checks.positive_int("chunk_segments", chunk_segments)
    checks.require(
        margin is not None,
        "backbone",
        "reach a bounded number of frames for continuous segments",
        backbone.name,
        "Take isolated segments.",
    )
    checks.require(
        segment % backbone.temporal_stride == 0,
        "frames_per_segment",
        f"be a multiple of the network's stride ({backbone.temporal_stride})",
        segment,
    )
    n_steps = max(1, n_frames // segment)
    chunks = []
    for first in range(0, n_steps, chunk_segments):
        last = min(first + chunk_segments, n_steps)
        start = max(0, first * segment - (margin or 0))
        stop = min(n_steps * segment, last * segment + (margin or 0))
        chunks.append(Chunk(first, last - first, start, stop - start, first * segment - start))
    return chunks


def chunk_features(backbone: Backbone, frames: Tensor, chunk: Chunk) -> Tensor:
    """Timesteps of one chunk.

    Shape:
        frames: (3, ``chunk.n_frames``, H, W). Returns (``chunk.n_steps``, C, H', W').
    """
    stride = backbone.temporal_stride
    per_step = backbone.frames_per_segment // stride
    maps = backbone(frames[None])[0]
    first = chunk.skip_frames // stride
    kept = maps[:, first : first + chunk.n_steps * per_step]
    return kept.unflatten(1, (chunk.n_steps, per_step)).mean(dim=2).transpose(0, 1)


def continuous_features(
    backbone: Backbone,
    read_frames: ReadFrames,
    n_frames: int,
    chunk_segments: int = DEFAULT_CHUNK_SEGMENTS,
) -> Iterator[Tensor]:
    """Timesteps of a video that goes through the network in one piece, a chunk at a time.

    Args:
        backbone: the network.
        read_frames: gives the preprocessed frames of frame indices, ascending; indices repeat
            the last frame where the video is shorter than a segment.
        n_frames: frames in the video.
        chunk_segments: timesteps in a chunk.

    Returns:
        Timesteps in order, (n, C, H', W') for each chunk; in all, one for each whole segment.

    Raises:
        ValueError: as ``plan_chunks``.
    """
    device = next(backbone.parameters()).device
    for chunk in plan_chunks(backbone, n_frames, chunk_segments):
        indices = np.arange(chunk.start_frame, chunk.start_frame + chunk.n_frames)
        frames = torch.from_numpy(read_frames(indices.clip(max=n_frames - 1)))
        yield chunk_features(backbone, frames.to(device), chunk)
