"""The seven published rows, each from video files to predictions, on a small made Charades.

    python examples/seven_rows.py OUT

OUT/charades is a tree in the official form: synthetic videos (MP4) and annotations (CSV). The
backbones have random weights and the frames are small, so every score here is chance: what this
shows is that each row runs, by these commands, on files as Charades has them.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

from timeception.cli import main
from timeception.datasets.synthetic import ONE_ACTIONS, make_synthetic_activities
from timeception.training.recipe import load_recipe

ROWS = (
    *("charades_r2d_tc3_f32", "charades_r2d_tc3_f64", "charades_r2d_tc4_f128"),
    *("charades_i3d_tc3_f256", "charades_i3d_tc3_f512", "charades_i3d_tc4_f1024"),
    "charades_r3d_tc4_f1024",
)
N_CLASSES = 157
SIDE_PIXELS = 64  # frames are 64 x 64: maps of 2 x 2 instead of 7 x 7
COLUMNS = (
    *("id", "subject", "scene", "quality", "relevance", "verified", "script", "objects"),
    *("descriptions", "actions", "length"),
)


def make_charades(folder: Path) -> None:
    """Synthetic videos under the names, and with the annotations, that Charades has."""
    made = folder / "made"
    dataset = make_synthetic_activities(made, 2, side=SIDE_PIXELS, fps=24, test_fraction=0.5)
    with (made / "annotations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {record.video_id: f"SYN{n:02d}" for n, record in enumerate(dataset.records)}
    (folder / "videos").mkdir(exist_ok=True)
    for record in dataset.records:
        link = folder / "videos" / f"{names[record.video_id]}.mp4"
        if not link.exists():
            link.hardlink_to(made / f"{record.video_id}.mp4")
    for split in ("train", "test"):
        with (folder / f"Charades_v1_{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="made")
            writer.writeheader()
            for record in dataset.subset(split).records:
                inside = [row for row in rows if row["video"] == record.video_id]
                actions = ";".join(
                    f"c{ONE_ACTIONS.index(row['label']):03d} {row['start']} {row['end']}"
                    for row in inside
                )
                length = max(float(row["end"]) for row in inside)
                name = names[record.video_id]
                writer.writerow({"id": name, "actions": actions, "length": f"{length:.2f}"})
    titles = [*ONE_ACTIONS, *("not performed here" for _ in range(N_CLASSES - len(ONE_ACTIONS)))]
    lines = (f"c{number:03d} {title}\n" for number, title in enumerate(titles))
    (folder / "Charades_v1_classes.txt").write_text("".join(lines), encoding="utf-8")


def run(*words: str) -> None:
    """Run one command of the project, shown as it would be typed."""
    print(f"\n$ timeception {' '.join(words)}", flush=True)
    status = main(list(words))
    if status:
        sys.exit(status)


def run_row(name: str, out: Path) -> None:
    """Extract (once a backbone), train two epochs, test with 10 draws, predict one video."""
    data, bank = out / "charades", out / load_recipe(name).data.bank.name
    videos = str(data / "videos")
    small = [f"backbone.resize={SIDE_PIXELS}", f"backbone.crop={SIDE_PIXELS}"]
    small += ["backbone.map_size=[2,2]", "backbone.stride_frames=8", "backbone.weights=random"]
    changes = [word for change in small for word in ("--set", change)]
    run("extract", videos, "--out", str(bank), "--recipe", name, *changes)
    places = [f"data.source={data}", f"data.videos={videos}", f"data.bank={bank}"]
    shorter = ["training.epochs=2", "training.batch_size=3"]
    folder = str(out / "runs" / name)
    run("train", name, *places, *small, *shorter, "--out", folder)
    run("test", folder, "--draws", "10")
    run("predict", folder, f"{videos}/SYN11.mp4", "--top", "3")


def main_program(out: Path) -> None:
    """Make the data and run every row."""
    began = time.monotonic()
    make_charades(out / "charades")
    for name in ROWS:
        run_row(name, out)
    minutes = (time.monotonic() - began) / 60
    print(
        f"\nAll {len(ROWS)} rows ran in {minutes:.1f} min. Random backbones: scores mean nothing."
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main_program(Path(sys.argv[1]))
