"""Scores of a stream: those of all of its dense features at once, at any time."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.features.videos import make_video
from tests.inference.saved_models import CLASSES, save_model, tiny_backbone
from timeception.backbones import Backbone
from timeception.features.extraction.extract import extract_features
from timeception.features.maps import average_maps
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import load_saved
from timeception.inference.streams import StreamUpdate, spacing_notice, stream_video
from timeception.video import StreamSource

N_FRAMES, FPS = 75, 12


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_backbone(64)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    return make_video(path, N_FRAMES, width=96, height=72, fps=FPS)


def predictor_of(folder: Path, backbone: Backbone, **changes: object) -> Predictor:
    return Predictor(load_saved(save_model(folder, backbone, **changes)), backbone)


def dense_scores(predictor: Predictor, video: Path, n_steps: int | None, stride: int) -> np.ndarray:
    """The model on the first dense features of a file."""
    features = extract_features(video, predictor.backbone, stride=stride).features[:n_steps]
    if predictor.model.map_size is not None:
        features = average_maps(features, predictor.model.map_size)
    return predictor.model.score(features[None])[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"task": "single-label", "n_layers": 3},
        {"map_size": (1, 2)},
        {"keeps_positions": (2, 2)},
    ],
)
@pytest.mark.parametrize("stride", [None, 1, 3])
def test_every_update_is_the_whole_pass(
    changes: dict[str, object],
    stride: int | None,
    tmp_path: Path,
    backbone: Backbone,
    video: Path,
) -> None:
    predictor = predictor_of(tmp_path, backbone, **changes)
    updates = list(
        stream_video(predictor, str(video), stride=stride, interval_seconds=1.0, batch_size=5)
    )
    assert [update.is_final for update in updates] == [False] * (len(updates) - 1) + [True]
    assert updates[-1].n_timesteps == -(-N_FRAMES // (stride or 2))
    needed = 2 ** int(changes.get("n_layers", 2))
    for update in updates:
        if update.n_timesteps < needed:
            assert update.scores is None
            continue
        expected = dense_scores(predictor, video, update.n_timesteps, stride or 2)
        np.testing.assert_allclose(update.scores, expected, atol=1e-5, rtol=0)
    assert updates[-1].error is None and updates[-1].n_damaged == 0


def test_updates_come_at_the_interval_whatever_the_batch(
    tmp_path: Path, backbone: Backbone, video: Path
) -> None:
    predictor = predictor_of(tmp_path, backbone)
    told = [
        [
            (update.seconds, update.n_timesteps, len(update.evidence))
            for update in stream_video(
                predictor, str(video), interval_seconds=1.5, batch_size=batch_size
            )
        ]
        for batch_size in (1, 7, 50)
    ]
    assert told[0] == told[1] == told[2]
    seconds = [round(second, 3) for second, _, _ in told[0]]
    assert seconds == [1.5, 3.0, 4.5, 6.0, 6.167]  # frames 18, 36, ... and the last step's
    assert [n for _, n, _ in told[0]] == [10, 19, 28, 37, 38]


def test_evidence_is_each_output_step_alone(
    tmp_path: Path, backbone: Backbone, video: Path
) -> None:
    import torch

    predictor = predictor_of(tmp_path, backbone)
    steps = [
        s for u in stream_video(predictor, str(video), interval_seconds=1.0) for s in u.evidence
    ]
    head = predictor.model.head
    features = extract_features(video, backbone, stride=2).features
    with torch.inference_mode():
        maps = head.timeception(torch.from_numpy(features).transpose(0, 1)[None])
        alone = [
            head.classify(head.global_pool(part)).sigmoid()[0].numpy() for part in maps.split(1, 2)
        ]
    assert len(steps) == 38 // 4
    np.testing.assert_allclose([step.scores for step in steps], alone, atol=1e-5)
    starts = [step.start_seconds for step in steps]
    np.testing.assert_allclose(starts, np.arange(9) * 4 * 2 / FPS, atol=1e-3)
    assert [step.end_seconds for step in steps[:-1]] == starts[1:]


@pytest.mark.parametrize("windows", [(8, 3), (10, 12), (38, 5), (50, 10)])
@pytest.mark.parametrize("is_pooling", [False, True])
def test_windows_are_those_of_the_file(
    windows: tuple[int, int], is_pooling: bool, tmp_path: Path, backbone: Backbone, video: Path
) -> None:
    predictor = predictor_of(
        tmp_path, backbone, windows=windows, is_pooling=is_pooling, map_size=(1, 1)
    )
    updates = list(stream_video(predictor, str(video), interval_seconds=1.0))
    expected = predictor(video)
    np.testing.assert_allclose(updates[-1].scores, expected.scores, atol=1e-5)
    found = [window for update in updates for window in update.evidence]
    assert len(found) == len(expected.windows)
    for ours, theirs in zip(found, expected.windows, strict=True):
        assert ours.start_seconds == pytest.approx(theirs.start_seconds, abs=1e-3)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
    n_first = next(u.n_timesteps for u in updates if u.scores is not None)
    assert n_first >= min(windows[0], 38)


@pytest.mark.parametrize("windows", [None, (8, 3)])
@pytest.mark.parametrize(
    ("trained", "given", "options"),
    [
        ({"stride": None, "fps": 4.0}, {}, {"fps": 4.0}),
        ({"stride": None, "fps": 4.0}, {"fps": 7.0}, {"fps": 7.0}),
        ({"stride": None, "fps": 4.0}, {"stride": 3}, {"stride": 3}),
        ({"stride": 2}, {"fps": 4.0}, {"fps": 4.0}),
    ],
)
def test_timesteps_sampled_by_time(
    trained: dict[str, object],
    given: dict[str, object],
    options: dict[str, object],
    windows: tuple[int, int] | None,
    tmp_path: Path,
    backbone: Backbone,
    video: Path,
) -> None:
    predictor = predictor_of(tmp_path, backbone, windows=windows, **trained)
    *_, final = stream_video(predictor, str(video), interval_seconds=1.0, **given)
    features = extract_features(video, backbone, **options).features
    assert final.n_timesteps == len(features)
    if windows is None:
        expected = predictor.model.score(features[None])[0]
        np.testing.assert_allclose(final.scores, expected, atol=1e-5)
    elif not given:
        prediction = predictor(video)
        np.testing.assert_allclose(final.scores, prediction.scores, atol=1e-5)
        starts = [window.start_seconds for window in prediction.windows]
        np.testing.assert_allclose(starts[:5], np.arange(5) * 3 / 4)


def test_a_model_sampled_by_time_predicts_so(
    tmp_path: Path, backbone: Backbone, video: Path
) -> None:
    """Also above the frame rate, where first frames of timesteps repeat."""
    predictor = predictor_of(tmp_path, backbone, stride=None, fps=30.0, windows=(16, 16))
    features = extract_features(video, backbone, fps=30.0)
    assert len(features.features) == len(features.start_frames) == 186
    prediction = predictor(video)
    expected = predictor.score_windows(features, 1)
    np.testing.assert_allclose(prediction.scores, np.max([w.scores for w in expected], axis=0))
    assert prediction.windows[1].start_seconds == pytest.approx(16 / 30)


def test_a_pooling_head_of_whole_videos_is_refused(tmp_path: Path, backbone: Backbone) -> None:
    predictor = predictor_of(tmp_path, backbone, is_pooling=True)
    with pytest.raises(ValueError, match=r"model must have Timeception layers.*PoolingClassifier"):
        stream_video(predictor, "a.mp4")


def test_the_segments_of_2019_are_for_files_alone(
    tmp_path: Path, backbone: Backbone, video: Path
) -> None:
    """They depend on the length; in a short video they repeat."""
    predictor = predictor_of(tmp_path, backbone, frames_2019=256)
    prediction = predictor(video)
    assert prediction.error is None
    (window,) = prediction.windows
    assert (window.start_seconds, window.end_seconds) == (0.0, pytest.approx(N_FRAMES / FPS))
    with pytest.raises(ValueError, match="samples clips by the length of the whole video"):
        stream_video(predictor, str(video))


def test_too_short(tmp_path: Path, backbone: Backbone) -> None:
    predictor = predictor_of(tmp_path / "model", backbone, n_layers=3)
    path = make_video(tmp_path / "short.mp4", 9)
    (update,) = stream_video(predictor, str(path))
    assert update.scores is None and update.top(3) == [] and update.to_dict(3)["scores"] is None
    assert update.error is not None
    assert "has 5 timesteps, but scores require 8" in update.error
    (update,) = stream_video(predictor, str(path), stride=1)
    assert update.error is None and update.scores is not None


def test_a_notice_suggests_the_rate_where_time_is_sampled(
    tmp_path: Path, backbone: Backbone
) -> None:
    timed = {"stride": None, "fps": 4.0, "timestep_seconds": 1.0}
    by_time = load_saved(save_model(tmp_path / "time", backbone, **timed))
    by_frames = load_saved(save_model(tmp_path / "frames", backbone, timestep_seconds=1.0))
    cases = [
        (by_time, (None, None), "--fps 1 comes closest"),
        (by_time, (None, 8.0), "--fps 2 comes closest"),
        (by_time, (2, None), "--stride 8 comes closest"),
        (by_frames, (None, 4.0), "--fps 1 comes closest"),
    ]
    for model, (stride, fps), words in cases:
        assert words in str(spacing_notice(model, update_of(0.25), stride, fps)), words
    assert spacing_notice(by_time, update_of(1.0), None, 1.0) is None


def test_a_stream_that_breaks_off_keeps_its_scores(
    tmp_path: Path, backbone: Backbone, video: Path
) -> None:
    predictor = predictor_of(tmp_path / "model", backbone)
    cut = make_video(tmp_path / "cut.mkv", N_FRAMES, width=96, height=72, fps=FPS)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 7 // 10])
    *_, final = stream_video(predictor, str(cut))
    assert final.is_final and final.error is not None and "is cut short" in final.error
    assert 4 < final.n_timesteps < 38
    assert final.scores is not None


def test_stopping_is_no_error(tmp_path: Path, backbone: Backbone) -> None:
    predictor, stop = predictor_of(tmp_path, backbone), threading.Event()
    source = StreamSource("testsrc=size=96x72:rate=12", "lavfi")  # without end
    updates: list[StreamUpdate] = []
    for update in stream_video(predictor, source, interval_seconds=1.0, stop=stop):
        updates.append(update)
        if len(updates) == 2:
            stop.set()
    assert updates[-1].is_final and updates[-1].error is None
    assert updates[-1].scores is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interval_seconds": 0.0}, "interval_seconds must be positive; got 0"),
        ({"stride": 0}, "stride must be .*; got 0"),
        ({"fps": 0}, "fps must be .*; got 0"),
        ({"stride": 2, "fps": 5}, "stride must be left out with fps"),
    ],
)
def test_wrong_arguments_raise_at_once(
    changes: dict[str, object], words: str, tmp_path: Path, backbone: Backbone
) -> None:
    with pytest.raises(ValueError, match=words):
        stream_video(predictor_of(tmp_path, backbone), "a.mp4", **changes)


def update_of(timestep_seconds: float | None) -> StreamUpdate:
    return StreamUpdate("a", tuple(CLASSES), 9.0, 9, None, (), 0, timestep_seconds)


@pytest.mark.parametrize(
    ("trained", "windows", "streamed", "stride", "words"),
    [
        (None, None, 0.25, None, None),  # an older model does not know
        (1.0, None, None, None, None),  # one timestep tells nothing
        (0.3, None, 0.25, None, None),  # close enough
        (1.0, None, 0.25, None, "0.25 s apart here, but were 1.00 s .* --stride 8 comes closest"),
        (1.0, None, 1.0, 8, None),
        (1.0, None, 2.0, 8, "2.00 s apart here, but were 1.00 s .* --stride 4"),
        (0.01, None, 0.04, 1, None),  # no stride comes closer
        (1.0, (32, 8), 0.25, None, None),  # 8 of 32 steps are drawn
        (2.0, (32, 8), 0.25, None, "1.00 s apart here, but were 2.00 s .* --stride 4"),
    ],
)
def test_other_spacing_than_in_training_is_reported(
    trained: float | None,
    windows: tuple[int, int] | None,
    streamed: float | None,
    stride: int | None,
    words: str | None,
    tmp_path: Path,
    backbone: Backbone,
) -> None:
    folder = save_model(tmp_path, backbone, timestep_seconds=trained, windows=windows)
    notice = spacing_notice(load_saved(folder), update_of(streamed), stride)
    if words is None:
        assert notice is None
    else:
        assert notice is not None
        assert re.search(words, notice), notice
