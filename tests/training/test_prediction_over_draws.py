"""Prediction: the mean over draws of a window, the highest of the windows, each at its time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.features.videos import make_video
from tests.inference.saved_models import save_model, tiny_backbone
from timeception.backbones import Backbone
from timeception.features.extraction.extract import extract_features
from timeception.inference.predictor import Prediction, Predictor, WindowScores
from timeception.inference.saved_model import load_saved
from timeception.video.sampling import sample_indices

N_FRAMES, FPS, STRIDE, N_TIMESTEPS = 60, 12, 2, 8
N_STEPS = N_FRAMES // STRIDE


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_backbone()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    return make_video(path, N_FRAMES, width=64, height=48, fps=FPS)


def predictor_of(folder: Path, backbone: Backbone, **changes: object) -> Predictor:
    return Predictor(load_saved(save_model(folder, backbone, **changes)), backbone)


def score_of_draw(predictor: Predictor, steps: np.ndarray, number: int | None) -> np.ndarray:
    rng = None if number is None else np.random.default_rng(number)
    return predictor.model.score(steps[sample_indices(len(steps), N_TIMESTEPS, rng)][None])[0]


@pytest.mark.parametrize("task", ["multi-label", "single-label"])
def test_several_draws_are_averaged(
    task: str, tmp_path: Path, backbone: Backbone, video: Path
) -> None:
    predictor = predictor_of(tmp_path, backbone, task=task)
    steps = extract_features(video, backbone, stride=STRIDE).features
    each = [score_of_draw(predictor, steps, number) for number in range(4)]
    assert len({tuple(scores) for scores in each}) == 4
    np.testing.assert_allclose(predictor(video, 4).scores, np.mean(each, axis=0), atol=1e-5)
    np.testing.assert_allclose(predictor(video, 2).scores, np.mean(each[:2], axis=0), atol=1e-5)
    equidistant = score_of_draw(predictor, steps, None)
    for one in (predictor(video), predictor(video, 1)):
        np.testing.assert_allclose(one.scores, equidistant, atol=1e-5)
    assert np.abs(np.mean(each, axis=0) - equidistant).max() > 1e-4


def test_windows_are_averaged_one_by_one_and_the_highest_counts(
    tmp_path: Path, backbone: Backbone, video: Path
) -> None:
    predictor = predictor_of(tmp_path, backbone, windows=(16, 10))
    steps = extract_features(video, backbone, stride=STRIDE).features
    expected = [
        np.mean([score_of_draw(predictor, steps[a:b], n) for n in range(3)], axis=0)
        for a, b in ((0, 16), (10, 26), (14, 30))
    ]
    prediction = predictor(video, 3)
    np.testing.assert_allclose([w.scores for w in prediction.windows], expected, atol=1e-5)
    np.testing.assert_allclose(prediction.scores, np.max(expected, axis=0), atol=1e-5)
    step = STRIDE / FPS
    times = [(w.start_seconds, w.end_seconds) for w in prediction.windows]
    np.testing.assert_allclose(times, np.multiply([(0, 16), (10, 26), (14, 30)], step), atol=1e-3)


def test_a_whole_video_is_one_window(tmp_path: Path, backbone: Backbone, video: Path) -> None:
    (window,) = predictor_of(tmp_path, backbone)(video).windows
    assert window.start_seconds == 0.0
    assert window.end_seconds == pytest.approx(N_FRAMES / FPS, abs=1e-3)


def test_the_highest_classes_in_their_order() -> None:
    classes, scores = ("stir", "cut", "pour"), np.array([0.2, 0.7, 0.2])
    window = WindowScores(1.0, 2.0, scores)
    assert window.top(classes, 1) == [("cut", 0.7)]
    assert window.top(classes, 2) == [("cut", 0.7), ("stir", 0.2)]  # of equals, the first
    assert window.top(classes, 9) == [("cut", 0.7), ("stir", 0.2), ("pour", 0.2)]
    prediction = Prediction("a.mp4", classes, scores, (window,))
    assert prediction.top(2) == window.top(classes, 2)
    assert prediction.to_dict(1) == {
        "video": "a.mp4",
        "scores": {"cut": 0.7},
        "windows": [{"start_seconds": 1.0, "end_seconds": 2.0, "scores": {"cut": 0.7}}],
    }


def test_a_broken_file_is_an_error_beside_the_others(tmp_path: Path, backbone: Backbone) -> None:
    (tmp_path / "no.mp4").write_text("no video at all")
    prediction = predictor_of(tmp_path / "model", backbone)(tmp_path / "no.mp4")
    assert prediction.error and "no.mp4" in prediction.error
    assert prediction.scores.size == 0 and prediction.windows == ()
    assert prediction.to_dict(3) == {"video": str(tmp_path / "no.mp4"), "error": prediction.error}
