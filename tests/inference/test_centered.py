"""Models of centred clips: prediction subtracts the mean over time too; streams refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.inference.saved_models import save_model, tiny_backbone
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import load_saved
from timeception.inference.streams import stream_scorer


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A model, and the same one of centred clips."""
    plain = save_model(tmp_path / "plain", tiny_backbone())
    centered = save_model(tmp_path / "centered", tiny_backbone())
    config = json.loads((centered / "config.json").read_text())
    config["pipeline"]["sampling"]["center"] = True
    (centered / "config.json").write_text(json.dumps(config))
    return plain, centered


def test_a_constant_is_subtracted(folders: tuple[Path, Path]) -> None:
    plain, centered = map(Predictor.for_features, folders)
    steps = np.random.default_rng(0).normal(size=(16, plain.in_channels, 1, 1)).astype(np.float32)
    for predictor, is_equal in ((plain, False), (centered, True)):
        one, other = (predictor.score_steps(each) for each in (steps, steps + 3))
        assert np.allclose(one, other, atol=1e-4) == is_equal


def test_streams_refuse(folders: tuple[Path, Path]) -> None:
    stream_scorer(Predictor(load_saved(folders[0])))
    with pytest.raises(ValueError, match=r"be able to score streams.* mean over time"):
        stream_scorer(Predictor(load_saved(folders[1])))
