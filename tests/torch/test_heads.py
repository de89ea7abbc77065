"""Baseline heads: shapes, positions, order, dropout, saved models, training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.order_recipe import order_recipe
from timeception.evaluation.evaluate import evaluate
from timeception.spec import HeadSpec
from timeception.spec.heads import head_name, head_names, spec_class
from timeception.torch import PoolingClassifier, classifier_class
from timeception.training.train import train

HEADS = ("linear", "lstm", "tcn", "transformer")


def make(head: str, **changes: object) -> torch.nn.Module:
    spec = HeadSpec(head, 6, 3, **{"hidden": 16, "n_layers": 2, **changes})
    torch.manual_seed(0)
    return classifier_class(spec).from_spec(spec).eval()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("map_size", [None, (2, 3)])
def test_logits_of_any_length(head: str, map_size: tuple[int, int] | None) -> None:
    model = make(head, map_size=map_size)
    for timesteps in (1, 7, 16):
        assert model(torch.randn(2, 6, timesteps, 2, 3)).shape == (2, 3)


@pytest.mark.parametrize("head", HEADS)
def test_positions_matter_only_where_they_are_kept(head: str) -> None:
    x = torch.randn(2, 6, 8, 2, 3)
    mirrored = x.flip(4)
    assert torch.allclose(make(head)(x), make(head)(mirrored), atol=1e-5)
    kept = make(head, map_size=(2, 3))
    assert not torch.allclose(kept(x), kept(mirrored), atol=1e-3)
    with pytest.raises(ValueError, match="map_size"):
        kept(torch.randn(2, 6, 8, 3, 2))


@pytest.mark.parametrize(
    ("head", "sees_order"),
    [("linear", False), ("lstm", True), ("tcn", True), ("transformer", True)],
)
def test_which_heads_see_the_order(head: str, sees_order: bool) -> None:
    model, x = make(head), torch.randn(2, 6, 8, 1, 1)
    differs = not torch.allclose(model(x), model(x.flip(2)), atol=1e-5)
    assert differs == sees_order


def test_the_linear_head_is_logistic_regression_on_the_mean() -> None:
    model, x = make("linear"), torch.randn(2, 6, 8, 2, 3)
    assert torch.allclose(model(x), model.output(x.mean((2, 3, 4))), atol=1e-6)


@pytest.mark.parametrize("head", ["linear", "lstm", "tcn"])
@pytest.mark.parametrize("rates", [(0.9, 0.0), (0.0, 0.9)])
def test_each_dropout_rate_acts_in_training(head: str, rates: tuple[float, float]) -> None:
    if head == "linear" and rates[0] == 0:
        pytest.skip("the linear head has one place for dropout, the first")
    model, x = make(head, dropout=rates), torch.randn(2, 6, 8, 1, 1)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_depth_and_width_are_those_of_the_spec() -> None:
    assert len(make("tcn", n_layers=5).layers) == 5
    assert make("tcn", hidden=20).projection.out_features == 20
    dilations = [layer.dilation for layer in make("tcn", n_layers=3).layers]
    assert dilations == [(1,), (2,), (4,)]


def test_pooling_keeps_positions() -> None:
    model = PoolingClassifier(6, 3, hidden=4, map_size=(2, 3)).eval()
    x = torch.randn(2, 6, 8, 2, 3)
    pooled = torch.cat([x.mean(2).flatten(1), x.amax(2).flatten(1)], dim=1)
    assert torch.allclose(model(x), model.classify(pooled), atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_saved_models_are_the_same(head: str, tmp_path: Path) -> None:
    model = make(head, map_size=(1, 2))
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    x = torch.randn(2, 6, 8, 1, 2)
    assert loaded.spec == model.spec and torch.equal(loaded(x), model(x))
    assert model.spec.parameter_shapes() == {
        name: tuple(tensor.shape) for name, tensor in model.state_dict().items()
    }


def test_every_head_has_a_name_and_a_spec() -> None:
    assert set(HEADS) | {"timeception", "pooling"} <= set(head_names())
    assert spec_class("lstm") is HeadSpec and head_name(make("lstm").spec) == "lstm"


@pytest.mark.parametrize("head", ["lstm", "tcn"])
def test_heads_that_see_order_learn_it(head: str, order_data: Path, tmp_path: Path) -> None:
    recipe = order_recipe(
        order_data, model__head=head, model__hidden=32, training__optimizer="adamw"
    )
    run = train(recipe, tmp_path / "run")
    assert evaluate(run, n_draws=2).average_of_draws.accuracy >= 0.9


def test_keras_refuses_baselines_of_pytorch(order_data: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.head=lstm requires framework=torch"):
        order_recipe(order_data, model__head="lstm", framework="keras")
