"""The benchmark measures what it says, and runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import extraction, layers, measure, peers
from tests import oracle
from tests.contracts import CASES, assert_close, draw_input
from tests.torch.adapter import build
from timeception.backbones import create_backbone


@pytest.mark.parametrize("case", ["dilated", "kernels", "one_group"])
def test_the_loop_network_is_the_same_function(case: str) -> None:
    spec, shape = CASES[case]
    network = build(spec, oracle.random_arrays(spec.parameter_shapes())).eval()
    loop = peers.LoopTimeception(spec).eval()
    loop.load_canonical(network.state_dict())
    x = torch.from_numpy(draw_input(shape))
    with torch.inference_mode():
        assert_close(loop(x).numpy(), network(x).numpy(), 1e-4)


def test_the_bound_multiplies_what_the_layers_multiply(monkeypatch) -> None:
    plan, counted = layers.TINY, []
    run = layers.products(plan)
    multiply = torch.bmm

    def count(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        counted.append(a.numel() * b.shape[2])
        return multiply(a, b, out=out)

    monkeypatch.setattr(torch, "bmm", count)
    run()
    assert counted == [
        layer.out_channels * layer.group_channels * (plan.timesteps >> index) * plan.side**2
        for index, layer in enumerate(plan.spec.layers)
    ]


@pytest.mark.parametrize("name", layers.PEERS)
def test_peers_take_the_same_features(name: str) -> None:
    layers.peer_call(name, layers.TINY)()
    module = layers.peer(name, layers.TINY)
    count = getattr(module, "n_macs", layers.TINY.spec.n_macs)
    assert count(32, 2, 2) > count(16, 2, 2) > 0


def test_the_whole_pass_of_a_stream_is_whole() -> None:
    """Its parts, which the benchmark compares streams with, equal one pass over everything."""
    plan, minutes = layers.TINY, 20
    pool, order = layers.segments_of(minutes, plan)
    with torch.inference_mode():
        expected = layers.stream_classifier(plan)(pool[:, :, order]).numpy()
    assert_close(layers.whole_logits(minutes, plan).numpy(), expected, 1e-5)
    assert_close(layers.streamed(minutes, plan)().numpy(), expected, 1e-5)


def test_the_command(tmp_path: Path) -> None:
    arguments = ["--tiny", "--no-plot", "--out", str(tmp_path), "--threads", "1"]
    results = layers.main([*arguments, "--sections", "evaluate", "length"])
    by_name = {row["network"]: row for row in results["evaluate"]}
    assert by_name["loop network"]["speed-up"] == 1
    assert by_name["products alone"]["relative to the bound"] == 1
    written = json.loads((tmp_path / "layers.json").read_text())
    assert [row["timesteps"] for row in written["sections"]["length"]] == [16, 64]
    assert "| loop network |" in (tmp_path / "layers.md").read_text()


def allocate(megabytes: int):
    """A call that needs so much at its height."""
    return lambda: torch.ones(megabytes, 2**18).sum()


@pytest.mark.slow
def test_peak_memory_is_that_of_the_call() -> None:
    assert 180 < measure.peak_memory_mb(allocate, 200) < 260


def test_quartiles() -> None:
    times = measure.summarise([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (times.lower, times.median, times.upper, times.n) == (2.0, 3.0, 4.0, 5)
    assert str(times) == "3.0 (2.0 to 4.0)"


def test_the_network_alone_computes_as_many_frames() -> None:
    backbone, counts = create_backbone("timm:test_resnet", "random"), []
    backbone.network.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
    extraction.Alone(backbone, 12, n_callers=2, batch=4)()
    assert counts == [4, 4, 4]


def test_the_plain_script_makes_the_same_features(tmp_path: Path) -> None:
    plan, backbone = extraction.TINY, create_backbone("timm:test_resnet", "random")
    videos = extraction.make_videos(tmp_path, plan)
    extraction.plain_script(videos, backbone, 8, tmp_path)
    bank = extraction.Extraction(backbone, videos, 8, tmp_path / "bank", {})()
    assert len(bank) == 2
    for video_id in bank.video_ids:
        plain, found = np.load(tmp_path / f"{video_id}.npy"), bank[video_id].features
        assert len(found) == plan.n_frames(8) / 2
        np.testing.assert_allclose(plain, found, atol=2e-2 * np.abs(found).max(), rtol=0)


@pytest.mark.slow
def test_the_command_of_extraction(tmp_path: Path) -> None:
    results = extraction.main(["--tiny", "--out", str(tmp_path)])
    rows = {row["way"]: row for row in results["stride 8"]}
    assert (
        max(
            row["relative to the network alone"]
            for name, row in rows.items()
            if "alone, fp32," in name
        )
        == 1
    )
    assert rows["plain script"]["relative to the plain script"] == 1
    assert rows["extraction, fp32"]["relative to the network alone"] > 0
    by_name = {row["way"]: float(row["norm"]) for row in results["changes at stride 8"]}
    assert by_name["fp32"] == 0 < by_name["bf16"]
    written = json.loads((tmp_path / "extraction.json").read_text())
    assert written["tiny"] and set(written["sections"]) == set(results)
    assert "| extraction, fp32 |" in (tmp_path / "extraction.md").read_text()
