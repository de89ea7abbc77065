"""Draw the picture in the README from a demo folder: ``demo_picture.py demo OUT.png``.

It shows two synthetic test videos with the same one-actions in a different order, and the number of
such test videos that each head recognises.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib
import numpy as np

from timeception.datasets.timed import read_timed
from timeception.video import VideoReader

matplotlib.use("agg")
from matplotlib import pyplot as plt

PAIR = ("umbrella_then_guitar", "guitar_then_umbrella")
N_FRAMES = 9
HEADS = ("timeception", "pooling")


def main(demo: Path, out: Path) -> None:
    """Draw two videos of the folder ``demo``, and their scores, into ``out``."""
    timed = {video.video_id: video for video in read_timed(demo / "videos/annotations.csv").videos}
    colours = _colours(timed.values())
    figure, axes = plt.subplots(
        2, 2, figsize=(11, 4.2), width_ratios=(4.6, 1), layout="constrained"
    )
    for (left, right), activity in zip(axes, PAIR, strict=True):
        video = next(
            video
            for name, video in timed.items()
            if name.startswith(f"{activity}/") and video.split == "test"
        )
        _film(left, demo / "videos" / f"{video.video_id}.mp4", video.intervals, colours)
        left.set_title(f"{activity.replace('_', ' ')} (synthetic)", loc="left", fontsize=10)
        _shares(right, demo, activity)
    figure.savefig(out, dpi=110)
    print(f"written: {out}")


def _colours(videos):  # type: ignore[no-untyped-def]
    names = sorted({interval.label for video in videos for interval in video.intervals})
    return dict(zip(names, plt.get_cmap("Set2").colors * 3, strict=False))


def _film(axis, path: Path, intervals, colours) -> None:  # type: ignore[no-untyped-def]
    """Draw equally spaced frames, above bars that show the time of each one-action."""
    with VideoReader(path) as reader:
        info = reader.info
        frames = reader.read(np.linspace(0, info.n_frames - 1, N_FRAMES).astype(int))
    strip = np.concatenate(list(frames[:, ::2, ::2]), axis=1)
    seconds = info.duration_seconds
    axis.imshow(strip, extent=(0, seconds, 0.16, 1), aspect="auto")
    for interval in intervals:
        width = interval.end_seconds - interval.start_seconds
        axis.barh(0.08, width, 0.13, interval.start_seconds, color=colours[interval.label])
        middle = interval.start_seconds + width / 2
        axis.text(middle, 0.075, interval.label, ha="center", va="center", fontsize=8)
    axis.set(xlim=(0, seconds), ylim=(0, 1), yticks=[])
    axis.set_xlabel("seconds", fontsize=8, labelpad=1)
    axis.tick_params(labelsize=8)


def _shares(axis, demo: Path, activity: str) -> None:  # type: ignore[no-untyped-def]
    """Draw the share of the activity's test videos that each head recognises, over all seeds."""
    for row, head in enumerate(HEADS):
        right = [
            max(
                (n for n in record if n not in ("record", "labels")), key=lambda n: float(record[n])
            )
            == activity
            for path in sorted(demo.glob(f"runs/{head}_*/results/test_scores.csv"))
            for record in csv.DictReader(path.read_text().splitlines())
            if record["labels"] == activity
        ]
        axis.barh(row, np.mean(right), 0.5, color="tab:blue")
    axis.set(xlim=(0, 1), yticks=range(len(HEADS)), yticklabels=HEADS)
    axis.invert_yaxis()
    axis.tick_params(labelsize=8)
    axis.set_title("test videos recognised, 3 seeds", fontsize=8)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
