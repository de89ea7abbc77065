"""From a folder of videos to a recipe: what is found, chosen and why."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from timeception.training.own_videos import Survey, choose_recipe, describe, survey_videos
from timeception.video import VideoInfo


@pytest.fixture(scope="module")
def survey(clips: Path) -> Survey:
    return survey_videos(clips)


def of_length(survey: Survey, seconds: float, n_copies: int = 1, fps: float = 25.0) -> Survey:
    """As if every video had this length, and there were more of them."""
    info = VideoInfo(320, 240, int(seconds * fps), fps, seconds, 0, "h264", "yuv420p", 0)
    infos = {f"{name}_{copy}": info for name in survey.infos for copy in range(n_copies)}
    return replace(survey, infos=infos)


def test_what_is_found(survey: Survey) -> None:
    text = "\n".join(describe(survey))
    assert text.startswith("8 videos of 2 classes (single-label), 0.3 minutes; 2.0 to 2.0 s each")
    assert "10 frames per second" in text
    assert "left      4 videos  median 2.0 s" in text and "right     4 videos" in text
    assert survey.broken == {} and survey.suggested_group is None


def test_broken_videos_are_named_and_left_out(clips: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clips, tmp_path / "videos")
    (folder / "left" / "0.mp4").write_text("no video")
    found = survey_videos(folder)
    assert set(found.broken) == {"left/0"} and len(found.infos) == 7
    assert "1 videos cannot be read and are left out" in "\n".join(describe(found))
    recipe, _ = choose_recipe(found, tmp_path / "bank", minutes=10, n_cores=2)
    assert recipe.data.skip_missing


def test_groups_are_given_or_suggested(clips: Path, tmp_path: Path) -> None:
    for path in sorted(clips.glob("*/*.mp4")):
        number = int(path.stem)
        target = tmp_path / path.parent.name / f"P0{number % 2}_{number}.mp4"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    found = survey_videos(tmp_path)
    assert found.suggested_group is not None
    assert "Pass --group" in "\n".join(describe(found))
    group = "(?P<subject>P[0-9]+)_"
    given = survey_videos(tmp_path, group=group)
    assert given.suggested_group is None
    assert "2 groups (subject), which no split divides" in "\n".join(describe(given))
    recipe, _ = choose_recipe(given, tmp_path / "bank", minutes=10, n_cores=2)
    assert recipe.data.group == group
    with pytest.raises(ValueError, match="give each video a group"):
        survey_videos(tmp_path, group="(?P<subject>Q[0-9]+)_")


def test_labels_from_a_file(clips: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,labels,split\nleft/0.mp4,a;b,train\nright/1.mp4,b,test\n")
    found = survey_videos(clips, labels)
    assert found.dataset.is_multilabel and found.dataset.classes == ("a", "b")
    recipe, _ = choose_recipe(found, tmp_path / "bank", minutes=10, n_cores=2)
    assert recipe.data.kind == "csv" and recipe.data.split.test_fraction == 0
    labels.write_text("path,labels\nleft/0.mp4,a\nnowhere/1.mp4,b\n")
    with pytest.raises(ValueError, match=r"be in .*clips.*; got \['nowhere/1'\]"):
        survey_videos(clips, labels)


def test_short_videos_are_trained_end_to_end_if_there_is_time(
    survey: Survey, tmp_path: Path
) -> None:
    recipe, reasons = choose_recipe(survey, tmp_path / "bank", minutes=10, n_cores=2)
    assert recipe.is_end_to_end and recipe.data.bank is None
    assert reasons[0].startswith("training.scheme=end_to_end: videos are short")
    many = of_length(survey, 3.0, n_copies=200)
    recipe, reasons = choose_recipe(many, tmp_path / "bank", minutes=10, n_cores=2)
    assert not recipe.is_end_to_end and recipe.data.bank == tmp_path / "bank"
    assert choose_recipe(many, tmp_path / "b", minutes=1000, n_cores=2)[0].is_end_to_end
    asked, reasons = choose_recipe(
        survey, tmp_path / "b", minutes=10, n_cores=2, scheme="timeception_only"
    )
    assert not asked.is_end_to_end and reasons[0] == "training.scheme=timeception_only: as asked"


@pytest.mark.parametrize(
    ("seconds", "timesteps", "layers"), [(10.0, 32, 3), (40.0, 64, 4), (300.0, 128, 5)]
)
def test_timesteps_follow_the_durations(
    survey: Survey, tmp_path: Path, seconds: float, timesteps: int, layers: int
) -> None:
    found = of_length(survey, seconds, n_copies=4)
    recipe, reasons = choose_recipe(
        found, tmp_path / "bank", minutes=60, n_cores=2, scheme="timeception_only"
    )
    assert (recipe.sampling.n_timesteps, recipe.model.n_layers) == (timesteps, layers)
    assert recipe.model.keep_spatial and recipe.sampling.map_size == (2, 3)
    assert recipe.backbone is not None and recipe.backbone.fps is not None
    assert recipe.backbone.fps == pytest.approx(min(25, 2 * timesteps / seconds), rel=0.06)
    assert any("backbone.fps" in reason for reason in reasons)


def test_less_time_extracts_fewer_frames(survey: Survey, tmp_path: Path) -> None:
    found = of_length(survey, 300.0, n_copies=50)
    rates = [
        choose_recipe(found, tmp_path / "bank", minutes=minutes, n_cores=2)[0].backbone.fps
        for minutes in (5, 500)
    ]
    assert rates[0] < rates[1]


@pytest.mark.parametrize("n_copies", [1, 5, 40])
def test_epochs_follow_the_number_of_steps(survey: Survey, tmp_path: Path, n_copies: int) -> None:
    found = of_length(survey, 30.0, n_copies)
    recipe, _ = choose_recipe(found, tmp_path / "bank", minutes=60, n_cores=2)
    n_train = round(8 * n_copies * 0.75)
    steps = -(-n_train // recipe.training.batch_size) * recipe.training.epochs
    assert recipe.training.epochs >= 20
    assert steps >= 390 or recipe.training.epochs == 200
