"""Measure the speed of feature extraction, relative to the network alone and to a plain script.

    python -m benchmarks.extraction --out results/

This writes ``extraction.json`` and ``extraction.md``. It makes the videos that it needs and takes
about 15 minutes on two cores. ``--tiny`` runs the same code on short videos, as a test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.layers import table
from benchmarks.measure import Times, as_json, machine, summarise
from timeception.backbones import Backbone, create_backbone
from timeception.datasets.synthetic import ACTIVITIES, make_plan
from timeception.datasets.synthetic.generate import render
from timeception.features import FeatureBank
from timeception.features.bank.sources import video_sources
from timeception.features.extraction.jobs import BankJob, ExtractionReport, RunLog
from timeception.features.extraction.settings import extraction_settings
from timeception.features.extractor import FeatureExtractor, n_cores
from timeception.video import VideoReader

Rows = list[dict[str, Any]]
Call = Callable[[], Any]

BATCH_FRAMES = (4, 8, 16)  # for the network alone; the best one is reported
ALONE_FRAMES = 192  # per call, for the network alone
MARGIN = 32  # pixels by which the synthetic camera moves


@dataclass(frozen=True)
class Plan:
    """Sizes of a run.

    Args:
        backbone: the network.
        sizes: width and height of each video.
        seconds: length of each video.
        fps: frames per second.
        strides: frames from one timestep to the next.
        repeats: rounds of timing.
        is_tiny: skip the ways that take long to prepare.
    """

    backbone: str = "efficientnet_lite0"
    sizes: tuple[tuple[int, int], ...] = ((256, 192), (320, 240), (256, 192), (320, 240))
    seconds: int = 30
    fps: int = 25
    strides: tuple[int, ...] = (8, 2)
    repeats: int = 5
    is_tiny: bool = False

    def n_frames(self, stride: int) -> int:
        """Number of frames that go through the network."""
        return len(self.sizes) * len(range(0, self.seconds * self.fps, stride))


FULL = Plan()
TINY = replace(FULL, sizes=((64, 48), (64, 48)), seconds=1, strides=(8,), repeats=1, is_tiny=True)


def make_videos(folder: Path, plan: Plan) -> list[Path]:
    """Make an H.264 video at 400 kbit/s: a drawn figure, filmed by a moving camera with noise."""
    paths = []
    for number, (width, height) in enumerate(plan.sizes):
        paths.append(folder / f"{number}.mp4")
        with av.open(str(paths[-1]), "w") as file:
            stream = file.add_stream("libx264", rate=plan.fps, options={"b": "400k"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for image in pictures(width, height, plan, number):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            file.mux(stream.encode())
    return paths


def pictures(width: int, height: int, plan: Plan, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of one video."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 3, (8, height, width, 3))
    place = 0
    while True:
        activity = make_plan(list(ACTIVITIES)[seed % len(ACTIVITIES)], plan.fps, rng)
        for image in render(activity, plan.fps, width + MARGIN, rng):
            left = round(MARGIN / 2 * (1 + np.sin(place / 40)))
            top = (width + MARGIN - height) // 2
            seen = image[top : top + height, left : left + width]
            yield (seen + grain[rng.integers(8)]).clip(0, 255).astype(np.uint8)
            place += 1
            if place == plan.seconds * plan.fps:
                return


class Alone:
    """The network alone, on normalised frames in memory: the upper bound.

    Args:
        network: the network that extraction runs, or the network as loaded.
        n_frames: frames per call, a multiple of ``batch``.
        n_callers: threads with separate batches; they share the cores.
        batch: frames in a batch.
    """

    def __init__(self, network: Backbone, n_frames: int, n_callers: int, batch: int) -> None:
        side, dtype = network.transform.crop, next(network.parameters()).dtype
        frames = torch.randn(batch, 1, side, side, 3, generator=torch.Generator().manual_seed(0))
        self._pool = [
            frames.roll(place, 0).to(dtype).permute(0, 4, 1, 2, 3)
            for place in range(n_frames // batch)
        ]
        self._network, self._n_callers = network, n_callers

    def __call__(self) -> None:
        n_threads = torch.get_num_threads()
        torch.set_num_threads(max(1, n_cores() // self._n_callers))
        with ThreadPoolExecutor(self._n_callers) as pool:
            list(pool.map(self._compute, self._pool))
        torch.set_num_threads(n_threads)

    def _compute(self, batch: Tensor) -> Tensor:
        with torch.inference_mode():
            return self._network(batch)


def plain_script(videos: Iterable[Path], backbone: Backbone, stride: int, out: Path) -> None:
    """A careful plain script: one video at a time, with PyAV, torchvision and batches of 16."""
    from torchvision.transforms import v2

    transform = backbone.transform
    preprocess = v2.Compose(
        [
            v2.Resize(
                transform.resize, v2.InterpolationMode(transform.interpolation), antialias=True
            ),
            v2.CenterCrop(transform.crop),
            v2.ToDtype(torch.float32),
            v2.Normalize(
                [transform.scale * mean for mean in transform.mean],
                [transform.scale * std for std in transform.std],
            ),
        ]
    )
    model: nn.Module = backbone.network
    for path in videos:
        with av.open(str(path)) as file:
            file.streams.video[0].thread_type = "AUTO"
            images = [
                torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
                for index, frame in enumerate(file.decode(video=0))
                if index % stride == 0
            ]
        frames = torch.stack([preprocess(image) for image in images])
        with torch.inference_mode():
            maps = [model(part, backbone.endpoint) for part in frames.split(16)]
        np.save(out / f"{path.stem}.npy", torch.cat(maps).half().numpy())


def on_all_cores(work: Callable[[Path], Any], videos: Iterable[Path]) -> None:
    """Process one video per core, without the network."""
    with ThreadPoolExecutor(n_cores()) as pool:
        list(pool.map(work, videos))


def decode(stride: int, path: Path) -> list[NDArray[np.uint8]]:
    """Decode the frames of a video that extraction uses."""
    with VideoReader(path, n_threads=1) as video:
        return [image for _, image in video.frames(range(0, len(video), stride))]


def transform(backbone: Backbone, images: list[NDArray[np.uint8]]) -> None:
    """Transform decoded frames like extraction, one at a time."""
    multiplier, offset = (np.tile(a, backbone.transform.crop) for a in backbone.transform.affine())
    for image in images:
        levels = torch.from_numpy(backbone.transform.levels(image[None]))
        frames = levels.float().view(-1, len(multiplier))
        frames.mul_(torch.from_numpy(multiplier)).add_(torch.from_numpy(offset))


def timed(calls: dict[str, Call], repeats: int) -> dict[str, tuple[Times, Times]]:
    """Measure wall and CPU milliseconds of calls; each round runs every call once."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for place in range(repeats + 1):  # the first round is not counted
        for name, call in calls.items():
            wall, processor = time.perf_counter(), time.process_time()
            call()
            if place:
                spent = (time.perf_counter() - wall, time.process_time() - processor)
                samples[name].append((1000 * spent[0], 1000 * spent[1]))
    return {
        name: (summarise([a for a, _ in pairs]), summarise([b for _, b in pairs]))
        for name, pairs in samples.items()
    }


