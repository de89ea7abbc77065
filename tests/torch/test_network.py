from __future__ import annotations

import pytest
import torch

from tests import oracle
from tests.contracts import CASES, assert_close, draw_input
from tests.torch.adapter import build
from timeception.spec import TimeceptionSpec
from timeception.torch import (
    PoolingClassifier,
    StreamingClassifier,
    Timeception,
    TimeceptionClassifier,
)
from timeception.torch.fast import native

SPEC = TimeceptionSpec(40, 2, 4)


@pytest.fixture
def network() -> Timeception:
    return build(SPEC, oracle.random_arrays(SPEC.parameter_shapes())).eval()


def clips(*shape: int) -> torch.Tensor:
    return torch.from_numpy(draw_input(shape))


def test_the_published_network() -> None:
    network = Timeception(1024, n_layers=4)
    assert sum(p.numel() for p in network.parameters()) == 1_479_584
    assert sum(a.numel() for a in network.state_dict().values()) == 1_494_304


def test_constructed_from_a_size() -> None:
    network = Timeception(torch.zeros(2, 40, 8, 1, 1).size(), n_layers=2, n_groups=4)
    assert network.spec == SPEC


@pytest.mark.parametrize("case", CASES)
def test_state_dict_is_canonical(case: str) -> None:
    spec, _ = CASES[case]
    shapes = {k: tuple(v.shape) for k, v in Timeception.from_spec(spec).state_dict().items()}
    assert shapes == spec.parameter_shapes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"in_channels": 0}, "in_channels must be a whole number of at least 1; got 0"),
        ({"in_channels": (2, 40)}, "size of an input of 5 axes, N, C, T, H, W; got \\(2, 40\\)"),
        ({"in_channels": "40"}, "in_channels must be"),
        ({"in_channels": 40, "n_groups": 7}, "n_groups must divide in_channels \\(40\\); got 7"),
        ({"in_channels": 40, "n_layers": 0}, "n_layers must be"),
        ({"in_channels": 40, "n_groups": 20}, "leave at least one channel"),
        ({"in_channels": 40, "n_groups": 4, "bn_eps": 0}, "bn_eps must be positive"),
    ],
)
def test_bad_arguments(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Timeception(**arguments)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_plain_layer_computes_the_same(case: str, training: bool) -> None:
    spec, shape = CASES[case]
    results = []
    for method in ("plain", "forward"):
        network = build(spec, oracle.random_arrays(spec.parameter_shapes())).train(training)
        x = clips(*shape).requires_grad_()
        y = x
        for layer in network.layers:
            y = getattr(layer, method)(y)
        (y * clips(*y.shape)).sum().backward()
        gradients = {name: p.grad for name, p in network.named_parameters()}
        results.append({"y": y.detach(), "x": x.grad, **dict(network.named_buffers()), **gradients})
    plain, fast = results
    largest = max(float(g.abs().max()) for g in plain.values())
    for name, expected in plain.items():
        difference = float((fast[name] - expected).abs().max())
        assert difference <= 1e-4 * float(expected.abs().max()) + 1e-5 * largest, name


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (
            draw_input((1, 40, 8, 2, 2)),
            r"got 'numpy.ndarray'. Pass torch.from_numpy\(x\).float\(\)",
        ),
        (torch.zeros(1, 40, 8, 2, 2, dtype=torch.uint8), r"got torch.uint8. Pass x.float\(\)"),
        ([1.0], "got 'builtins.list'"),
    ],
)
def test_inputs_that_are_no_tensors_of_numbers(network: Timeception, x: object, words: str) -> None:
    classifier = TimeceptionClassifier(40, 3, 2, 4, hidden=8)
    pooling = PoolingClassifier(40, 3, hidden=8)
    stream = StreamingClassifier(classifier, "torch")
    calls = (network, network.fuse("torch"), classifier, classifier.fuse("torch"), pooling)
    for call in (*calls, stream.push):
        with pytest.raises(
            TypeError, match="input must be a floating-point torch.Tensor; " + words
        ):
            call(x)


