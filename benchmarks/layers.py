"""Measure the speed and memory of the Timeception layers, and of alternatives to them.

    python -m benchmarks.layers --out results/

This writes ``layers.json``, ``layers.md`` and ``layers.png``. It takes about 30 minutes on two
cores. ``--tiny`` runs the same code on tiny networks in a minute, as a test.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import peers
from benchmarks.measure import as_json, interleaved, machine, peak_memory_mb
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.torch import StreamingClassifier, Timeception, TimeceptionClassifier
from timeception.torch.fast import native

Rows = list[dict[str, Any]]

STREAM_POOL = 61  # different segments in a stream; they arrive in random order
WHOLE_PART = 16  # output steps that the pass over everything computes at once


@dataclass(frozen=True)
class Plan:
    """Sizes of a run.

    Args:
        spec: the layers.
        timesteps: timesteps in the main comparison.
        lengths: timesteps of the linear-growth section.
        side: height and width of the maps.
        repeats: rounds of timing.
        compiles: also time ``torch.compile``.
        stream_minute: timesteps of a minute of video (8 frames per segment, 24 frames per second).
    """

    spec: TimeceptionSpec
    timesteps: int
    lengths: tuple[int, ...]
    side: int
    repeats: int
    compiles: bool
    stream_minute: int

    def clips(self, n_clips: int = 1, timesteps: int | None = None) -> torch.Tensor:
        """Return a random input."""
        generator = torch.Generator().manual_seed(0)
        shape = (n_clips, self.spec.in_channels, timesteps or self.timesteps, self.side, self.side)
        return torch.rand(shape, generator=generator)


FULL = Plan(TimeceptionSpec(1024), 128, (32, 128, 512, 2048, 8192), 7, 15, True, 180)
TINY = Plan(TimeceptionSpec(40, 2, 4), 16, (16, 64), 2, 2, False, 30)


def networks(spec: TimeceptionSpec) -> tuple[Timeception, peers.LoopTimeception]:
    """Return the network and the loop network, with the same weights."""
    torch.manual_seed(0)
    network, loop = Timeception.from_spec(spec), peers.LoopTimeception(spec)
    loop.load_canonical(network.state_dict())
    return network.eval(), loop.eval()


def products(plan: Plan, n_clips: int = 1) -> Callable[[], None]:
    """The lower bound: the pointwise matrix products of all layers, on preallocated buffers."""
    calls = []
    for index, layer in enumerate(plan.spec.layers):
        columns = (plan.timesteps >> index) * plan.side**2
        n = n_clips * plan.spec.n_groups
        kernels = torch.rand(n, layer.out_channels // plan.spec.n_groups, layer.group_channels)
        inputs = torch.rand(n, layer.group_channels, columns)
        calls.append((kernels, inputs, torch.empty(n, kernels.shape[1], columns)))

    def run() -> None:
        for kernels, inputs, out in calls:
            torch.bmm(kernels, inputs, out=out)

    return run


def evaluate(plan: Plan) -> Rows:
    """Measure the evaluation of one clip by every implementation."""
    network, loop = networks(plan.spec)
    x, half = plan.clips(), plan.clips().bfloat16()
    fused = network.fuse("torch")
    halved = networks(plan.spec)[0].bfloat16().fuse("torch")
    calls: dict[str, Callable[[], Any]] = {
        "loop network": lambda: loop(x),
        "timeception": lambda: network(x),
        "fused, torch": lambda: fused(x),
        "fused, torch, bf16": lambda: halved(half),
        "products alone": products(plan),
    }
    if not native.why_unavailable():
        natively = network.fuse("native")
        calls["fused, native"] = lambda: natively(x)
        calls["fused, native, bf16"] = lambda: natively(half)
    if plan.compiles:
        compiled, compiled_half = torch.compile(fused), torch.compile(halved)
        calls["fused, torch, compiled"] = lambda: compiled(x)
        calls["fused, torch, compiled, bf16"] = lambda: compiled_half(half)
    with torch.inference_mode():
        times = interleaved(calls, plan.repeats)
    base, bound = times["loop network"].median, times["products alone"].median
    return [
        {
            "network": k,
            "ms": t,
            "speed-up": base / t.median,
            "relative to the bound": t.median / bound,
        }
        for k, t in times.items()
    ]


def training_step(kind: str, plan: Plan) -> Callable[[], None]:
    """Return a call of a forward and a backward pass at batch 2."""
    network, loop = networks(plan.spec)
    if kind == "native":
        network.use_implementation("native")
    module: nn.Module = (loop if kind == "loop" else network).train()
    x = plan.clips(2)

    def run() -> None:
        module.zero_grad(set_to_none=True)
        module(x).sum().backward()

    return run


def train(plan: Plan) -> Rows:
    """Measure the time and peak memory of a training step."""
    kinds = ["loop", "torch"] + ([] if native.why_unavailable() else ["native"])
    times = interleaved({k: training_step(k, plan) for k in kinds}, max(2, plan.repeats // 3))
    memory = {kind: peak_memory_mb(training_step, kind, plan) for kind in kinds}
    return [
        {
            "network": {"loop": "loop network"}.get(kind, f"timeception, {kind}"),
            "ms": times[kind],
            "speed-up": times["loop"].median / times[kind].median,
            "peak MB": memory[kind],
            "relative memory": memory[kind] / memory["loop"],
        }
        for kind in kinds
    ]


def length(plan: Plan) -> Rows:
    """Measure clips of increasing length; the time per timestep should be constant."""
    network, _ = networks(plan.spec)
    fused = network.fuse("auto")
    rows: Rows = []
    for timesteps in plan.lengths:
        x = plan.clips(timesteps=timesteps)
        with torch.inference_mode():
            repeats = max(3, min(plan.repeats, 8192 // timesteps))
            times = interleaved({"fused": lambda x=x: fused(x)}, repeats)["fused"]
        rows.append(
            {
                "timesteps": timesteps,
                "ms": times,
                "us per timestep": 1000 * times.median / timesteps,
            }
        )
    base = rows[len(rows) // 2]["us per timestep"]
    return [row | {"relative to the middle row": row["us per timestep"] / base} for row in rows]


def peer(name: str, plan: Plan) -> nn.Module:
    """Return a network by name."""
    torch.manual_seed(0)
    channels, n_layers = plan.spec.in_channels, plan.spec.n_layers
    builders: dict[str, Callable[[], nn.Module]] = {
        "timeception": lambda: Timeception.from_spec(plan.spec).fuse("auto"),
        "separable temporal convolution": lambda: peers.SeparableTime(channels, n_layers),
        "bidirectional LSTM, pooled": lambda: peers.BidirectionalLSTM(channels),
        "transformer, pooled": lambda: peers.TransformerEncoder(channels, n_layers, True),
        "transformer, all positions": lambda: peers.TransformerEncoder(channels, n_layers, False),
        "non-local block": lambda: peers.NonLocalBlock(channels),
        "dense 3D convolution": lambda: peers.DenseConv(channels),
    }
    return builders[name]().eval()


PEERS = (
    "timeception",
    "separable temporal convolution",
    "bidirectional LSTM, pooled",
    "transformer, pooled",
    "transformer, all positions",
    "non-local block",
    "dense 3D convolution",
)


def peer_call(name: str, plan: Plan) -> Callable[[], None]:
    """Return a call that evaluates a peer network."""
    module, x = peer(name, plan), plan.clips()

    def run() -> None:
        with torch.inference_mode():
            module(x)

    return run


def compare_peers(plan: Plan) -> Rows:
    """Measure other networks on the same features: four layers, or one block."""
    times = interleaved({name: peer_call(name, plan) for name in PEERS}, max(2, plan.repeats // 5))
    rows: Rows = []
    for name in PEERS:
        module = peer(name, plan)
        count = getattr(module, "n_macs", plan.spec.n_macs)
        n_parameters = sum(p.numel() for p in module.parameters())
        rows.append(
            {
                "network": name,
                "ms": times[name],
                "peak MB": peak_memory_mb(peer_call, name, plan),
                "parameters": n_parameters or plan.spec.n_trainable_parameters,
                "GMACs": count(plan.timesteps, plan.side, plan.side) / 1e9,
            }
        )
    return rows


def segments_of(minutes: int, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a pool of segments, and the index of the segment at each timestep of a stream."""
    pool = plan.clips(timesteps=STREAM_POOL)
    generator = torch.Generator().manual_seed(1)
    return pool, torch.randint(STREAM_POOL, (minutes * plan.stream_minute,), generator=generator)


