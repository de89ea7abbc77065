"""``timeception predict`` and ``test`` on features: banks and feature files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import io

from tests.training.small_runs import (
    CHANNELS,
    features_of,
    finished_run,
    pooling_logits,
    saved_head,
    small_recipe,
    write_data,
)
from timeception.cli import main
from timeception.features.bank import FeatureBank
from timeception.inference.predictor import Predictor

CLASSES = ("cut", "pour")
ROWS = [(f"t{n}", CLASSES[n % 2], "train") for n in range(2)]
ROWS += [(f"w{n}", CLASSES[n % 2], "test") for n in range(4)]
IMPORT = {"kind": "import", "fps": 1.0, "stride": 1}
EXTRACTION = {
    "kind": "extraction",
    "backbone": {"name": "made", "endpoint": "x", "weights": {"source": "s", "sha256": "a" * 64}},
    "stride": 4,
    "precision": "fp32",
    "map_size": [1, 1],
}


def make_run(root: Path, settings: dict[str, Any], windows: dict[str, int] | None = None) -> Path:
    """A run on features of ``settings``, whose head was never trained."""
    write_data(root, ROWS)
    bank = FeatureBank(root / "bank")
    make_bank(root / "bank", settings, {name: bank[name].features for name in bank})
    run = finished_run(root / "run", small_recipe(root), CLASSES, "single-label", settings)
    if windows:
        sampling = {"n_timesteps": 2, "map_size": None}
        more = {"recipe": "small", "task": "single-label", "features": settings}
        saved_head(run.model, CLASSES, sampling=sampling, windows=windows, **more)
    return run.root


def make_bank(root: Path, settings: dict[str, Any], videos: dict[str, Any]) -> Path:
    bank = FeatureBank(root, mode="a", settings=settings, dtype="float32", is_replaced=True)
    stride = settings.get("stride", 1)
    for name, features in videos.items():
        bank.write(name, features, np.arange(len(features)) * stride, settings.get("fps", 8.0))
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("imported"), IMPORT)


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    windows = {"length_steps": 2, "stride_steps": 2}
    return make_run(tmp_path_factory.mktemp("windowed"), IMPORT, windows)


def predictions(
    capsys: pytest.CaptureFixture[str], run: Path, *words: object
) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["predict", str(run), "--json", *map(str, words)]) == 0
    return json.loads(capsys.readouterr().out)


def expected(run: Path, name: str) -> dict[str, float]:
    """The softmax of the head on the whole video, worked out in numpy."""
    from timeception.weights.folder import read_folder

    _, arrays, _ = read_folder(run / "model")
    logits = pooling_logits(arrays, features_of(run.parent, [name]), is_training=False)[0]
    scores = np.exp(logits) / np.exp(logits).sum()
    return dict(zip(CLASSES, scores.tolist(), strict=True))


def test_every_video_of_a_bank(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = predictions(capsys, run, "--bank", run.parent / "bank")
    assert [each["video"] for each in shown] == sorted(name for name, _, _ in ROWS)
    for each in shown:
        assert each["scores"] == pytest.approx(expected(run, each["video"]), abs=1e-5)


def test_some_videos_of_a_bank(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = predictions(capsys, run, "w1", "t0", "--bank", run.parent / "bank")
    assert [each["video"] for each in shown] == ["w1", "t0"]
    assert main(["predict", str(run), "w9", "--bank", str(run.parent / "bank")]) == 2
    assert "has no video 'w9' among its 6 videos" in capsys.readouterr().err


SAVERS = {
    "npy": lambda path, array: np.save(path, array),
    "npz": lambda path, array: np.savez(path, x=array),
    "safetensors": lambda path, array: save_file({"x": array}, path),
    "mat": lambda path, array: io.savemat(path, {"x": array}),
}


@pytest.mark.parametrize("kind", SAVERS)
def test_feature_files(
    run: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = np.float32(FeatureBank(run.parent / "bank")["w1"].features)[:, :, 0, 0]
    path = tmp_path / f"w1.{kind}"
    SAVERS[kind](path, steps)
    (shown,) = predictions(capsys, run, path, "--axes", "TC")
    assert shown["video"] == str(path)
    assert shown["scores"] == pytest.approx(expected(run, "w1"), abs=1e-5)
    (turned,) = predictions(capsys, run, path, "--axes", "CT")
    assert turned["scores"] != shown["scores"]  # four steps of four channels, transposed
    renamed = path.rename(tmp_path / "w1.video")
    assert predictions(capsys, run, renamed, "--axes", "TC")[0]["scores"] == shown["scores"]


def test_channels_infer_the_axes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = np.random.default_rng(0).normal(size=(9, CHANNELS))
    np.save(tmp_path / "a.npy", steps)
    np.save(tmp_path / "b.npy", steps.T)
    one, other = predictions(capsys, run, tmp_path / "a.npy", tmp_path / "b.npy")
    assert one["scores"] == other["scores"]
    np.save(tmp_path / "c.npy", np.zeros((CHANNELS, CHANNELS)))
    assert main(["predict", str(run), str(tmp_path / "c.npy")]) == 2
    assert "fits TC and CT with the 4 channels that the model takes" in capsys.readouterr().err
    np.save(tmp_path / "d.npy", np.zeros((9, 7)))
    assert main(["predict", str(run), str(tmp_path / "d.npy")]) == 2
    assert "shape (9, 7) fits no axis order with the 4 channels" in capsys.readouterr().err
    assert main(["predict", str(run), str(tmp_path / "d.npy"), "--axes", "TC"]) == 2
    assert "d.npy' must have 4 channels; got 7" in capsys.readouterr().err


def test_the_key(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = np.random.default_rng(0).normal(size=(2, 9, CHANNELS))
    np.savez(tmp_path / "a.npz", rgb=steps[0], flow=steps[1])
    (rgb,) = predictions(capsys, run, tmp_path / "a.npz", "--key", "rgb")
    (flow,) = predictions(capsys, run, tmp_path / "a.npz", "--key", "flow")
    assert rgb["scores"] != flow["scores"]
    assert main(["predict", str(run), str(tmp_path / "a.npz")]) == 2
    assert "holds 'rgb', 'flow'. Choose the features with --key." in capsys.readouterr().err


def test_draws_of_features(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.random.default_rng(0).normal(size=(40, CHANNELS)))
    found = [predictions(capsys, run, path, "--draws", n)[0]["scores"]["cut"] for n in (1, 2, 5)]
    assert len(set(found)) == 3


def test_a_damaged_file_is_reported(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, CHANNELS)))
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY")
    words = [str(tmp_path / "a.npy"), str(tmp_path / "b.npy"), str(tmp_path / "c.npy")]
    assert main(["predict", str(run), *words, "--json"]) == 1
    good, bad, absent = json.loads(capsys.readouterr().out)
    assert good["scores"] and "cannot be read" in bad["error"] and "c.npy" in absent["error"]


def test_times_without_a_frame_rate_are_in_steps(
    windowed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.random.default_rng(0).normal(size=(6, CHANNELS)))
    assert main(["predict", str(windowed), str(path), "--json"]) == 0
    shown = capsys.readouterr()
    (found,) = json.loads(shown.out)
    times = [(window["start_steps"], window["end_steps"]) for window in found["windows"]]
    assert times == [(0, 2), (2, 4), (4, 6)]
    assert "times are in steps, not seconds" in shown.err
    assert main(["predict", str(windowed), "--bank", str(windowed.parent / "bank")]) == 0
    shown = capsys.readouterr()
    assert "steps" in shown.out and "times are in steps" in shown.err


def test_times_with_a_frame_rate_are_in_seconds(
    windowed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"kind": "import", "fps": 10.0, "stride": 5}
    bank = make_bank(tmp_path / "bank", settings, {"a": np.zeros((4, CHANNELS, 1, 1))})
    (found,) = predictions(capsys, windowed, "--bank", bank)
    times = [(window["start_seconds"], window["end_seconds"]) for window in found["windows"]]
    assert times == [(0, 1), (1, 2)]


def test_times_of_steps_that_were_sampled_by_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {key: value for key, value in EXTRACTION.items() if key != "stride"} | {"fps": 4.0}
    run = make_run(tmp_path, settings, {"length_steps": 2, "stride_steps": 2})
    repeated = FeatureBank(tmp_path / "slow", mode="a", settings=settings, dtype="float32")
    steps = np.random.default_rng(0).normal(size=(4, CHANNELS, 1, 1))
    repeated.write("a", steps, np.array([0, 0, 1, 1]), 2.0)
    np.save(tmp_path / "a.npy", steps.astype(np.float32))
    for words in (["--bank", tmp_path / "slow"], [tmp_path / "a.npy", "--axes", "TCHW"]):
        (found,) = predictions(capsys, run, *words)
        times = [(window["start_seconds"], window["end_seconds"]) for window in found["windows"]]
        assert times == [(0, 0.5), (0.5, 1)]


def test_the_next_command_predicts_the_same_input(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((9, CHANNELS)), y=np.zeros(1))
    words = [str(path), "--key", "x", "--axes", "TC"]
    assert main(["predict", str(run), *words]) == 0
    assert f"timeception predict {run} {' '.join(words)} --draws 10\n" in capsys.readouterr().out
    bank = str(run.parent / "bank")
    assert main(["predict", str(run), "--bank", bank]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"scoring 6 videos with {run}\n")
    assert f"timeception predict {run} --bank {bank} --draws 10\n" in shown


def test_the_api(run: Path) -> None:
    predictor = Predictor.for_features(run)
    bank = FeatureBank(run.parent / "bank")
    predictor.check_bank(bank)
    found = predictor.predict_bank(bank, "w0")
    steps = predictor.predict_features(np.asarray(bank["w0"].features), video="w0")
    np.testing.assert_array_equal(found.scores, steps.scores)
    with pytest.raises(ValueError, match=r"predictor must have a backbone.* Predictor\.load"):
        predictor("video.mp4")
    with pytest.raises(ValueError, match=r"must have the shape \(S, C, H, W\)"):
        predictor.predict_features(np.zeros((4, CHANNELS)))


def test_wrong_use(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, CHANNELS)))
    bank, file = str(run.parent / "bank"), str(tmp_path / "a.npy")
    for words, message in (
        (["--bank", bank, "--key", "x"], "pass either --bank or --key, not both"),
        (["--bank", bank, "--axes", "TC"], "pass either --bank or --axes, not both"),
        (["--bank", bank, "--weights", "x"], "pass either --bank or --weights, not both"),
        (["--bank", bank, "--stream", "-"], "pass either --bank or --stream, not both"),
        ([file, "--weights", "x"], "--weights requires video files"),
        (["a.mp4", "--key", "x"], "--key requires feature files"),
        (["a.mp4", "--axes", "TC"], "--axes requires feature files"),
        (["--stream", "-", "--axes", "TC"], "--axes requires feature files"),
        ([bank], f"Pass --bank {bank}."),
        (["a.mp4"], "Predict on feature files, or pass --bank BANK"),
        (["--bank", str(tmp_path)], "not a feature bank"),
    ):
        assert main(["predict", str(run), *words]) == 2, words
        assert message in capsys.readouterr().err, words


def changed(change: dict[str, Any]) -> dict[str, Any]:
    backbone = {**EXTRACTION["backbone"], **change.pop("backbone", {})}
    return {**EXTRACTION, "backbone": backbone, **change}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"stride": 8}, "timesteps: every 8 frames (stride) in this bank, every 4 frames"),
        ({"precision": "bf16"}, "precision: bf16 in this bank, fp32 in the features"),
        ({"backbone": {"endpoint": "y"}}, "endpoint: y in this bank, x in the features"),
        (
            {"backbone": {"weights": {"source": "s", "sha256": "b" * 64}}},
            "weights: sha256 bbbbbbbbbbbb in",
        ),
        ({"channels": 5}, "channels: 5 in this bank, 4 in the features"),
        ({"maps": (2, 2)}, "map size: 2x2 in this bank, 1x1 in the features"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "test"])
def test_other_features_than_those_of_training(
    command: str,
    change: dict[str, Any],
    line: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = make_run(tmp_path, dict(EXTRACTION))
    change = dict(change)
    shape = (4, change.pop("channels", CHANNELS), *change.pop("maps", (1, 1)))
    videos = {name: np.zeros(shape) for name, _, _ in ROWS}
    alias = {"name": "alias", "weights": {"source": "moved", "sha256": "a" * 64}}
    same = make_bank(
        tmp_path / "same", changed({"backbone": alias}), {"w0": np.zeros((4, CHANNELS, 1, 1))}
    )
    assert main(["predict", str(run), "--bank", str(same)]) == 0
    other = make_bank(tmp_path / "other", changed(change), videos)
    assert main([command, str(run), "--bank", str(other)]) == 2
    assert line in capsys.readouterr().err


def test_testing_on_another_bank(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(5)
    videos = {name: rng.normal(size=(6, CHANNELS, 1, 1)) for name, _, _ in ROWS}
    bank = make_bank(tmp_path / "newer", IMPORT, videos)
    assert main(["test", str(run), "--draws", "1"]) == 0
    before = (run / "results" / "test_scores.csv").read_text()
    assert main(["test", str(run), "--draws", "1", "--bank", str(bank)]) == 0
    assert "test_on_newer.json" in capsys.readouterr().out
    assert (run / "results" / "test_scores.csv").read_text() == before
    assert (run / "results" / "test_on_newer_scores.csv").read_text() != before
    report = json.loads((run / "results" / "test_on_newer.json").read_text())
    assert report["bank"] == str(bank) and report["n_records"] == 4
    assert "bank" not in json.loads((run / "results" / "test.json").read_text())
