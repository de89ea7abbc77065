"""The fused and the native networks, held to the same contract as the plain one."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.contracts import EvaluationContract, FrameworkContract, assert_close, draw_input
from tests.goldens import GoldenContract
from tests.torch.adapter import TorchAdapter, build
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.torch import Timeception, TimeceptionClassifier
from timeception.torch.fast import native
from timeception.torch.fast.native import build as building
from timeception.torch.fast.native import ctypes_structs

needs_compiler = pytest.mark.skipif(
    bool(native.why_unavailable()), reason=f"no native kernels: {native.why_unavailable()}"
)


class FusedAdapter(TorchAdapter):
    def prepare(self, network: torch.nn.Module) -> torch.nn.Module:
        return network.eval().fuse("torch")


class NativeFusedAdapter(TorchAdapter):
    def prepare(self, network: torch.nn.Module) -> torch.nn.Module:
        return network.eval().fuse("native")


class NativeAdapter(TorchAdapter):
    def build(self, spec: TimeceptionSpec, arrays: dict[str, np.ndarray]) -> Timeception:
        return super().build(spec, arrays).use_implementation("native")


class TestFused(EvaluationContract, GoldenContract):
    adapter = FusedAdapter()


@needs_compiler
class TestNativeFused(EvaluationContract, GoldenContract):
    adapter = NativeFusedAdapter()


@needs_compiler
class TestNative(FrameworkContract, GoldenContract):
    adapter = NativeAdapter()


@st.composite
def networks(draw: st.DrawFn) -> tuple[TimeceptionSpec, tuple[int, ...]]:
    n_groups = draw(st.integers(1, 4))
    spec = TimeceptionSpec(
        n_groups * draw(st.integers(4, 20)),
        1,
        n_groups,
        is_dilated=draw(st.booleans()),
        pool_lookahead=draw(st.booleans()),
        expansion=draw(st.sampled_from([1.25, 2.0])),
    )
    clips, timesteps = draw(st.integers(1, 3)), draw(st.integers(2, 40))
    return spec, (
        clips,
        spec.in_channels,
        timesteps,
        draw(st.integers(1, 5)),
        draw(st.integers(1, 5)),
    )


@needs_compiler
@settings(deadline=None, max_examples=60)
@given(networks(), st.integers(0, 99))
def test_all_evaluations_agree(case: tuple, seed: int) -> None:
    spec, shape = case
    network = build(spec, oracle.random_arrays(spec.parameter_shapes(), seed)).eval()
    x = torch.from_numpy(draw_input(shape, seed))
    with torch.inference_mode():
        expected = network(x).numpy()
        assert_close(network.fuse("torch")(x).numpy(), expected, 1e-4)
        assert_close(network.fuse("native")(x).numpy(), expected, 1e-4)


@pytest.mark.parametrize("implementation", ["torch", pytest.param("native", marks=needs_compiler)])
@pytest.mark.parametrize("timesteps", [257, 400, 513])
def test_long_videos_are_taken_in_parts(implementation: str, timesteps: int) -> None:
    spec = TimeceptionSpec(24, 3, 2, is_dilated=timesteps % 2 == 0, pool_lookahead=timesteps > 400)
    network = build(spec, oracle.random_arrays(spec.parameter_shapes())).eval()
    x = torch.from_numpy(draw_input((2, 24, timesteps, 2, 1)))
    with torch.inference_mode():
        assert_close(network.fuse(implementation)(x).numpy(), network(x).numpy(), 1e-5)


@needs_compiler
@settings(deadline=None, max_examples=40)
@given(networks(), st.booleans(), st.integers(0, 99))
def test_all_gradients_agree(case: tuple, training: bool, seed: int) -> None:
    spec, shape = case
    results = []
    for implementation in ("torch", "native"):
        network = build(spec, oracle.random_arrays(spec.parameter_shapes(), seed))
        network.use_implementation(implementation).train(training)
        x = torch.from_numpy(draw_input(shape, seed)).requires_grad_()
        y = network(x)
        cotangent = torch.from_numpy(draw_input(tuple(y.shape), seed + 1))
        (y * cotangent).sum().backward()
        gradients = {name: p.grad for name, p in network.named_parameters()}
        results.append({"y": y.detach(), "x": x.grad, **dict(network.named_buffers()), **gradients})
    largest = max(float(g.abs().max()) for g in results[0].values())
    for name, expected in results[0].items():
        difference = float((results[1][name] - expected).abs().max())
        assert difference <= 1e-4 * float(expected.abs().max()) + 1e-5 * largest, name


@needs_compiler
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_do_not_change_a_bit(n_threads: int) -> None:
    spec = TimeceptionSpec(60, 2, 3)
    network = build(spec, oracle.random_arrays(spec.parameter_shapes()))
    x = torch.from_numpy(draw_input((2, 60, 21, 3, 3)))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, n_threads):
            torch.set_num_threads(threads)
            results.append(network.eval().fuse("native")(x))
        assert torch.equal(*results)
    finally:
        torch.set_num_threads(before)


@needs_compiler
@pytest.mark.parametrize("implementation", ["torch", "native"])
def test_not_a_number_is_passed_on(implementation: str) -> None:
    spec = TimeceptionSpec(20, 1, 2)
    network = build(spec, oracle.random_arrays(spec.parameter_shapes())).eval()
    x = torch.from_numpy(draw_input((1, 20, 8, 3, 3)))
    x[0, 3, 4, 1, 1] = float("nan")
    plain = torch.isnan(network(x))
    assert plain.any()
    assert torch.equal(torch.isnan(network.fuse(implementation)(x)), plain)
    network.use_implementation(implementation)
    assert torch.equal(torch.isnan(network(x)), plain)


@needs_compiler
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # opcheck's
def test_operators_keep_their_promises_to_compilers() -> None:
    spec = TimeceptionSpec(20, 1, 2)
    arrays = {k: torch.tensor(v) for k, v in oracle.random_arrays(spec.parameter_shapes()).items()}
    layer = spec.layers[0]
    taps = [offset for taps in layer.taps for offset in taps]
    y = torch.randn(2, spec.out_channels, 7, 4, requires_grad=True)
    weights = [arrays[f"layers.0.temporal.{i}.weight"] for i in range(3)]
    biases = [arrays[f"layers.0.temporal.{i}.bias"] for i in range(3)]
    norm = [arrays[f"layers.0.norm.{n}"] for n in ("weight", "bias", "running_mean", "running_var")]
    arguments = (arrays["layers.0.pointwise.bias"], weights, biases, *norm)
    constants = (1e-3, True, spec.n_groups, taps, layer.pool_offset)
    torch.library.opcheck(torch.ops.timeception.epilogue.default, (y, *arguments, *constants))


@needs_compiler
@pytest.mark.slow
def test_native_networks_are_captured_as_one_graph() -> None:
    spec = TimeceptionSpec(40, 1, 4)
    network = build(spec, oracle.random_arrays(spec.parameter_shapes())).eval()
    fused, x = network.fuse("native"), torch.from_numpy(draw_input((2, 40, 9, 2, 2)))
    compiled = torch.compile(fused, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        assert torch.equal(compiled(x), fused(x))


@needs_compiler
def test_other_types_are_refused() -> None:
    network = Timeception(40, 1, 4).use_implementation("native").double()
    with pytest.raises(ValueError, match=r"require float32 on the CPU; got torch\.float64"):
        network(torch.zeros(1, 40, 4, 1, 1, dtype=torch.float64))


@pytest.mark.parametrize("implementation", ["torch", pytest.param("native", marks=needs_compiler)])
def test_fused_in_half_precision(implementation: str) -> None:
    spec = TimeceptionSpec(40, 2, 4)
    network = build(spec, oracle.random_arrays(spec.parameter_shapes())).eval()
    x = torch.from_numpy(draw_input((2, 40, 13, 3, 3)))
    expected = network(x).detach().numpy()
    y = network.bfloat16().fuse(implementation)(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert_close(y.float().numpy(), expected, 0.2)


@needs_compiler
def test_half_precision_rounds_only_between_layers() -> None:
    spec = TimeceptionSpec(40, 1, 4)
    network = build(spec, oracle.random_arrays(spec.parameter_shapes())).eval()
    x = torch.from_numpy(draw_input((2, 40, 13, 3, 3))).bfloat16()
    fused = network.fuse("native")
    assert torch.equal(fused(x), fused(x.float()).bfloat16())
    x[0, 0, 0, 0, 0] = float("nan")
    assert torch.equal(fused(x).isnan(), fused(x.float()).isnan())


def test_a_network_says_what_runs_it(caplog) -> None:
    model = TimeceptionClassifier(40, 3, 1, 4, hidden=8)
    assert model.implementation == model.timeception.implementation == "torch"
    with caplog.at_level(logging.INFO, logger="timeception"):
        fused = model.fuse("auto")
    expected = "torch" if native.why_unavailable() else "native"
    assert fused.implementation == expected
    assert f"implementation: {expected}" in caplog.text
    assert model.implementation == "torch"
    assert model.use_implementation().implementation == expected


def test_unknown_implementation() -> None:
    with pytest.raises(ValueError, match="Did you mean 'native'"):
        Timeception(40, 1, 4).use_implementation("nativ")


@pytest.fixture
def fresh_build(monkeypatch, tmp_path: Path):
    """An empty cache folder, and a function that forgets what this process has loaded."""
    monkeypatch.setenv("TIMECEPTION_CACHE", str(tmp_path / "cache"))
    building._load_once.cache_clear()
    yield building._load_once.cache_clear
    building._load_once.cache_clear()


@pytest.fixture
def no_compiler(fresh_build, monkeypatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")


@pytest.fixture
def broken_compiler(fresh_build, monkeypatch, tmp_path: Path) -> Path:
    """A compiler that fails, and writes a line to the file beside it whenever it runs."""
    path = tmp_path / "broken"
    path.write_text(f"#!/bin/sh\necho run >> {path}.log\necho out of registers >&2\nexit 1\n")
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    return path


def n_runs(compiler: Path) -> int:
    return len(compiler.with_name("broken.log").read_text().splitlines())


def test_without_a_compiler(no_compiler, caplog, tmp_path: Path) -> None:
    network = Timeception(40, 1, 4)
    with pytest.raises(native.NativeUnavailableError, match="looked for no-such-compiler"):
        network.use_implementation("native")
    assert network.fuse().implementation == "torch"
    assert "using PyTorch's own operations: no C++ compiler was found" in caplog.text
    assert not (tmp_path / "cache").exists()


def test_a_failed_build_is_remembered(fresh_build, broken_compiler, tmp_path: Path) -> None:
    assert "out of registers" in native.why_unavailable()
    assert "out of registers" in native.why_unavailable()
    assert n_runs(broken_compiler) == 1
    fresh_build()  # as in the next process
    reason = native.why_unavailable()
    (failure,) = (tmp_path / "cache").iterdir()
    assert f"delete {failure} to try again" in reason
    assert "out of registers" in reason
    assert n_runs(broken_compiler) == 1
    failure.unlink()
    fresh_build()
    assert "out of registers" in native.why_unavailable()
    assert n_runs(broken_compiler) == 2


def test_another_compiler_is_tried(fresh_build, broken_compiler, monkeypatch) -> None:
    assert native.why_unavailable()
    other = broken_compiler.with_name("other")
    broken_compiler.rename(other)
    monkeypatch.setenv("CXX", str(other))
    fresh_build()
    assert native.why_unavailable()
    assert n_runs(broken_compiler) == 2


def test_a_cache_folder_that_cannot_be_made(fresh_build, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert f"cannot be built or loaded in {tmp_path / 'cache'}" in native.why_unavailable()


def test_switched_off(fresh_build, monkeypatch, caplog) -> None:
    monkeypatch.setenv("TIMECEPTION_NATIVE", "0")
    network = Timeception(40, 1, 4)
    with pytest.raises(native.NativeUnavailableError, match="switched off by TIMECEPTION_NATIVE=0"):
        network.use_implementation("native")
    assert network.use_implementation("auto").implementation == "torch"
    assert not caplog.records
    monkeypatch.setenv("TIMECEPTION_NATIVE", "no")
    fresh_build()
    with pytest.raises(ValueError, match="TIMECEPTION_NATIVE must be one of '0', '1'; got 'no'"):
        network.use_implementation("auto")


@needs_compiler
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_compiling_prints_one_line(fresh_build, level, caplog, capsys, tmp_path: Path) -> None:
    """The program's log shows it, or standard error does where the log would not."""
    with caplog.at_level(level, logger="timeception"):
        building.load()
        fresh_build()
        building.load()
    is_logged = level == logging.INFO
    shown = caplog.text if is_logged else capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "compiling C++ kernels" in shown
    assert "up to a minute" in shown
    assert f"kept in {tmp_path / 'cache'}" in shown


