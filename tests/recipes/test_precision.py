"""``backbone.precision``: extraction uses it, end-to-end training refuses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.features.videos import make_video
from timeception.cli import main
from timeception.features.bank import FeatureBank
from timeception.recipes.recipe import load_recipe


def test_extraction_uses_it(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", 8, width=64, height=48)
    words = ["extract", str(tmp_path / "a.mp4"), "--recipe", "demo"]
    words += [f"--set=backbone.{each}" for each in ("name=timm:test_resnet", "channels=null")]
    words += ["--set=backbone.weights=random", "--set=backbone.endpoint=null"]
    for name, more, expected in (
        ("a", [], "fp32"),
        ("b", ["--set=backbone.precision=bf16"], "bf16"),
        ("c", ["--set=backbone.precision=bf16", "--precision=fp32"], "fp32"),
    ):
        assert main([*words, *more, "--out", str(tmp_path / name)]) == 0
        assert FeatureBank(tmp_path / name).settings["precision"] == expected


def test_end_to_end_training_refuses_it() -> None:
    with pytest.raises(ValueError, match=r"backbone\.precision requires training\.scheme"):
        load_recipe("egogestar_end_to_end", ["backbone.precision=bf16"])


def test_the_recipe_egogestar_has_the_stride_of_the_results() -> None:
    """docs/results.md: `timeception extract VIDEOS --out banks/egogestar --stride 2`."""
    section = load_recipe("egogestar").backbone
    assert section is not None and section.stride_frames == 2
