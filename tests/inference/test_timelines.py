"""Timelines of videos, banks and features: scores over time, intervals, and the files of both."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import oracle
from tests.features.videos import make_video
from tests.inference.saved_models import CLASSES, save_model, tiny_backbone
from timeception.cli import main
from timeception.features.bank import FeatureBank
from timeception.features.extraction.settings import extraction_settings
from timeception.features.stream import StreamFeatures
from timeception.inference.localizing import LocalizerScorer, reach_timesteps
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import TimelineModel, load_model
from timeception.inference.timelines import OpenIntervals, Timeline
from timeception.inference.video_timelines import features_timeline
from timeception.metrics.thresholds import tune_thresholds
from timeception.spec import LocalizerSpec, TimeceptionSpec
from timeception.torch import TimeceptionLocalizer
from timeception.weights import write_folder

SCORES = np.array([[0.1, 0.8], [0.9, 0.7], [0.8, 0.2], [0.3, 0.6]])


def timeline_of(scores: np.ndarray = SCORES, **more: object) -> Timeline:
    starts = np.arange(len(scores)) * 2.0
    given = {"is_multilabel": True} | more
    return Timeline("v.mp4", ("cut", "pour"), scores, starts, starts + 2, **given)


def spans(timeline: Timeline, threshold: object = None) -> list[tuple[str, float, float]]:
    found = timeline.segments(threshold)
    return [(each.label, each.start_seconds, each.end_seconds) for each in found]


def test_intervals_of_several_classes() -> None:
    both = [("pour", 0.0, 4.0), ("cut", 2.0, 6.0), ("pour", 6.0, 8.0)]
    assert spans(timeline_of(), 0.5) == both
    assert spans(timeline_of()) == both  # 0.5, if nothing was tuned
    assert spans(timeline_of(), 0.8) == [("pour", 0.0, 2.0), ("cut", 2.0, 6.0)]
    assert spans(timeline_of(), {"cut": 0.9, "pour": 0.6})[1:] == [
        ("cut", 2.0, 4.0),
        ("pour", 6.0, 8.0),
    ]
    assert spans(timeline_of(thresholds={"cut": 0.85, "pour": 0.75})) == [
        ("pour", 0.0, 2.0),
        ("cut", 2.0, 4.0),
    ]
    assert timeline_of().segments(0.5)[1].score == pytest.approx(0.85)


def test_intervals_of_one_class_per_step() -> None:
    one = timeline_of(is_multilabel=False)
    assert spans(one) == [("pour", 0.0, 2.0), ("cut", 2.0, 6.0), ("pour", 6.0, 8.0)]
    assert spans(one, 0.7) == [("pour", 0.0, 2.0), ("cut", 2.0, 6.0)]
    assert spans(timeline_of(is_multilabel=False, background="pour")) == [("cut", 2.0, 6.0)]


@pytest.mark.parametrize(
    ("threshold", "words"),
    [(1.5, r"lie in \[0, 1\]; got \[1.5\]"), ({"cut": 0.5}, "every class; got \\['pour'\\]")],
)
def test_bad_thresholds(threshold: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        timeline_of().segments(threshold)


def test_csv_json_and_subtitles(tmp_path: Path) -> None:
    timeline = timeline_of(scores=SCORES[:2])
    text = timeline.to_csv(tmp_path / "v.csv")
    assert (tmp_path / "v.csv").read_text() == text
    rows = list(csv.DictReader(text.splitlines()))
    assert rows[1] == {
        "start_seconds": "2.000",
        "end_seconds": "4.000",
        "cut": "0.9000",
        "pour": "0.7000",
    }
    found = json.loads(timeline.to_json(threshold=0.8))
    assert found["scores"] == SCORES[:2].tolist()
    assert [each["label"] for each in found["segments"]] == ["pour", "cut"]
    assert timeline.to_webvtt(threshold=0.85) == (
        "WEBVTT\n\n00:00:02.000 --> 00:00:04.000\ncut (0.90)\n"
    )


def test_subtitles_escape_names_and_long_times() -> None:
    timeline = Timeline(
        "v",
        ("<b>cut & run</b>",),
        np.ones((1, 1)),
        np.array([3599.9996]),
        np.array([36000.5]),
        True,
    )
    assert timeline.to_webvtt() == (
        "WEBVTT\n\n01:00:00.000 --> 10:00:00.500\n&lt;b&gt;cut &amp; run&lt;/b&gt; (1.00)\n"
    )


def test_thresholds_have_the_highest_f1() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((200, 2)) < 0.3
    scores = np.clip(truth * 0.3 + rng.normal(0.4, 0.2, (200, 2)), 0, 1)
    found = tune_thresholds(scores, truth)
    for column in range(2):
        values = [
            2
            * (truth[:, column] & (scores[:, column] >= limit)).sum()
            / (truth[:, column].sum() + (scores[:, column] >= limit).sum())
            for limit in np.unique(scores[:, column])
        ]
        chosen = scores[:, column] >= found[column]
        f1 = 2 * (truth[:, column] & chosen).sum() / (truth[:, column].sum() + chosen.sum())
        assert f1 == pytest.approx(max(values))
    assert np.isnan(tune_thresholds(scores[:, :1], np.zeros((200, 1)))).all()


def localizer(n_layers: int = 2, n_refinements: int = 1, channels: int = 8) -> LocalizerSpec:
    return LocalizerSpec(TimeceptionSpec(channels, n_layers, 1), 3, True, 6, n_refinements)


def timeline_model(spec: LocalizerSpec, stride: int = 1) -> TimelineModel:
    torch.manual_seed(0)
    head = TimeceptionLocalizer.from_spec(spec).eval()
    pipeline = {"step_labels": "several", "classes": CLASSES}
    pipeline["sampling"] = {"stride_steps": stride, "map_size": None, "n_timesteps": None}
    return TimelineModel(head, {**pipeline, "features": {}, "windows": None}, Path())


@pytest.mark.parametrize("n_refinements", [0, 1])
@pytest.mark.parametrize("n_timesteps", [1, 3, 300, 2203])
def test_a_localizer_scores_parts_as_the_whole(n_timesteps: int, n_refinements: int) -> None:
    """Whatever the parts that the features come in; and few of them are kept."""
    model = timeline_model(localizer(n_refinements=n_refinements))
    rng = np.random.default_rng(n_timesteps)
    features = rng.normal(size=(n_timesteps, 8, 1, 1)).astype(np.float32)
    scorer, found, most, first = LocalizerScorer(model, 64), [], 0, 0
    while first < n_timesteps:
        stop = min(n_timesteps, first + int(rng.integers(1, 90)))
        starts = np.arange(first, stop) * 0.5
        found += scorer.push(StreamFeatures(features[first:stop], starts, starts))
        most, first = max(most, len(scorer._features)), stop
    found += scorer.finish()
    scores = np.array([each.scores for each in found])
    np.testing.assert_allclose(scores, model.score_video(features), atol=1e-5)
    assert [each.start_seconds for each in found] == (np.arange(n_timesteps) * 0.5).tolist()
    assert all(one.end_seconds == two.start_seconds for one, two in pairwise(found))
    assert most <= 2 * reach_timesteps(model.head.spec) + 64 + 90
    np.testing.assert_array_equal(scorer.scores(), scores.max(axis=0))


def test_every_third_step(tmp_path: Path) -> None:
    model = timeline_model(localizer(), stride=3)
    features = np.random.default_rng(0).normal(size=(20, 8, 1, 1)).astype(np.float32)
    found = features_timeline(Predictor(model), features, np.arange(21) / 2)
    np.testing.assert_allclose(found.scores, model.score_video(features[::3]), atol=1e-6)
    assert found.start_seconds.tolist() == [0, 1.5, 3, 4.5, 6, 7.5, 9]
    assert found.end_seconds[-1] == 10
    assert found.is_trained_on_time


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos, one broken one; a classifier, one of windows, and a localizer."""
    folder = tmp_path_factory.mktemp("timelines")
    (folder / "videos").mkdir()
    for seed, name in enumerate(("a.mp4", "b.mp4")):
        make_video(folder / "videos" / name, 60, width=64, height=48, seed=seed)
    (folder / "broken.mp4").write_bytes(b"no video")
    backbone = tiny_backbone()
    save_model(folder / "classifier", backbone)
    save_model(folder / "windows", backbone, windows=(8, 4))
    save_model(folder / "pooling", backbone, is_pooling=True)
    spec = localizer(channels=backbone.out_channels)
    pipeline = {
        "task": "timeline",
        "step_labels": "several",
        "background": None,
        "classes": CLASSES,
        "sampling": {"stride_steps": 2, "map_size": None, "n_timesteps": None},
        "windows": None,
        "features": extraction_settings(backbone, 2),
        "thresholds": dict.fromkeys(CLASSES, 0.01),
    }
    arrays = oracle.random_arrays(spec.parameter_shapes())
    write_folder(folder / "localizer", spec, arrays, pipeline)
    return folder


