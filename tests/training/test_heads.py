"""Every field of a recipe's model section reaches the head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.small_runs import small_recipe
from timeception.spec import ClassifierSpec, HeadSpec, PoolingSpec, TimeceptionSpec
from timeception.training.build_head import build_head, head_spec


def spec_of(root: Path, **model: Any) -> ClassifierSpec | PoolingSpec:
    recipe = small_recipe(root, model=model, sampling__n_timesteps=64)
    return head_spec(recipe, in_channels=256, n_classes=7, map_size=(3, 5))


#: Other than the defaults, and each other than the rest.
FIELDS: dict[str, Any] = {
    "n_layers": 3,
    "n_groups": 4,
    "is_dilated": False,
    "expansion": 1.5,
    "pool_lookahead": False,
    "bn_eps": 0.02,
    "bn_momentum": 0.3,
}


def test_the_fields_of_a_timeception_head(tmp_path: Path) -> None:
    found = spec_of(tmp_path, **FIELDS, hidden=9, dropout=[0.1, 0.7])
    assert found == ClassifierSpec(TimeceptionSpec(256, **FIELDS), 7, 9, (0.1, 0.7), None)


@pytest.mark.parametrize("name", FIELDS)
def test_one_field_changes_one_thing(tmp_path: Path, name: str) -> None:
    default, changed = spec_of(tmp_path), spec_of(tmp_path, **{name: FIELDS[name]})
    ours, theirs = changed.to_dict()["timeception"], default.to_dict()["timeception"]
    assert {key for key in ours if ours[key] != theirs[key]} == {name}


def test_the_defaults_are_those_of_2019(tmp_path: Path) -> None:
    """But the weight of the new batch in the moving statistics, which is that of PyTorch."""
    layers = TimeceptionSpec(256, n_layers=4, n_groups=2, bn_momentum=0.1)
    assert spec_of(tmp_path) == ClassifierSpec(layers, 7, 512, (0.5, 0.25), None)


def test_positions_are_kept_of_the_features_maps(tmp_path: Path) -> None:
    assert spec_of(tmp_path, keep_spatial=True).map_size == (3, 5)


def test_the_fields_of_a_pooling_head(tmp_path: Path) -> None:
    fields = {"bn_eps": 0.02, "bn_momentum": 0.3}
    found = spec_of(tmp_path, head="pooling", hidden=9, dropout=[0.1, 0.7], **fields)
    assert found == PoolingSpec(256, 7, 9, (0.1, 0.7), **fields)
    kept = spec_of(tmp_path, head="pooling", hidden=9, dropout=[0.1, 0.7], keep_spatial=True)
    assert isinstance(kept, PoolingSpec) and kept.map_size is not None


@pytest.mark.parametrize("head", ["linear", "lstm", "tcn", "transformer"])
def test_the_fields_of_a_baseline(head: str, tmp_path: Path) -> None:
    fields = {"hidden": 9, "n_layers": 3, "dropout": [0.1, 0.7]}
    assert spec_of(tmp_path, head=head, **fields) == HeadSpec(head, 256, 7, 9, 3, (0.1, 0.7))
    kept = spec_of(tmp_path, head=head, keep_spatial=True, **fields)
    assert kept.map_size is not None


def test_the_built_head_is_the_specs(tmp_path: Path) -> None:
    for model in ({"head": "pooling"}, {"n_layers": 1}):
        spec = spec_of(tmp_path, **model)
        head: Any = build_head(spec)
        assert head.spec == spec
        shapes = {name: array.shape for name, array in head.to_arrays().items()}
        assert shapes == spec.parameter_shapes()
