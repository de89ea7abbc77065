"""Faithfulness of explanations on the synthetic videos of a demo folder, whose moments are known.

    python -m benchmarks.faithfulness demo

For each test video and each method: the share of the positive evidence that lies inside the
one-actions that make the true class, beside the share of time that they take (a uniform guess);
and how much the logit falls when the fifth of the timesteps with the most evidence is replaced by
the mean over time, beside replacing random fifths.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from timeception.clips.task_data import read_task_data
from timeception.datasets.synthetic.plans import ACTIVITIES
from timeception.datasets.timed import read_timed
from timeception.features.bank import FeatureBank
from timeception.features.extraction.jobs import VideoFeatures
from timeception.inference.clips import TimedClip, clips_of
from timeception.inference.explanation import METHODS, Explanation, explain_clip
from timeception.inference.saved_model import SavedModel, load_saved
from timeception.training.runs import find_run

DELETED_SHARE = 0.2
N_RANDOM = 20


def timestep_evidence(found: Explanation, n_timesteps: int) -> np.ndarray:
    """Positive evidence of each timestep; an output step divides its own among its timesteps."""
    positive = np.maximum(found.moments, 0)
    width = n_timesteps // len(positive)
    owner = np.minimum(np.arange(n_timesteps) // width, len(positive) - 1)
    return positive[owner] / np.bincount(owner)[owner]


def inside(edges: np.ndarray, spans: list[tuple[float, float]]) -> np.ndarray:
    """Whether the middle of each timestep lies in one of the spans."""
    middles = (edges[:-1] + edges[1:]) / 2
    return np.any([(start <= middles) & (middles < end) for start, end in spans], axis=0)


def logit(model: SavedModel, clip: TimedClip, column: int, deleted: np.ndarray) -> float:
    """Excess of the class's logit over the mean, with the deleted timesteps set to the mean."""
    steps = clip.steps.clone()
    steps[:, :, deleted] = clip.steps.mean(2, keepdim=True)
    with torch.inference_mode():
        logits = model.head(steps)[0]
    return float(logits[column] - logits.mean())


def main(demo: Path) -> None:
    """Print one row for each method, averaged over the test videos of seed 0."""
    run = find_run(demo / "runs" / "timeception_0")
    model, bank = load_saved(run.root), FeatureBank(demo / "bank")
    timed = {video.video_id: video for video in read_timed(demo / "videos/annotations.csv").videos}
    rng = np.random.default_rng(0)
    rows: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in METHODS}
    for record in read_task_data(run.recipe()).split("test").sampler.records:
        entry = bank[record.video_id]
        frames = int(entry.start_frames[-1] + np.median(np.diff(entry.start_frames)))
        features = VideoFeatures(entry.features, entry.start_frames, entry.fps, frames)
        (clip,) = clips_of(model, features)
        (label,) = record.labels
        column, n_steps = model.classes.index(label), clip.steps.shape[2]
        own = {ACTIVITIES[label].first, ACTIVITIES[label].second}
        intervals = timed[record.video_id].intervals
        spans = [(i.start_seconds, i.end_seconds) for i in intervals if i.label in own]
        is_inside = inside(clip.edges_seconds, spans)
        count = round(DELETED_SHARE * n_steps)
        whole = logit(model, clip, column, np.array([], dtype=int))
        falls = [
            whole - logit(model, clip, column, rng.choice(n_steps, count, replace=False))
            for _ in range(N_RANDOM)
        ]
        for method in METHODS:
            evidence = timestep_evidence(explain_clip(model, clip, column, method), n_steps)
            if evidence.sum() == 0:
                continue
            share = float(evidence[is_inside].sum() / evidence.sum())
            top = np.argsort(-evidence, kind="stable")[:count]
            fall = whole - logit(model, clip, column, top)
            rows[method].append((share, float(is_inside.mean()), fall, float(np.mean(falls))))
    print("method, videos, share inside, uniform share, fall of the logit, fall at random")
    for method, found in rows.items():
        values = ", ".join(f"{value:.3f}" for value in np.mean(found, axis=0))
        better = np.mean([row[2] > row[3] for row in found])
        print(f"{method}, {len(found)}, {values}; falls more than random in {better:.0%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
