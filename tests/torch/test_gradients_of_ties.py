"""Where two numbers are equal, the gradient of their maximum goes to the first, undivided."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from timeception.spec import TimeceptionSpec
from timeception.torch import Timeception
from timeception.torch.fast import native
from timeception.torch.fast.gradients import maximum
from timeception.torch.functional import temporal_maximum, temporal_pool

IMPLEMENTATIONS = [
    "torch",
    pytest.param(
        "native",
        marks=pytest.mark.skipif(bool(native.why_unavailable()), reason="no native kernels"),
    ),
]


def along_time(values: list[float]) -> torch.Tensor:
    """One channel, one position: N, G, C_b, T, S of 1, 1, 1, T, 1."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1, 1).requires_grad_()


def gradient(y: torch.Tensor, x: torch.Tensor, cotangent: list[float]) -> list[float]:
    (y * torch.tensor(cotangent).view(1, 1, 1, -1, 1)).sum().backward()
    return x.grad.flatten().tolist()


def test_of_two_numbers() -> None:
    a = torch.tensor([1.0, 2.0, 5.0, 0.0, -0.0], requires_grad=True)
    b = torch.tensor([2.0, 1.0, 5.0, 0.0, 0.0], requires_grad=True)
    y = maximum(a, b)
    assert y.tolist() == [2, 2, 5, 0, 0]
    y.backward(torch.tensor([3.0, 5.0, 7.0, 11.0, 13.0]))
    assert a.grad.tolist() == [0, 5, 7, 11, 13]
    assert b.grad.tolist() == [3, 0, 0, 0, 0]


def test_each_gradient_arrives_once() -> None:
    """Neither lost nor doubled, wherever the larger one stands."""
    generator = torch.Generator().manual_seed(0)
    a, b = (
        torch.randint(0, 3, (200,), generator=generator).float().requires_grad_() for _ in range(2)
    )
    cotangent = torch.randn(200, generator=generator)
    maximum(a, b).backward(cotangent)
    assert torch.equal(a.grad + b.grad, cotangent)
    assert torch.equal(a.grad != 0, a >= b)


def test_one_of_the_two_may_need_no_gradient() -> None:
    a, b = torch.tensor([1.0, 1.0, 0.0], requires_grad=True), torch.tensor([1.0, 0.0, 1.0])
    maximum(a, b).sum().backward()
    assert a.grad.tolist() == [1, 1, 0]


def test_without_gradients_it_is_the_maximum() -> None:
    a, b = torch.tensor([1.0, 4.0, float("nan")]), torch.tensor([3.0, 2.0, 0.0])
    assert maximum(a, b)[:2].tolist() == [3, 4]
    assert maximum(a, b)[2].isnan()
    with torch.no_grad():
        assert maximum(a.requires_grad_(), b)[:2].tolist() == [3, 4]


def test_pooling_of_pairs() -> None:
    """Pairs (1, 1), (2, 3), (5, 4); the odd last step has no part in it."""
    x = along_time([1, 1, 2, 3, 5, 4, 9])
    y = temporal_pool(x, 3, maximum)
    assert y.flatten().tolist() == [1, 3, 5]
    assert gradient(y, x, [2, 3, 5]) == [2, 0, 0, 3, 5, 0, 0]


def test_looking_ahead() -> None:
    """Maxima of (4, 4), (4, 4), (4, 6), and 6 alone: the first of equal ones takes it."""
    x = along_time([4, 4, 4, 6])
    y = temporal_maximum(x, True, maximum)
    assert y.flatten().tolist() == [4, 4, 6, 6]
    assert gradient(y, x, [2, 3, 5, 7]) == [2, 3, 0, 12]


def test_looking_back() -> None:
    """Maxima of (4, 4) for the first step too, (4, 4), (4, 4), (4, 6)."""
    x = along_time([4, 4, 4, 6])
    y = temporal_maximum(x, False, maximum)
    assert y.flatten().tolist() == [4, 4, 4, 6]
    assert gradient(y, x, [2, 3, 5, 7]) == [5, 5, 0, 7]


def test_looking_back_from_the_first_step() -> None:
    """Which takes the second step's number, if that is larger, and passes its gradient there."""
    x = along_time([1, 4, 4, 6])
    y = temporal_maximum(x, False, maximum)
    assert y.flatten().tolist() == [4, 4, 4, 6]
    assert gradient(y, x, [2, 3, 5, 7]) == [0, 10, 0, 7]


@pytest.mark.parametrize("lookahead", [True, False])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_of_a_layer(implementation: str, lookahead: bool) -> None:
    """A still video through a layer whose temporal kernels see their own step alone.

    Every step is equal, so each pair is a tie: the first step of a pair takes all of it. Branch 5
    has a second maximum before: looking ahead, step t is first of (t, t + 1) and takes it again;
    looking back, PyTorch's operations pass on what step t takes to t - 1, the first of (t - 1, t),
    but for the first step; the C++ kernels leave it with step t.
    """
    spec = TimeceptionSpec(4, 1, 1, pool_lookahead=lookahead, bn_eps=2.0**-10)
    network = Timeception.from_spec(spec).use_implementation(implementation)
    with torch.no_grad():
        layer = network.layers[0]
        layer.pointwise.weight.fill_(1)
        layer.pointwise.bias.zero_()
        for conv in layer.temporal:
            conv.weight.copy_(torch.tensor([[0.0, 1.0, 0.0]]))
            conv.bias.zero_()
        layer.norm.running_var.fill_(1 - 2.0**-10)
    x = torch.full((1, 4, 6, 1, 1), 0.25, requires_grad=True)
    y = network.eval()(x)
    assert torch.equal(y, torch.ones(1, 5, 3, 1, 1))
    cotangent = torch.zeros(1, 5, 3, 1, 1)
    for branch in range(5):  # 2, 3 and 5 for the pairs
        x.grad = None
        cotangent.zero_()[0, branch, :, 0, 0] = torch.tensor([2.0, 3.0, 5.0])
        network(x).backward(cotangent)
        is_moved = branch == 4 and not lookahead and implementation == "torch"
        expected = [2, 3, 0, 5, 0, 0] if is_moved else [2, 0, 3, 0, 5, 0]
        np.testing.assert_array_equal(x.grad[0, 0, :, 0, 0].numpy(), expected)
