"""Banks of the segments that the code of 2019 took."""

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.features.test_extraction import plain
from tests.features.videos import make_video
from timeception.backbones import create_backbone
from timeception.features import FeatureBank
from timeception.features.bank.inspection import inspect
from timeception.features.extraction.extract import extract, extract_features
from timeception.features.extraction.settings import extraction_settings, segmenter_of
from timeception.video.sampling import legacy_2019_frames, legacy_2019_segment_starts

CHOICES = {"tiny_images": legacy_2019_frames, "tiny_videos": legacy_2019_segment_starts}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    make_video(root / "long.mp4", 40, seed=1)
    make_video(root / "short.mp4", 14, seed=2)  # shorter than asked: segments repeat
    make_video(root / "tiny.mp4", 5, seed=3)  # not defined for segments of 8
    return root


@pytest.mark.parametrize(("name", "n_asked", "n_steps"), [("tiny_images", 16, 16),
                                                          ("tiny_videos", 64, 8)])  # fmt: skip
def test_a_uniform_sample_is_the_clip_of_2019(folder, tmp_path, name, n_asked, n_steps):
    backbone = create_backbone(name)
    report = extract([folder], tmp_path, backbone, frames_2019=n_asked, dtype="float32")
    is_video = name == "tiny_videos"
    assert report.done == (["long", "short"] if is_video else ["long", "short", "tiny"])
    assert list(report.failed) == (["tiny"] if is_video else [])
    bank = FeatureBank(tmp_path)
    for video_id, n_frames in (("long", 40), ("short", 14)):
        starts = CHOICES[name](n_frames, n_asked)
        assert bank[video_id].start_frames.tolist() == starts.tolist()
        dense, _ = plain(folder / f"{video_id}.mp4", backbone, 1)
        drawn = bank.draw(video_id, n_steps)
        np.testing.assert_allclose(drawn, dense[starts], atol=1e-5)
        again = extract_features(folder / f"{video_id}.mp4", backbone, frames_2019=n_asked)
        np.testing.assert_allclose(again.features, drawn, atol=1e-5)
    assert inspect(bank) == {}
    assert extract([folder], tmp_path, backbone, frames_2019=n_asked, dtype="float32").done == []
    with pytest.raises(ValueError, match="frames_2019"):
        extract([folder], tmp_path, backbone, dtype="float32")


def test_other_banks_stay_as_they_are():
    assert "frames_2019" not in extraction_settings(create_backbone("tiny_images"))


@pytest.mark.parametrize(
    ("name", "n_asked", "words"),
    [
        ("tiny_videos", 60, "frames_2019 must be a multiple of 8; got 60"),
        ("tiny_images", 0, "frames_2019 must be a whole number of at least 1"),
        ("torchvision:mc3_18", 64, "1 or 8 frames at once; got '16 frames'"),
    ],
)
def test_what_cannot_be_chosen(name, n_asked, words):
    backbone = create_backbone(name, "random")
    with pytest.raises(ValueError, match=words):
        extraction_settings(backbone, frames_2019=n_asked)


def test_streams_have_no_length():
    segmenter = segmenter_of(extraction_settings(create_backbone("tiny_images"), frames_2019=8))
    with pytest.raises(ValueError, match=r"frames_2019 must be left out of streams"):
        next(segmenter.stream([]))


def test_the_command(folder, tmp_path):
    import typer

    from timeception.cli import extract as command

    app = typer.Typer()
    command.register(app)
    words = [str(folder), "--out", str(tmp_path), "--backbone", "tiny_images"]
    done = CliRunner().invoke(app, [*words, "--frames-2019", "8"])
    assert done.exit_code == 0, done.output
    assert FeatureBank(tmp_path).settings["frames_2019"] == 8
    done = CliRunner().invoke(app, [*words, "--frames-2019", "8", "--stride", "2"])
    assert "not both" in str(done.exception)