def test_channels_last_inputs(network: Timeception) -> None:
    x = clips(2, 40, 9, 3, 2)
    last = x.to(memory_format=torch.channels_last_3d)
    assert_close(network(last).detach().numpy(), network(x).detach().numpy(), 1e-6)


def test_runs_are_equal_bit_by_bit(network: Timeception) -> None:
    x = clips(2, 40, 12, 2, 2)
    assert torch.equal(network(x), network(x))


def test_training_runs_are_equal_bit_by_bit(network: Timeception) -> None:
    x, gradients = clips(2, 40, 12, 2, 2), []
    for _ in range(2):
        network.zero_grad()
        network.train()(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    assert all(map(torch.equal, *gradients))


@pytest.mark.parametrize("training", [False, True])
def test_autocast(network: Timeception, training: bool) -> None:
    network.train(training)
    x = clips(2, 40, 12, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in network.parameters())
    assert_close(y.float().detach().numpy(), network(x).detach().numpy(), 0.2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types(network: Timeception, dtype: torch.dtype) -> None:
    x = clips(1, 40, 12, 2, 2)
    expected = network(x).detach().numpy()
    y = network.to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    assert_close(y.float().detach().numpy(), expected, 0.2 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.slow
def test_training_is_captured_as_one_graph(network: Timeception) -> None:
    captured = torch.compile(network.train(), fullgraph=True, backend="aot_eager")
    x, results = clips(2, 40, 13, 2, 2), []
    for run in (captured, network):
        network.zero_grad()
        y = run(x)
        y.square().sum().backward()
        results.append((y.detach(), network.layers[0].pointwise.weight.grad.clone()))
    for actual, expected in zip(*results, strict=True):
        assert_close(actual.numpy(), expected.numpy(), 1e-4)


@pytest.mark.slow
def test_compiled_is_equal() -> None:
    spec = TimeceptionSpec(40, 1, 4)
    network = build(spec, oracle.random_arrays(spec.parameter_shapes())).eval()
    x = clips(2, 40, 13, 2, 2)
    with torch.inference_mode():
        assert_close(torch.compile(network)(x).numpy(), network(x).numpy(), 1e-4)


def test_exported_with_any_batch(network: Timeception) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    x = clips(2, 40, 12, 2, 2)
    program = torch.export.export(network, (x,), dynamic_shapes={"x": {0: batch}}, strict=True)
    more = clips(5, 40, 12, 2, 2)
    assert_close(program.module()(more).detach().numpy(), network(more).detach().numpy(), 1e-6)


@pytest.mark.parametrize("implementation", ["torch", "native"])
def test_no_clips_give_no_features(network: Timeception, implementation: str) -> None:
    if implementation == "native" and native.why_unavailable():
        pytest.skip(native.why_unavailable())
    x = torch.zeros(0, 40, 12, 2, 2)
    with torch.inference_mode():
        for run in (network, network.fuse(implementation)):
            assert run(x).shape == (0, SPEC.out_channels, SPEC.output_timesteps(12), 2, 2)


def test_loading_ignores_the_count_of_batches(network: Timeception) -> None:
    state = network.state_dict() | {"layers.0.norm.num_batches_tracked": torch.tensor(3)}
    other = Timeception.from_spec(SPEC)
    other.load_state_dict(state)
    assert torch.equal(other.layers[1].norm.bias, network.layers[1].norm.bias)


def test_gradients_in_double_precision() -> None:
    spec = TimeceptionSpec(10, 1, 2, pool_lookahead=False)
    network = build(spec, oracle.random_arrays(spec.parameter_shapes())).double().train()
    x = clips(2, 10, 5, 1, 2).double().requires_grad_()
    names = [name for name, _ in network.named_parameters()]

    def run(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(network, state, (x,))

    assert torch.autograd.gradcheck(run, (x, *network.parameters()))