def frames_per_second(n_frames: int, times: Times) -> Times:
    """Convert the times for ``n_frames`` to a rate."""
    rates = [1000 * n_frames / ms for ms in (times.median, times.upper, times.lower)]
    return Times(*rates, times.n)


#: Ways to extract: name and options.
WAYS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp32 compiled": {"is_compiled": True},
    "bf16": {"precision": "bf16"},
}


class Extraction:
    """``extract`` into a new bank at each call, without the preparation that a run needs once.

    Args:
        backbone: the network.
        videos: files.
        stride: frames from one timestep to the next.
        root: folder of the bank.
        options: options of the network.
    """

    def __init__(
        self,
        backbone: Backbone,
        videos: list[Path],
        stride: int,
        root: Path,
        options: dict[str, Any],
    ) -> None:
        self.network = FeatureExtractor(backbone, device="cpu", **options)
        self._sources, self._root = video_sources(videos), root
        precision = options.get("precision", "fp32")
        self._settings = extraction_settings(backbone, stride, precision=precision)
        with self.network:  # compiles
            self._pipeline = self.network.pipeline(n_cores(), len(videos))

    def __call__(self) -> FeatureBank:
        shutil.rmtree(self._root, ignore_errors=True)
        bank = FeatureBank(self._root, mode="a", settings=self._settings, dtype="float32")
        log = RunLog(bank, ExtractionReport())
        jobs = [BankJob(source, log, n_cores()) for source in self._sources]
        n_threads = torch.get_num_threads()
        torch.set_num_threads(max(1, n_cores() // self.network.n_computers))
        self._pipeline.run(jobs)
        torch.set_num_threads(n_threads)
        if log.report.failed:
            raise RuntimeError(f"not extracted: {log.report.failed}")
        return bank


def measure(plan: Plan, stride: int, videos: list[Path], folder: Path) -> tuple[Rows, Rows]:
    """Measure every way at one stride, and the differences of the features."""
    backbone, n_frames = create_backbone(plan.backbone), plan.n_frames(stride)
    n_alone = ALONE_FRAMES if n_frames > ALONE_FRAMES else max(BATCH_FRAMES)
    ways = {
        name: Extraction(backbone, videos, stride, folder / name, options)
        for name, options in WAYS.items()
        if not (plan.is_tiny and options.get("is_compiled"))
    }
    networks = {"fp32, as loaded": backbone}
    networks |= {name: way.network.backbone for name, way in ways.items()}
    calls: dict[str, Call] = {
        f"network alone, {name}, {n} x {n_cores() // n} threads, batches of {batch}": Alone(
            network, n_alone, n, batch
        )
        for name, network in networks.items()
        for n in sorted({1, n_cores()})
        for batch in BATCH_FRAMES
        if "compiled" not in name or (n == n_cores() and batch == ways[name].network.batch_size)
    }
    images = [image for path in videos for image in decode(stride, path)]
    shares = [images[place :: n_cores()] for place in range(n_cores())]
    calls |= {f"extraction, {name}": way for name, way in ways.items()}
    calls |= {
        "plain script": lambda: plain_script(videos, backbone, stride, folder),
        "decoding alone": lambda: on_all_cores(lambda path: decode(stride, path), videos),
        "transform alone": lambda: on_all_cores(lambda part: transform(backbone, part), shares),
    }
    times = timed(calls, plan.repeats)
    counts = {
        name: n_alone if isinstance(call, Alone) else n_frames for name, call in calls.items()
    }
    return _rows(times, counts), changes({name: way() for name, way in ways.items()})


def _rows(times: dict[str, tuple[Times, Times]], n_frames: dict[str, int]) -> Rows:
    """Format rates, and their ratios to the fastest network alone and to the plain script."""
    wall = {name: frames_per_second(n_frames[name], pair[0]) for name, pair in times.items()}
    rows: Rows = []
    for name, (_, processor) in times.items():
        ways = [way for way in WAYS if f", {way}," in f"{name},"]
        alone = f"network alone, {ways[0] if ways else 'fp32'},"
        bound = max(rate.median for other, rate in wall.items() if other.startswith(alone))
        rows.append(
            {
                "way": name,
                "frames/s": wall[name],
                "relative to the network alone": wall[name].median / bound,
                "relative to the plain script": wall[name].median / wall["plain script"].median,
                "CPU ms per frame": processor.median / n_frames[name],
            }
        )
    return rows


def changes(banks: dict[str, FeatureBank]) -> Rows:
    """Return differences from fp32: largest over largest feature, and norm over norm."""
    arrays = {
        name: np.concatenate([bank[video_id].features.ravel() for video_id in bank.video_ids])
        for name, bank in banks.items()
    }
    expected = arrays["fp32"].astype(np.float64)
    rows: Rows = []
    for name, array in arrays.items():
        change = array - expected
        greatest = np.abs(change).max() / np.abs(expected).max()
        norm = np.linalg.norm(change) / np.linalg.norm(expected)
        rows.append({"way": name, "greatest": f"{greatest:.1e}", "norm": f"{norm:.1e}"})
    return rows


def main(arguments: list[str] | None = None) -> dict[str, Rows]:
    """Make the videos, measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--repeats", type=int, help="rounds, after one that is not counted")
    parser.add_argument("--strides", type=int, nargs="+", help="frames between timesteps")
    parser.add_argument("--tiny", action="store_true", help="short videos, as a test")
    options = parser.parse_args(arguments)
    plan = TINY if options.tiny else FULL
    plan = replace(
        plan,
        repeats=options.repeats or plan.repeats,
        strides=tuple(options.strides or plan.strides),
    )
    torch.set_num_threads(n_cores())
    described, results = machine(), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = make_videos(folder, plan)
        for stride in plan.strides:
            rows, change = measure(plan, stride, videos, folder)
            results |= {f"stride {stride}": rows, f"changes at stride {stride}": change}
            print(f"\nstride {stride}\n\n{table(rows)}\n\n{table(change)}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    content = {"machine": described, "tiny": options.tiny, "sections": results}
    (options.out / "extraction.json").write_text(json.dumps(content, indent=2, default=as_json))
    machine_text = ", ".join(f"{name} {value}" for name, value in described.items())
    sizes = ", ".join(f"{width}x{height}" for width, height in plan.sizes)
    text = f"{plan.backbone}; videos of {plan.seconds} s at {plan.fps} frames/s: {sizes}. "
    text += f"Median (quartiles) of {plan.repeats} rounds; {machine_text}, {os.cpu_count()} CPUs.\n"
    parts = [f"\n{name}\n\n{table(rows)}\n" for name, rows in results.items()]
    (options.out / "extraction.md").write_text(text + "".join(parts))
    return results


if __name__ == "__main__":
    main()
