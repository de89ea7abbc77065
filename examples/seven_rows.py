"""Run the seven published rows, from video files to predictions, on a small synthetic Charades.

    python examples/seven_rows.py OUT

OUT/charades has the official layout, with synthetic videos (MP4) and annotations (CSV). The
networks are those of the rows, with 32 to 128 timesteps, and tests use 10 random clips. But the
backbones have random weights, the frames are small, and the videos are short (about 200 frames, so
timesteps repeat). All scores are at chance level: the script shows that the commands of each row
run on files like those of Charades. Rows with the same backbone share a bank.
"""

from __future__ import annotations

import csv
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from timeception.cli import main
from timeception.datasets.synthetic import ONE_ACTIONS, make_synthetic_activities
from timeception.recipes.recipe import load_recipe

ROWS = (
    *("charades_r2d_tc3_f32", "charades_r2d_tc3_f64", "charades_r2d_tc4_f128"),
    *("charades_i3d_tc3_f256", "charades_i3d_tc3_f512", "charades_i3d_tc4_f1024"),
    "charades_r3d_tc4_f1024",
)
COMMANDS = ("extract", "train", "test", "predict")
N_CLASSES = 157
SIDE_PIXELS = 64  # frames are 64 x 64: maps of 2 x 2 instead of 7 x 7
COLUMNS = (
    *("id", "subject", "scene", "quality", "relevance", "verified", "script", "objects"),
    *("descriptions", "actions", "length"),
)


def make_charades(folder: Path) -> None:
    """Make synthetic videos with the file names and annotations of Charades."""
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


@dataclass
class Row:
    """Measures the wall seconds of each row, and the CPU seconds of all rows."""

    name: str
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COMMANDS, 0.0))
    processor_seconds: float = 0.0

    def run(self, command: str, *words: str) -> None:
        """Print and run one command of the project."""
        print(f"\n$ timeception {' '.join([command, *words])}", flush=True)
        began, worked = time.monotonic(), processor_seconds()
        status = main([command, *words])
        if status:
            sys.exit(status)
        self.seconds[command] += time.monotonic() - began
        self.processor_seconds += processor_seconds() - worked


def processor_seconds() -> float:
    """Return the CPU seconds of this process and its children, over all cores."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run_row(name: str, out: Path) -> Row:
    """Extract (once per backbone), train two epochs, test with 10 random clips, predict a video."""
    row, data, bank = Row(name), out / "charades", out / load_recipe(name).data.bank.name
    videos = str(data / "videos")
    small = [f"backbone.resize={SIDE_PIXELS}", f"backbone.crop={SIDE_PIXELS}"]
    small += ["backbone.map_size=[2,2]", "backbone.stride_frames=8", "backbone.weights=random"]
    changes = [word for change in small for word in ("--set", change)]
    row.run("extract", videos, "--out", str(bank), "--recipe", name, *changes)
    places = [f"data.source={data}", f"data.videos={videos}", f"data.bank={bank}"]
    shorter = ["training.epochs=2", "training.batch_size=3"]
    folder = str(out / "runs" / name)
    row.run("train", name, *places, *small, *shorter, "--out", folder)
    row.run("test", folder, "--draws", "10")
    row.run("predict", folder, f"{videos}/SYN11.mp4", "--top", "3")
    return row


def main_program(out: Path) -> None:
    """Make the data, run every row, and print the times."""
    began = time.monotonic()
    make_charades(out / "charades")
    made_seconds = time.monotonic() - began
    rows = [run_row(name, out) for name in ROWS]
    print("\nRandom backbones: scores mean nothing.")
    print(f"Wall seconds, after {made_seconds:.0f} for the videos:")
    print(f"{'row':24}" + "".join(f"{c:>11}" for c in (*COMMANDS, "all", "CPU")))
    for row in rows:
        times = (*row.seconds.values(), sum(row.seconds.values()), row.processor_seconds)
        print(f"{row.name:24}" + "".join(f"{seconds:11.1f}" for seconds in times))
    minutes, worked = (time.monotonic() - began) / 60, processor_seconds() / 60
    print(f"All {len(ROWS)} rows: {minutes:.1f} min, {worked:.1f} CPU minutes.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main_program(Path(sys.argv[1]))