def stream_classifier(plan: Plan) -> TimeceptionClassifier:
    """Return the streaming classifier."""
    torch.manual_seed(0)
    return TimeceptionClassifier.from_spec(ClassifierSpec(plan.spec, 157)).eval()


def streamed(minutes: int, plan: Plan) -> Callable[[], torch.Tensor]:
    """Push a stream of ``minutes`` one segment at a time; return its logits."""
    stream = StreamingClassifier(stream_classifier(plan))
    pool, order = segments_of(minutes, plan)

    def run() -> torch.Tensor:
        stream.reset()
        for index in order.tolist():
            stream.push(pool[:, :, index : index + 1])
        return stream.finish()[0]

    return run


@torch.inference_mode()
def whole_logits(minutes: int, plan: Plan) -> torch.Tensor:
    """Return the logits of the same stream by the plain network.

    A single pass does not fit in memory, so parts of the output steps are computed one after the
    other. The input of each part includes all timesteps in its receptive field.
    """
    model, (pool, order) = stream_classifier(plan), segments_of(minutes, plan)
    step = 2**plan.spec.n_layers
    reach = -(-plan.spec.receptive_field // step)  # in output steps
    n_outputs, parts = len(order) // step, []
    for first in range(0, n_outputs, WHOLE_PART):
        last = min(first + WHOLE_PART, n_outputs)
        start = max(0, first - reach)
        stop = len(order) if last + reach >= n_outputs else (last + reach) * step
        features = model.timeception(pool[:, :, order[start * step : stop]])
        parts.append(features[:, :, first - start : last - start].amax(2, keepdim=True))
    return model.classify(model.global_pool(torch.cat(parts, dim=2)))


def stream(plan: Plan) -> Rows:
    """Stream a minute and an hour; compare the logits with those of the plain network."""
    rows: Rows = []
    for minutes in (1, 60):
        call = streamed(minutes, plan)
        start = time.perf_counter()
        logits = call()
        seconds = time.perf_counter() - start
        whole = whole_logits(minutes, plan)
        rows.append(
            {
                "minutes": minutes,
                "segments": minutes * plan.stream_minute,
                "ms per segment": 1000 * seconds / (minutes * plan.stream_minute),
                "peak MB": peak_memory_mb(streamed, minutes, plan),
                "difference": f"{float((logits - whole).abs().max() / whole.abs().max()):.1e}",
            }
        )
    return [row | {"of a minute's memory": row["peak MB"] / rows[0]["peak MB"]} for row in rows]


SECTIONS: dict[str, Callable[[Plan], Rows]] = {
    "evaluate": evaluate,
    "train": train,
    "length": length,
    "peers": compare_peers,
    "stream": stream,
}


def table(rows: Rows) -> str:
    """Format the rows as Markdown."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.2f}" if value < 100 else f"{value:.0f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([cell(row[name]) for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(results: dict[str, Rows], path: Path) -> None:
    """Plot bars of the evaluation, and the growth with length."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    bars, growth = figure.subplots(1, 2)
    rows = sorted(results.get("evaluate", []), key=lambda row: -row["ms"].median)
    bars.barh([row["network"] for row in rows], [row["ms"].median for row in rows])
    bars.set_xlabel("ms for one clip in evaluation")
    rows = results.get("length", [])
    growth.plot([row["timesteps"] for row in rows], [row["ms"].median for row in rows], "o-")
    growth.set(xscale="log", yscale="log", xlabel="timesteps", ylabel="ms")
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> dict[str, Rows]:
    """Run the selected sections, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tiny", action="store_true", help="tiny networks, as a test")
    parser.add_argument("--no-plot", action="store_true", help="do not plot (needs no matplotlib)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    plan = TINY if options.tiny else FULL
    described, results = machine(), {}
    for section in options.sections:
        results[section] = SECTIONS[section](plan)
        print(f"\n{SECTIONS[section].__doc__}\n\n{table(results[section])}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    content = {"machine": described, "tiny": options.tiny, "sections": results}
    (options.out / "layers.json").write_text(json.dumps(content, indent=2, default=as_json))
    parts = [f"{SECTIONS[name].__doc__}\n\n{table(rows)}\n" for name, rows in results.items()]
    machine_text = ", ".join(f"{name} {value}" for name, value in described.items())
    text = f"Median (quartiles) of repeated calls; {machine_text}.\n\n" + "\n".join(parts)
    (options.out / "layers.md").write_text(text)
    if not options.no_plot:
        plot(results, options.out / "layers.png")
    return results


if __name__ == "__main__":
    main()
