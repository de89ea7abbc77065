"""The examples of CONTRIBUTING.md, run as they stand there; what they register works."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from timeception import backbones, datasets, metrics
from timeception.backbones import registry as backbone_registry
from timeception.datasets import registry as dataset_registry
from timeception.metrics import protocols
from timeception.recipes.recipe import build_recipe
from timeception.spec import heads
from timeception.torch import classifier_class
from timeception.training.build_head import build_head, head_spec
from timeception.training.torch import losses

DATA = {"kind": "csv", "source": "videos.csv", "bank": "bank"}
PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### Add a ([^\n]+)\n[^#]*?```python\n(.*?)```", PAGE, re.M | re.S))


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """Run every example; the registries are as before when the tests of this file are done."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_registry, "_KINDS", dict(dataset_registry._KINDS))
        patch.setattr(backbone_registry, "_BUILDERS", dict(backbone_registry._BUILDERS))
        patch.setattr(protocols, "PROTOCOLS", dict(protocols.PROTOCOLS))
        patch.setattr(losses, "LOSSES", dict(losses.LOSSES))
        patch.setattr(heads, "_HEADS", dict(heads._HEADS))
        for code in EXAMPLES.values():
            exec(code, {"__name__": "example"})
        yield


def test_every_python_block_is_an_example() -> None:
    assert {"data set", "backbone", "protocol", "loss", "head"} <= set(EXAMPLES)
    assert PAGE.count("```python") == len(EXAMPLES)


def test_data_set(tmp_path: Path) -> None:
    source = tmp_path / "diary.txt"
    source.write_text("train monday/kitchen cook\ntest tuesday/kitchen wash\n")
    dataset = datasets.read_videos("diary", source)
    assert dataset.classes == ("cook", "wash")
    assert [(r.video_id, r.labels, r.split) for r in dataset.records] == [
        ("monday/kitchen", ("cook",), "train"),
        ("tuesday/kitchen", ("wash",), "test"),
    ]
    data = {"kind": "diary", "source": str(source), "bank": "bank"}
    assert build_recipe({"name": "mine", "data": data}).data.kind == "diary"
    assert dataset_registry.find_kind("diary").protocol == "kinetics"


def test_backbone() -> None:
    backbone = backbones.create_backbone("stem", weights="random", seed=1)
    assert (backbone.out_channels, backbone.map_size(56, 56)) == (8, (14, 14))
    maps = backbone(torch.ones(1, 3, 2, 56, 56))
    assert maps.shape == (1, 8, 2, 14, 14)
    same = backbones.create_backbone("stem", weights="random", seed=1)
    other = backbones.create_backbone("stem", weights="random", seed=2)
    assert torch.equal(maps, same(torch.ones(1, 3, 2, 56, 56)))
    assert not torch.equal(maps, other(torch.ones(1, 3, 2, 56, 56)))
    with pytest.raises(ValueError, match="weights must be one of 'random'"):
        backbones.create_backbone("stem")


def test_protocol() -> None:
    scores = [[4, 3, 2, 1], [4, 3, 2, 1]]
    result = metrics.measure("hit_at_3", scores, [[0, 0, 1, 0], [0, 0, 0, 1]])
    assert result.values == {"hit_at_3": 0.5}
    assert (result.n_items, result.n_left_out) == (2, 0)


def test_loss() -> None:
    found = losses.find_loss("hinge", is_multilabel=True)
    settings = build_recipe({"name": "x", "data": DATA}).training
    logits, targets = torch.tensor([[2.0, -0.5]]), torch.tensor([[1.0, 0.0]])
    assert found.function(logits, targets, settings).item() == pytest.approx((0 + 0.5) / 2)
    with pytest.raises(ValueError, match=r"training\.loss must be a loss for single-label data"):
        losses.find_loss("hinge", is_multilabel=False)


def test_head(tmp_path: Path) -> None:
    recipe = build_recipe({"name": "x", "data": DATA, "model": {"head": "maximum"}})
    spec = head_spec(recipe, 6, 3, (2, 2))
    head = build_head(spec).eval()
    x = torch.randn(2, 6, 5, 2, 2)
    expected = head.output(x.mean((3, 4)).amax(2))
    assert torch.allclose(head(x), expected)
    head.save_pretrained(tmp_path)
    assert torch.equal(classifier_class(spec).from_pretrained(tmp_path)(x), head(x))


def test_entry_points_have_the_groups_that_are_loaded() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    groups = tomllib.loads(block)["project"]["entry-points"]
    assert groups.keys() >= {
        dataset_registry.ENTRY_POINT_GROUP,
        backbone_registry.ENTRY_POINTS,
        protocols.ENTRY_POINT_GROUP,
    }
    for points in groups.values():
        assert all(re.fullmatch(r"[\w.]+", module) for module in points.values())
