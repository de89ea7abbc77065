"""Draw the animated picture in the README from a demo folder: ``demo_animation.py demo OUT.webp``.

It plays one synthetic test video above a real prediction: the scores of the highest classes over
time, drawn as the video plays, and the true one-actions.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from timeception.datasets.timed import read_timed
from timeception.files import replacing
from timeception.inference.predictor import Predictor
from timeception.report.page import COLOURS
from timeception.video import VideoReader

VIDEO = "barbell_then_broom"  # the first test video of this class
WIDTH, SIDE, ROW, LEFT = 640, 260, 26, 190
GROUND, TEXT, FAINT = "#14181e", "#e4e9f0", "#2a323d"
N_CLASSES, FPS = 3, 8


def main(demo: Path, out: Path) -> None:
    """Score one test video of the folder ``demo`` and draw its timeline into ``out``."""
    timed = read_timed(demo / "videos" / "annotations.csv").videos
    truth = next(v for v in timed if v.split == "test" and v.video_id.startswith(f"{VIDEO}/"))
    path = demo / "videos" / f"{truth.video_id}.mp4"
    timeline = Predictor.load(demo / "runs" / "timeception_0").timeline(path)
    with VideoReader(path) as reader:
        seconds, n_frames, fps = (
            reader.info.duration_seconds,
            reader.info.n_frames,
            reader.info.fps,
        )
        times = np.arange(0, seconds, 1 / FPS)
        frames = reader.read(np.minimum((times * fps).astype(int), n_frames - 1))
    order = np.argsort(-timeline.scores.max(axis=0), kind="stable")[:N_CLASSES]
    labels = sorted({interval.label for interval in truth.intervals})
    images = []
    for time, frame in zip(times, frames, strict=True):
        image = Image.new("RGB", (WIDTH, SIDE + 30 + ROW * (N_CLASSES + 1) + 24), GROUND)
        video = Image.fromarray(frame).resize((SIDE, SIDE))
        image.paste(video, ((WIDTH - SIDE) // 2, 8))
        draw = ImageDraw.Draw(image)
        font = ImageFont.load_default(13)
        top = SIDE + 24

        def x_of(second: float, end: float = seconds) -> float:
            return LEFT + (WIDTH - LEFT - 16) * min(second, end) / end

        for row, column in enumerate(order):
            y = top + row * ROW
            name = timeline.classes[column].replace("_", " ")
            draw.text((12, y + 4), name, fill=TEXT, font=font)
            draw.rectangle((LEFT, y, WIDTH - 16, y + ROW - 5), fill=FAINT)
            spans = zip(timeline.start_seconds, timeline.end_seconds, strict=True)
            for step, (start, end) in enumerate(spans):
                if start >= time:
                    break
                score = timeline.scores[step, column]
                box = (x_of(start), y + (ROW - 5) * (1 - score), x_of(min(end, time)), y + ROW - 5)
                draw.rectangle(box, fill=COLOURS[row])
        y = top + N_CLASSES * ROW + 8
        draw.text((12, y + 2), "true one-actions", fill=TEXT, font=font)
        for interval in truth.intervals:
            box = (x_of(interval.start_seconds), y, x_of(interval.end_seconds), y + ROW - 8)
            draw.rectangle(box, fill=COLOURS[3 + labels.index(interval.label) % 4])
            draw.text(
                (box[0] + 3, y + 2), interval.label, fill="white", font=ImageFont.load_default(10)
            )
        draw.line((x_of(time), top - 4, x_of(time), y + ROW - 4), fill="white", width=2)
        images.append(image)
    durations = [1000 // FPS] * (len(images) - 1) + [2000]
    with replacing(out) as temporary:
        images[0].save(
            temporary,
            save_all=True,
            append_images=images[1:],
            duration=durations,
            loop=0,
            quality=60,
        )
    print(f"written: {out}, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
