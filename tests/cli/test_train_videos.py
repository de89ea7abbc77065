"""``timeception train --videos``: from a folder to a tested model, resumed, with its options."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from timeception.cli import main
from timeception.evaluation.uncertainty import Difference, Interval
from timeception.training.runs import Run, find_run

#: A quick training: one epoch, one random clip in the test.
QUICK = ["training.epochs=1", "testing.draws=1", "sampling.n_timesteps=8", "model.n_layers=2"]


@pytest.mark.slow
def test_from_a_folder_to_a_tested_model(
    clips: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    videos = shutil.copytree(clips, tmp_path / "videos")
    (videos / "left" / "broken.mp4").write_text("no video")
    out = tmp_path / "run"
    words = ["train", "--videos", str(videos), "--out", str(out), "--scheme", "timeception_only"]
    assert main([*words, *QUICK]) == 1  # one video cannot be read
    shown = capsys.readouterr()
    for step in ("[1/5] Videos in", "[2/5] Settings", "[3/5] Features", "[4/5]", "[5/5] Result"):
        assert step in shown.out
    for words_of_result in (
        "timeception",
        "pooling",
        "majority class",
        "chance",
        "Weakest",
        "Next:",
    ):
        assert words_of_result in shown.out
    assert "1 videos could not be read: left/broken" in shown.err
    run = find_run(out)
    assert run.recipe().training.epochs == 1 and run.recipe().backbone is not None
    assert json.loads((run.results / "test.json").read_text())["n_records"] == 2
    assert find_run(out / "baselines" / "pooling").recipe().model.head == "pooling"

    # the same command again reads what is done
    monkeypatch.setattr("timeception.training.train.train", None)
    monkeypatch.setattr("timeception.evaluation.evaluate.evaluate", None)
    assert main([*words, *QUICK]) == 1
    assert "written by an earlier call" in capsys.readouterr().out
    assert main([*words, *QUICK, "model.hidden=7"]) == 2  # other settings are not ignored
    assert "model.hidden: 512 in the run, 7 now" in capsys.readouterr().err

    # the saved recipe can be repeated and changed
    assert main(["recipe", "validate", str(run.recipe_file), "training.epochs=2"]) == 0
    assert main(["predict", str(out), str(clips / "left" / "0.mp4")]) == 0


@pytest.mark.slow
def test_the_backbone_is_trained_too_and_demo_is_the_same_command(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timeception.cli import own_videos

    def quick(*args: object, overrides: list[str], **options: object) -> None:
        assert overrides == []
        original(*args, overrides=[*QUICK, "backbone.resize=48", "backbone.crop=32"], **options)

    original = own_videos.train_videos
    monkeypatch.setattr(own_videos, "train_videos", quick)
    assert main(["demo", "--videos", str(clips), "--out", str(tmp_path / "run")]) == 0
    run = find_run(tmp_path / "run")
    assert run.recipe().is_end_to_end and (run.results / "test.json").is_file()
    assert (run.model / "backbone.safetensors").is_file()


def test_options_reach_the_recipe(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels, groups, time and scheme; nothing is trained here."""
    from timeception.cli import own_videos

    def stop(*args: object) -> None:
        raise ValueError("here")

    monkeypatch.setattr(own_videos, "_extract", stop)
    monkeypatch.setattr(own_videos, "_train_and_test", stop)
    labels = tmp_path / "labels.csv"
    rows = [
        f"{p.parent.name}/{p.name},x{int(p.stem) % 2},P{int(p.stem) // 4}"
        for p in clips.glob("*/*.mp4")
    ]
    labels.write_text("\n".join(["path,labels,person", *sorted(rows)]) + "\n")
    words = ["train", "--videos", str(clips), "--out", str(tmp_path / "run")]
    more = ["--labels", str(labels), "--group", "person", "--scheme", "timeception_only"]
    assert main([*words, *more, "model.hidden=7"]) == 2
    recipe = Run(tmp_path / "run").recipe()
    assert (recipe.data.kind, recipe.data.source, recipe.data.group) == ("csv", labels, "person")
    assert not recipe.is_end_to_end and recipe.model.hidden == 7
    times = {}
    for minutes in ("1", "1000"):
        root = tmp_path / minutes
        monkeypatch.setattr("timeception.training.own_videos.TRAINED_FRAMES_PER_SECOND", 10.0)
        assert main([*words[:-1], str(root), "--minutes", minutes]) == 2
        times[minutes] = Run(root).recipe().is_end_to_end
    assert times == {"1": False, "1000": True}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "pass a RECIPE, or a folder of videos with --videos"),
        (["train", "demo", "--videos", "v", "--out", "r"], "pass either RECIPE or --videos"),
        (["train", "--videos", "v"], "--videos requires --out"),
        (["train", "demo", "--labels", "x.csv"], "--labels requires --videos"),
        (["train", "demo", "--minutes", "5"], "--minutes requires --videos"),
        (["train", "demo", "--scheme", "auto"], "--scheme requires --videos"),
        (["train", "--videos", "v", "--out", "r", "--resume"], "pass either --resume or --videos"),
        (["train", "--videos", "nowhere", "--out", "r"], "nowhere"),
        (["demo", "--videos", "v", "--seeds", "2"], "pass either --seeds or --videos"),
    ],
)
def test_wrong_use_is_refused(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_the_next_steps_follow_the_result(clips: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from timeception.cli.own_videos import next_steps
    from timeception.training.own_videos import survey_videos

    survey = survey_videos(clips)
    clear = Difference(Interval(0.4, 0.2, 0.6), 0.001)
    none = Difference(Interval(0.0, -0.2, 0.2), 0.9)
    run, wide = Run(tmp_path), Interval(0.5, 0.3, 0.7)
    text = "\n".join(next_steps(run, survey, wide, none, 12))
    assert "12 test videos leave an interval of ±0.20" in text and "--folds 5" in text
    assert "no clear difference to pooling (p = 0.90)" in text and "keep groups" not in text
    named = replace(survey, suggested_group="(?P<p>P[0-9])")
    text = "\n".join(next_steps(run, named, wide, clear, 500))
    assert "--group '(?P<p>P[0-9])'" in text and "no clear" not in text and "leave an" not in text


def test_the_weakest_classes_are_named_with_what_they_are_taken_for() -> None:
    from types import SimpleNamespace

    import numpy as np

    from timeception.cli.own_videos import weakest_classes
    from timeception.evaluation.scores import TestScores

    scores = TestScores(
        ("cut", "pour", "stir"),
        ("a", "b", "c"),
        np.array([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]),
        np.eye(3),
    )
    precision = {"cut": 0.5, "pour": 0.75, "stir": 1.0}
    found = SimpleNamespace(average_precision=precision, accuracy=2 / 3)
    lines = weakest_classes(SimpleNamespace(average_of_draws=found), scores)  # type: ignore[arg-type]
    assert lines[1] == (
        "  cut: average precision 0.500 on 1 test videos, most often taken for pour"
    )
    assert lines[2] == "  pour: average precision 0.750 on 1 test videos"
    found.average_precision = dict.fromkeys(precision, 1.0)
    assert weakest_classes(SimpleNamespace(average_of_draws=found), scores) == [  # type: ignore[arg-type]
        "No class is weak: the average precision of each is 1."
    ]
