"""Make the files of this folder anew: run in the root of commit 38d7f3f, with its own code."""

import io
import os
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from timeception.cli import main
from timeception.datasets.synthetic.generate import write_mp4
from timeception.features.bank import FeatureBank

out = Path(sys.argv[1])
out.mkdir(parents=True)

os.chdir(out)
rng = np.random.default_rng(0)
bank = FeatureBank("bank", mode="a", settings={"made": "by hand"})
rows = ["path,labels,split"]
for number in range(12):
    label = ("rising", "falling")[number % 2]
    steps = np.zeros((16, 8, 1, 2), dtype=np.float32)
    at = rng.integers(1, 8)
    first, second = (0, 1) if label == "rising" else (1, 0)
    steps[at : at + 3, first] = 3.0
    steps[at + 3 : at + 6, second] = 3.0
    steps += rng.normal(0, 0.1, steps.shape)
    bank.write(f"v{number:02d}", steps, np.arange(16) * 4, fps=8.0)
    rows.append(f"v{number:02d}.mp4,{label},{'test' if number >= 8 else 'train'}")
Path("videos.csv").write_text("\n".join(rows) + "\n")
Path("recipe.yaml").write_text("""name: order
data: {kind: csv, source: videos.csv, bank: bank}
sampling: {n_timesteps: 16}
model: {n_layers: 2, n_groups: 1, expansion: 2.0, hidden: 8, keep_positions: true}
training: {epochs: 6, batch_size: 4, learning_rate: 0.01}
testing: {draws: 3}
""")
assert main(["train", "recipe.yaml", "--out", "run"]) == 0
assert main(["test", "run"]) == 0
shutil.rmtree("run/logs")
# four videos, their bank, a model on it, and its predictions
for number in range(4):
    frames = [np.tile(np.array([60, 90, 120], np.uint8), (64, 96, 1)) for _ in range(36)]
    label = ("left", "right")[number % 2]
    for step, frame in enumerate(frames):
        at = 2 * step if label == "right" else 72 - 2 * step
        frame[12 + 6 * number : 32 + 6 * number, at : at + 14] = (250, 220, 30)
    Path("videos", label).mkdir(parents=True, exist_ok=True)
    write_mp4(Path("videos", label, f"{number}.mp4"), frames, fps=10)
assert main(
    [
        "extract",
        "videos",
        "--out",
        "video_bank",
        "--backbone",
        "efficientnet_lite0",
        "--stride",
        "4",
        "--map-size",
        "1x1",
    ]
) in (0,)
Path("video_recipe.yaml").write_text("""name: sides
data: {kind: folder, source: videos, bank: video_bank, split: {train: ["*"]}}
sampling: {n_timesteps: 8}
model: {n_layers: 1, n_groups: 10, expansion: 0.05, hidden: 4}
training: {epochs: 2, batch_size: 4}
""")
assert main(["train", "video_recipe.yaml", "--out", "video_run"]) == 0
shutil.rmtree("video_run/logs")
text = io.StringIO()
with redirect_stdout(text):
    assert (
        main(
            [
                "predict",
                "video_run",
                "videos/left/0.mp4",
                "videos/right/1.mp4",
                "--draws",
                "3",
                "--json",
            ]
        )
        == 0
    )
Path("predictions.json").write_text(text.getvalue())
text = io.StringIO()
with redirect_stdout(text):
    assert main(["predict", "video_run", "--stream", "videos/left/0.mp4", "--json"]) == 0
Path("stream.jsonl").write_text(text.getvalue())
