from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracle
from tests.contracts import draw_input
from timeception.spec import (
    ClassifierSpec,
    PoolingSpec,
    TimeceptionSpec,
    check_input,
    default_groups,
    is_trainable,
)


@st.composite
def specs(draw: st.DrawFn, max_channels: int = 3000) -> TimeceptionSpec:
    n_groups = draw(st.integers(1, 16))
    per_group = draw(st.integers(4, max(4, max_channels // n_groups)))
    return TimeceptionSpec(
        n_groups * per_group,
        draw(st.integers(1, 6)),
        n_groups,
        draw(st.booleans()),
        draw(st.sampled_from([1.25, 1.5, 2.0])),
        draw(st.booleans()),
    )


def test_the_published_network() -> None:
    spec = TimeceptionSpec(in_channels=1024, n_layers=4, n_groups=8, is_dilated=True)
    assert [layer.out_channels for layer in spec.layers] == [1280, 1600, 2000, 2480]
    assert (spec.n_parameters, spec.n_trainable_parameters) == (1_494_304, 1_479_584)
    assert spec.output_timesteps(128) == 8
    assert spec.replace(is_dilated=False).n_trainable_parameters == 1_488_416
    assert ClassifierSpec(spec, 157).pooled_channels == 2480


@given(specs())
def test_layers_chain(spec: TimeceptionSpec) -> None:
    channels = spec.in_channels
    for layer in spec.layers:
        assert layer.in_channels == channels
        channels = layer.out_channels
        assert channels == 5 * spec.n_groups * layer.branch_channels
        # the branches hold as many channels as the expansion allows, and not one more
        allowed = layer.in_channels * spec.expansion / (5 * spec.n_groups)
        assert layer.branch_channels <= allowed < layer.branch_channels + 1
    assert spec.out_channels == channels


@given(specs())
def test_parameters_are_those_of_one_layer_a_group_and_branch(spec: TimeceptionSpec) -> None:
    expected = 0
    for layer in spec.layers:
        width, inputs = layer.branch_channels, layer.in_channels // spec.n_groups
        for branch in range(5):
            kernel = len(layer.taps[branch - 1]) if 1 <= branch <= 3 else None
            one = (inputs + 1) * width + 4 * width
            one += (kernel + 1) * width if kernel else 0
            expected += spec.n_groups * one
    assert spec.n_parameters == expected
    statistics = 2 * sum(layer.out_channels for layer in spec.layers)
    assert spec.n_trainable_parameters == expected - statistics


@given(specs(), st.integers(0, 1000))
def test_each_layer_halves_time(spec: TimeceptionSpec, more: int) -> None:
    timesteps = spec.min_timesteps + more
    halved = timesteps
    for _ in spec.layers:
        assert halved >= 2
        halved //= 2
    assert spec.output_timesteps(timesteps) == halved >= 1


@given(specs(), st.integers(1, 50), st.integers(1, 9))
def test_macs_grow_with_the_map(spec: TimeceptionSpec, multiple: int, side: int) -> None:
    timesteps = multiple * spec.min_timesteps
    one_row = spec.n_macs(timesteps, 1, side)
    assert spec.n_macs(timesteps, 3, side) == 3 * one_row
    assert spec.n_macs(2 * timesteps, 1, side) == 2 * one_row


@given(st.integers(1, 5000))
def test_default_groups_divide(channels: int) -> None:
    groups = default_groups(channels)
    assert channels % groups == 0
    assert groups == 1 or channels // groups >= 128


@given(specs(), st.integers(1, 400), st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)))
def test_fields_survive_json(spec: TimeceptionSpec, n: int, dropout: tuple) -> None:
    classifier = ClassifierSpec(spec, n, n + 1, dropout, map_size=(n, 2))
    for one in (spec, classifier, PoolingSpec(n, n, n, dropout)):
        assert type(one).from_dict(json.loads(json.dumps(one.to_dict()))) == one


@pytest.mark.parametrize("is_dilated", [True, False])
@pytest.mark.parametrize("lookahead", [True, False])
def test_receptive_field_is_what_one_step_sees(is_dilated: bool, lookahead: bool) -> None:
    """A step of the middle changes with every input in its field, and with none outside."""
    spec = TimeceptionSpec(60, 2, 1, is_dilated, pool_lookahead=lookahead)
    arrays = oracle.random_arrays(spec.parameter_shapes())
    x = draw_input((1, 60, 80, 1, 1))
    middle = spec.output_timesteps(80) // 2
    base = oracle.features(spec, arrays, x)[0, :, middle]
    seen = []
    for t in range(80):
        moved = x.copy()
        moved[0, :, t] += 3.0
        if (oracle.features(spec, arrays, moved)[0, :, middle] != base).any():
            seen.append(t)
    assert len(seen) <= spec.receptive_field
    assert seen[-1] - seen[0] + 1 == spec.receptive_field


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"in_channels": 0}, "in_channels must be a whole number of at least 1; got 0"),
        ({"in_channels": True}, "in_channels must be a whole number"),
        ({"in_channels": 8.0}, "in_channels must be a whole number"),
        ({"in_channels": 100}, "n_groups must divide in_channels .100.; got 8. Try n_groups=1."),
        ({"in_channels": 16}, "leave at least one channel per branch and group"),
        ({"in_channels": 64, "expansion": 0}, "expansion must be positive"),
        ({"in_channels": 64, "bn_eps": 0.0}, "bn_eps must be positive"),
        ({"in_channels": 64, "bn_momentum": 0}, "bn_momentum must lie in"),
    ],
)
def test_bad_fields(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TimeceptionSpec(**arguments)


def test_unknown_field_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'n_groups'"):
        TimeceptionSpec.from_dict({"in_channels": 64, "n_group": 8})


@pytest.mark.parametrize("map_size", [(2,), (0, 2), (2, 2, 2)])
def test_bad_map_size(map_size: tuple) -> None:
    with pytest.raises(ValueError, match="map_size must be"):
        ClassifierSpec(TimeceptionSpec(64), 3, map_size=map_size)


@pytest.mark.parametrize(
    ("shape", "layout"), [((2, 64, 16, 7, 7), "NCTHW"), ((None, None, 7, 7, 64), "NTHWC")]
)
def test_inputs_that_fit(shape: tuple, layout: str) -> None:
    TimeceptionSpec(64).check_input(shape, layout)
    with pytest.raises(ValueError, match="have 63 channels on axis"):
        check_input(63, shape, layout)


def test_short_input() -> None:
    with pytest.raises(
        ValueError, match=r"timesteps must be at least 2 \*\* n_layers = 16; got 15"
    ):
        TimeceptionSpec(64).check_input((2, 64, 15, 7, 7))


def test_moving_statistics_are_not_trained() -> None:
    names = list(ClassifierSpec(TimeceptionSpec(64), 3).parameter_shapes())
    assert sum(not is_trainable(name) for name in names) == 2 * 4 + 2