@needs_compiler
def test_structs_of_another_size_are_refused(monkeypatch) -> None:
    class LayerStruct(ctypes.Structure):
        _fields_ = (*ctypes_structs.LayerStruct._fields_, ("extra", ctypes.c_int))

    monkeypatch.setattr(ctypes_structs, "STRUCTS", (ctypes_structs.NormStruct, LayerStruct))
    building._load_once.cache_clear()
    try:
        reason = native.why_unavailable()
    finally:
        building._load_once.cache_clear()
    before = ctypes.sizeof(ctypes_structs.LayerStruct)
    assert f"Layer has {before} bytes in C++ and {before + 8} in Python" in reason
    assert "Delete the file to rebuild it" in reason


@needs_compiler
def test_saved_after_training_natively(tmp_path: Path) -> None:
    model = TimeceptionClassifier(40, 3, 1, 4, hidden=8).use_implementation("native")
    model.save_pretrained(tmp_path)
    again = TimeceptionClassifier.from_pretrained(tmp_path)
    assert again.implementation == "torch"
    x = torch.from_numpy(draw_input((2, 40, 5, 2, 2)))
    assert_close(again(x).detach().numpy(), model.eval()(x).detach().numpy(), 1e-5)


def test_fused_classifier_keeps_spec_and_pipeline() -> None:
    model = TimeceptionClassifier(40, 3, 1, 4, hidden=8, pipeline={"classes": ["a", "b", "c"]})
    fused = model.fuse("torch")
    assert isinstance(fused.spec, ClassifierSpec)
    assert (fused.spec, fused.pipeline) == (model.spec, model.pipeline)
    assert not any(p.requires_grad for p in fused.parameters())