@pytest.mark.parametrize("name", ["classifier", "windows", "localizer"])
def test_the_timeline_of_a_video_is_that_of_its_features(root: Path, name: str) -> None:
    predictor = Predictor(load_model(root / name), tiny_backbone())
    video = root / "videos" / "a.mp4"
    found = predictor.timeline(video)
    assert found.error is None
    assert found.start_seconds[0] == 0
    assert (found.start_seconds[1:] == found.end_seconds[:-1]).all()
    extracted = predictor.extractor()
    from timeception.features.extraction.extract import features_through

    made = features_through(extracted, video, predictor.segmenter(stride=2))
    edges = np.append(made.start_frames, 60) / made.fps
    expected = features_timeline(predictor, made.features, edges)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)  # random weights
    np.testing.assert_allclose(found.start_seconds, expected.start_seconds, atol=1e-6)


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["predict", *map(str, words), "--timeline"]) == 0
    return capsys.readouterr().out


def test_formats(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = root / "localizer", root / "videos" / "a.mp4"
    assert "intervals" in shown(capsys, *words)
    assert "evidence of a classifier" in shown(capsys, root / "classifier", words[1])
    found = json.loads(shown(capsys, *words, "--format", "json"))
    assert found == json.loads(shown(capsys, *words, "--json"))
    assert shown(capsys, *words, "--format", "csv").startswith("start_seconds,end_seconds,cut")
    assert shown(capsys, *words, "--format", "vtt").startswith("WEBVTT\n\n00:00:00.000")


def test_thresholds_of_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = root / "localizer", root / "videos" / "a.mp4", "--json"
    segments = {
        given: json.loads(shown(capsys, *words, *given))["segments"]
        for given in ((), ("--threshold", "auto"), ("--threshold", "0.01"), ("--threshold", "1"))
    }
    tuned = segments[()]
    assert tuned
    assert segments["--threshold", "auto"] == tuned == segments["--threshold", "0.01"]
    assert segments["--threshold", "1"] != tuned


def test_folders_and_files(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    shown(capsys, root / "classifier", root / "videos", "--format", "vtt", "--out", out)
    assert sorted(path.name for path in out.iterdir()) == ["a.vtt", "b.vtt"]


def test_a_broken_video_is_named_and_the_others_are_scored(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [root / "classifier", root / "broken.mp4", root / "videos" / "a.mp4"]
    words += ["--timeline", "--format", "csv", "--out", tmp_path / "out"]
    assert main(["predict", *map(str, words)]) == 1
    assert "broken.mp4" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.csv"]


def test_banks(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backbone = tiny_backbone()
    settings = extraction_settings(backbone, 2)
    bank = FeatureBank(tmp_path / "bank", mode="a", settings=settings)
    features = np.random.default_rng(0).normal(size=(30, backbone.out_channels, 1, 1))
    bank.write("a", features.astype(np.float16), np.arange(30) * 2, 10.0)
    found = json.loads(shown(capsys, root / "localizer", "--bank", tmp_path / "bank", "--json"))
    assert found["video"] == "a"
    assert found["start_seconds"] == pytest.approx(np.arange(0, 30, 2) * 0.2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threshold", "0.5"], "--threshold requires --timeline or --intervals"),
        (["--intervals"], "--intervals requires --stream"),
        (["--timeline", "--draws", "3"], "pass either --timeline or --draws"),
        (["--timeline", "--out", "x"], "--out requires --format"),
        (["--timeline", "--threshold", "2"], r"be auto or a number in [0, 1]; got '2'"),
        (["--timeline", "--json", "--format", "csv"], "pass either --json or --format"),
        (["--timeline", "--threshold", "auto"], "this model has none. Pass a number."),
    ],
)
def test_wrong_use(
    root: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(root / "videos" / "a.mp4")
    assert main(["predict", str(root / "classifier"), video, *words]) == 2
    assert message in capsys.readouterr().err


def test_models_that_cannot_say_when(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = str(root / "videos" / "a.mp4")
    assert main(["predict", str(root / "pooling"), video, "--timeline"]) == 2
    assert "have Timeception layers" in capsys.readouterr().err
    assert main(["predict", str(root / "localizer"), video]) == 2
    assert "call timeline, or pass --timeline" in capsys.readouterr().err


@pytest.mark.parametrize("is_multilabel", [False, True])
@pytest.mark.parametrize("threshold", [None, 0.6])
def test_open_intervals_are_those_of_the_whole(
    is_multilabel: bool, threshold: float | None
) -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((80, 2)).round(1)
    timeline = timeline_of(scores, is_multilabel=is_multilabel, background="cut")
    found, arriving = [], OpenIntervals(timeline, threshold)
    for start, row in zip(timeline.start_seconds, scores, strict=True):
        closed = arriving.push(start, start + 2, row)
        assert all(segment.end_seconds == start for segment in closed)
        found += closed
    found += arriving.finish()
    assert found
    assert sorted(found, key=lambda s: s.start_seconds) == list(timeline.segments(threshold))


@pytest.mark.parametrize("name", ["classifier", "localizer"])
def test_a_stream_prints_intervals_as_they_close(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(root / "videos" / "a.mp4")
    words = ["predict", str(root / name), "--stream", video, "--interval", "1", "--intervals"]
    assert main([*words, "--json", "--threshold", "0.5"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [each for line in lines for each in line["intervals"]]
    expected = json.loads(shown(capsys, root / name, video, "--json", "--threshold", "0.5"))
    for one, other in zip(
        sorted(found, key=lambda s: (s["start_seconds"], s["label"])),
        expected["segments"],
        strict=True,
    ):
        assert one["label"] == other["label"]
        assert one["start_seconds"] == other["start_seconds"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)
    assert main([*words, "--threshold", "0.5"]) == 0
    assert "  interval  " in capsys.readouterr().out
    assert main([*words[:-1], "--json"]) == 0
    assert "intervals" not in json.loads(capsys.readouterr().out.splitlines()[-1])
