"""A saved model is used as it was trained: its maps, windows, precision, task and backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.features.videos import make_video
from tests.inference.saved_models import CLASSES, save_model, tiny_backbone
from timeception.backbones import Backbone
from timeception.features.extraction.extract import extract_features
from timeception.features.maps import average_maps
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import load_saved, torch_scorer
from timeception.torch import PoolingClassifier, TimeceptionClassifier
from timeception.training.backbone_file import TRAINED
from timeception.video.sampling import sample_indices


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_backbone(64)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "a.mp4", 40, width=96, height=72)


def with_features(folder: Path, **changes: Any) -> Path:
    """Change the settings of the bank in a saved model."""
    config = json.loads((folder / "config.json").read_text())
    config["pipeline"]["features"] |= changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def uniform_scores(predictor: Predictor, features: np.ndarray) -> np.ndarray:
    clip = features[sample_indices(len(features), predictor.model.n_timesteps)]
    return predictor.model.score(clip[None])[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 2), None])
def test_maps_have_the_size_of_the_bank(
    size: tuple[int, int] | None, tmp_path: Path, backbone: Backbone, video: Path
) -> None:
    folder = with_features(save_model(tmp_path, backbone), map_size=size)
    predictor = Predictor(load_saved(folder), backbone)
    features = extract_features(video, backbone, stride=2, map_size=size).features
    expected = uniform_scores(predictor, features)
    np.testing.assert_allclose(predictor(video).scores, expected, atol=1e-5)
    whole = extract_features(video, backbone, stride=2).features
    assert whole.shape[2:] == (2, 2)
    difference = np.abs(uniform_scores(predictor, whole) - expected).max()
    assert (difference > 1e-4) == (size is not None)


def test_maps_are_averaged_as_for_training(tmp_path: Path, backbone: Backbone, video: Path) -> None:
    predictor = Predictor(load_saved(save_model(tmp_path, backbone, map_size=(1, 2))), backbone)
    features = extract_features(video, backbone, stride=2).features
    expected = uniform_scores(predictor, average_maps(features, (1, 2)))
    np.testing.assert_allclose(predictor(video).scores, expected, atol=1e-5)
    assert np.abs(uniform_scores(predictor, features) - expected).max() > 1e-4


def test_the_precision_is_that_of_the_bank(tmp_path: Path, backbone: Backbone) -> None:
    folder = save_model(tmp_path, backbone)
    for precision in ("fp32", "bf16"):
        model = load_saved(with_features(folder, precision=precision))
        assert Predictor(model, backbone).extractor().precision == precision


def test_the_stride_is_the_banks_unless_given(tmp_path: Path, backbone: Backbone) -> None:
    predictor = Predictor(load_saved(save_model(tmp_path, backbone, stride=5)), backbone)
    assert [predictor.segmenter(stride).stride for stride in (None, 5, 3)] == [5, 5, 3]


def test_what_a_model_says_of_itself(tmp_path: Path, backbone: Backbone) -> None:
    changes = {"map_size": (1, 2), "n_timesteps": 12, "timestep_seconds": 0.5}
    model = load_saved(save_model(tmp_path, backbone, windows=(24, 6), **changes))
    assert model.window_steps == (24, 6)
    assert (model.map_size, model.n_timesteps, model.timestep_seconds) == ((1, 2), 12, 0.5)
    assert model.classes == tuple(CLASSES) and model.is_multilabel
    plain = load_saved(save_model(tmp_path, backbone, task="single-label"))
    assert plain.window_steps is plain.map_size is plain.timestep_seconds is None
    assert not plain.is_multilabel


@pytest.mark.parametrize("is_pooling", [False, True])
@pytest.mark.parametrize("task", ["multi-label", "single-label"])
def test_scores_are_probabilities_of_the_task(
    task: str, is_pooling: bool, framework: str, tmp_path: Path, backbone: Backbone
) -> None:
    folder = save_model(tmp_path, backbone, task=task, is_pooling=is_pooling)
    clips = np.random.default_rng(0).normal(size=(5, 8, backbone.out_channels, 1, 1))
    clips = clips.astype(np.float32)
    kind = PoolingClassifier if is_pooling else TimeceptionClassifier
    with torch.no_grad():
        logits = kind.from_pretrained(folder).eval()(torch.from_numpy(clips).transpose(1, 2))
    odds = np.exp(logits.double().numpy())
    expected = odds / (1 + odds) if task == "multi-label" else odds / odds.sum(1, keepdims=True)
    found = load_saved(folder, framework).score(clips)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", [PoolingClassifier, TimeceptionClassifier])
def test_a_model_in_training_is_scored_in_evaluation(kind: Any) -> None:
    """Neither dropout nor the statistics of the batch: each clip has a score of its own."""
    torch.manual_seed(0)
    options = {} if kind is PoolingClassifier else {"n_layers": 1, "n_groups": 1}
    model = kind(20, 3, hidden=8, dropout=(0.5, 0.5), **options).train()
    clips = np.random.default_rng(0).normal(size=(4, 2, 20, 1, 1)).astype(np.float32)
    score = torch_scorer(model, is_multilabel=True)
    together = score(clips)
    alone = np.concatenate([score(clip[None]) for clip in clips])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_array_equal(score(clips), together)


@pytest.mark.parametrize("family", ["random", TRAINED])
def test_weights_that_have_moved_are_read_from_their_new_place(
    family: str, tmp_path: Path, backbone: Backbone
) -> None:
    """A file that is not there is an error: the argument is not passed over."""
    folder = save_model(tmp_path / "model", backbone)
    record = load_saved(folder).features["backbone"]
    record["weights"] |= {"family": family}
    model = load_saved(with_features(folder, backbone=record))
    with pytest.raises((ValueError, OSError), match=r"gone\.pt"):
        model.backbone(str(tmp_path / "gone.pt"))
