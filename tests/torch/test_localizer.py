from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import oracle
from tests.contracts import assert_close, draw_input
from timeception.inference.saved_model import load_saved
from timeception.spec import LocalizerSpec, TimeceptionSpec
from timeception.torch import TimeceptionClassifier, TimeceptionLocalizer
from timeception.weights import read_checkpoint

LENGTHS = [13, 8, 1, 5, 26]


def make_arrays(spec: LocalizerSpec) -> dict[str, np.ndarray]:
    arrays = oracle.random_arrays(spec.parameter_shapes())
    std = np.abs(arrays["input_norm.running_std"]) + 0.5
    return arrays | {"input_norm.running_std": std.astype(np.float32)}


@pytest.fixture
def spec() -> LocalizerSpec:
    return LocalizerSpec(TimeceptionSpec(16, 3, 2), n_classes=3, hidden=8)


@pytest.mark.parametrize("is_multilabel", [False, True])
@pytest.mark.parametrize("lookahead", [False, True])
@pytest.mark.parametrize("timesteps", [8, 13])
def test_stages_equal_the_oracle(is_multilabel: bool, lookahead: bool, timesteps: int) -> None:
    layers = TimeceptionSpec(16, 3, 2, pool_lookahead=lookahead)
    spec = LocalizerSpec(layers, 3, is_multilabel, hidden=8, n_refinements=2)
    arrays, x = make_arrays(spec), draw_input((2, 16, timesteps, 2, 3))
    model = TimeceptionLocalizer.from_arrays(spec, arrays)
    with torch.inference_mode():
        actual = model.stages(torch.from_numpy(x))
    expected = oracle.localizer_stages(spec, arrays, x)
    assert len(actual) == len(expected) == 3
    for y, wanted in zip(actual, expected, strict=True):
        assert_close(y.numpy(), wanted)


@pytest.mark.parametrize("lookahead", [False, True])
def test_a_padded_batch_equals_single_videos(lookahead: bool) -> None:
    spec = LocalizerSpec(TimeceptionSpec(16, 3, 2, pool_lookahead=lookahead), 3, hidden=8)
    model = TimeceptionLocalizer.from_arrays(spec, make_arrays(spec)).double()
    x = torch.from_numpy(draw_input((5, 16, 26, 2, 3))).double()
    together = model(x, torch.tensor(LENGTHS))
    for index, length in enumerate(LENGTHS):
        alone = model(x[index : index + 1, :, :length])[0]
        assert torch.allclose(together[index, :, :length], alone, rtol=0, atol=1e-12)
        assert not together[index, :, length:].any()


def test_padding_changes_neither_training_nor_gradients() -> None:
    spec = LocalizerSpec(TimeceptionSpec(16, 3, 2), 3, hidden=8, n_refinements=0, dropout=(0, 0))
    videos = torch.from_numpy(draw_input((2, 16, 16, 1, 2))).double()
    padded = torch.cat([videos, torch.full((2, 16, 7, 1, 2), torch.nan).double()], dim=2)
    results = []
    for x, lengths in ((videos, None), (padded, torch.tensor([16, 16]))):
        model = TimeceptionLocalizer.from_arrays(spec, make_arrays(spec)).double().train()
        y = model(x, lengths)[:, :, :16]
        y.square().sum().backward()
        moved = [b.clone() for b in model.buffers()]
        results.append([y.detach(), *moved, *(p.grad for p in model.parameters())])
    for alone, together in zip(*results, strict=True):
        assert torch.allclose(alone, together, rtol=1e-9, atol=1e-9)


def test_dropout_acts_in_training(spec: LocalizerSpec) -> None:
    x = torch.from_numpy(draw_input((2, 16, 13, 1, 1)))
    for rates, n_stages in (((0.5, 0.0), 0), ((0.0, 0.5), 0), ((0.0, 0.0), 1)):
        with_dropout = LocalizerSpec(
            spec.timeception, 3, hidden=8, dropout=rates, n_refinements=n_stages
        )
        model = TimeceptionLocalizer.from_spec(with_dropout).train()
        assert not torch.equal(model(x), model(x))


def test_saved_and_loaded(spec: LocalizerSpec, tmp_path) -> None:
    arrays = make_arrays(spec)
    TimeceptionLocalizer.from_arrays(spec, arrays).save_pretrained(tmp_path)
    loaded = TimeceptionLocalizer.from_pretrained(tmp_path)
    assert loaded.spec == spec
    assert all(np.array_equal(v, arrays[k]) for k, v in loaded.to_arrays().items())


def test_what_cannot_use_a_localizer_refuses_it(spec: LocalizerSpec, tmp_path) -> None:
    TimeceptionLocalizer.from_spec(spec, {"task": "single-label"}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="must hold a classifier; got 'LocalizerSpec'"):
        load_saved(tmp_path)
    with pytest.raises(ValueError, match="holds a LocalizerSpec, not a Timeception network"):
        read_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="must hold a TimeceptionClassifier"):
        TimeceptionClassifier.from_pretrained(tmp_path)


def test_statistics_normalise_the_input(spec: LocalizerSpec) -> None:
    model = TimeceptionLocalizer.from_spec(spec).eval()
    x = torch.from_numpy(draw_input((1, 16, 9, 1, 1)))
    expected = model((x - 2) / 4)
    actual = model.set_statistics(np.full(16, 2.0), np.full(16, 4.0))(x)
    assert torch.allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([1, 14], r"lengths must lie in \[1, 13\]"),
        ([0, 3], r"lengths must lie in \[1, 13\]"),
        ([3], "lengths must be 2 integers, one per video"),
        ([1.0, 2.0], "lengths must be 2 integers, one per video"),
    ],
)
def test_bad_lengths(spec: LocalizerSpec, lengths: list, words: str) -> None:
    model = TimeceptionLocalizer.from_spec(spec)
    with pytest.raises(ValueError, match=words):
        model(torch.zeros(2, 16, 13, 1, 1), torch.tensor(lengths))


def test_bad_statistics(spec: LocalizerSpec) -> None:
    model = TimeceptionLocalizer.from_spec(spec)
    with pytest.raises(ValueError, match=r"mean must have shape \(16,\)"):
        model.set_statistics(np.zeros(3), np.ones(16))
    with pytest.raises(ValueError, match="std must be positive"):
        model.set_statistics(np.zeros(16), np.zeros(16))
