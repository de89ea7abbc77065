"""The clips of a video that a saved model scores, with the times of their steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from timeception.clips.sampler import PrepareFeatures
from timeception.datasets.windows import window_starts
from timeception.features.extraction.jobs import VideoFeatures
from timeception.inference.saved_model import SavedModel
from timeception.video.sampling import sample_indices

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TimedClip:
    """The uniform clip of a video, or of a window of it.

    Args:
        steps: features as the head takes them, (1, C, T, H, W).
        edges_seconds: start of each timestep and end of the last one, (T + 1,). A timestep lasts
            until the next one that was sampled.
    """

    steps: torch.Tensor
    edges_seconds: Floats


def clips_of(model: SavedModel, features: VideoFeatures) -> list[TimedClip]:
    """Return the uniform clip of each window of training, or of the whole video."""
    n_steps = len(features.features)
    length, stride = model.window_steps or (n_steps, n_steps)
    starts = np.append(features.start_frames, features.n_frames) / features.fps
    prepare = PrepareFeatures(model.map_size, model.is_centered)
    clips = []
    for start in window_starts(n_steps, length, stride).tolist():
        stop = min(start + length, n_steps)
        indices = start + sample_indices(stop - start, model.n_timesteps, None)
        steps = torch.from_numpy(prepare(features.features[indices], None))
        edges = np.append(starts[indices], starts[stop])
        edges[0] = starts[start]
        clips.append(TimedClip(steps.transpose(0, 1)[None].contiguous(), edges))
    return clips


def output_edges(clip: TimedClip, n_outputs: int) -> Floats:
    """Return the edges of output steps, each of which stands for T // ``n_outputs`` timesteps.

    The timesteps that remain belong to the last output step.
    """
    width = (len(clip.edges_seconds) - 1) // n_outputs
    return np.append(clip.edges_seconds[:-1:width][:n_outputs], clip.edges_seconds[-1])
