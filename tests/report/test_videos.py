"""Pages of videos, explanations and kernels, from a small model on real video files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.test_pages import Page, figures
from tests.training.small_runs import FRAMEWORK_WARNINGS
from timeception.cli import main

pytestmark = FRAMEWORK_WARNINGS


@pytest.fixture(scope="module")
def run(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of random weights on a random backbone."""
    from timeception.backbones import create_backbone
    from timeception.features.extraction.settings import extraction_settings
    from timeception.torch import TimeceptionClassifier

    folder = tmp_path_factory.mktemp("model")
    backbone = create_backbone("efficientnet_lite0", weights="random")
    settings = extraction_settings(backbone, 1, (1, 1), frames_2019=None, fps=None)
    head = TimeceptionClassifier(1280, 2, n_layers=2, n_groups=1, hidden=8)
    head.pipeline = {
        "task": "single-label",
        "classes": ["left", "right<script>"],
        "sampling": {"n_timesteps": 16, "map_size": [1, 1]},
        "windows": None,
        "features": settings,
    }
    head.save_pretrained(folder)
    return str(folder)


def test_predict_writes_a_page(
    run: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, broken, truth = tmp_path / "page.html", tmp_path / "<b>.mp4", tmp_path / "t.csv"
    broken.write_text("no video")
    truth.write_text("video,label,start,end\nleft/0.mp4,grow,0.5,1.25\n")
    video = str(clips / "left" / "0.mp4")
    words = ["predict", run, video, str(broken), "--report", str(out), "--json"]
    assert main([*words, "--annotations", str(truth)]) == 1
    first, second = json.loads(capsys.readouterr().out)
    page = Page(out.read_text(encoding="utf-8"))
    shown = "\n".join(page.texts)
    assert "error" in second and "Could not be read: " in shown
    assert "b" not in [tag for tag, _ in page.tags]
    for name, score in first["scores"].items():
        assert name in shown and f"{score:.3f}" in shown
    assert "grow" in shown and "1.250" in shown
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 16 and all(src.startswith("data:image/jpeg") for src in images)
    assert len(figures(page)) == 3  # scores, evidence, truth
    assert main(words) == 1
    assert len(figures(Page(out.read_text(encoding="utf-8")))) == 2
    assert main([*words, "--top", "1"]) == 1
    assert len(figures(Page(out.read_text(encoding="utf-8")))[0]["data"]) == 1


def test_a_localizer_has_a_page_too(
    run: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its score of a class is the highest one over time; there is no other explanation."""
    from timeception.inference.predictor import Predictor
    from timeception.torch import TimeceptionLocalizer

    head = TimeceptionLocalizer(1280, 2, n_layers=2, n_groups=1, hidden=8, n_refinements=0)
    pipeline = {**Predictor.load(run).model.pipeline, "task": "timeline", "step_labels": "one"}
    pipeline["sampling"] = {"n_timesteps": None, "map_size": [1, 1], "stride_steps": 2}
    head.pipeline = pipeline
    head.save_pretrained(tmp_path / "model")
    video, out = str(clips / "left" / "0.mp4"), tmp_path / "page.html"
    words = [str(tmp_path / "model"), video]
    assert main(["predict", *words, "--report", str(out), "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    timeline = Predictor.load(words[0]).timeline(video)
    highest = dict(zip(timeline.classes, timeline.scores.max(axis=0), strict=True))
    assert shown["scores"] == pytest.approx(highest, abs=1e-4)
    from timeception.serving.scoring import VideoService

    served = VideoService(Predictor.load(words[0])).score(Path(video))
    assert served.scores == pytest.approx(highest, abs=1e-4)
    assert served.timeline.scores.shape == timeline.scores.shape
    assert str(clips) not in served.timeline.to_json()
    page = Page(out.read_text(encoding="utf-8"))
    assert len(figures(page)) == 1 and "Intervals" in "".join(page.texts)
    assert main(["explain", *words]) == 2
    assert "be a classifier" in capsys.readouterr().err


def test_explain_writes_pages(
    run: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    why, kernels = tmp_path / "why.html", tmp_path / "kernels.html"
    words = ["explain", run, str(clips / "left" / "0.mp4"), "--class", "left", "--top", "2"]
    assert main([*words, "--report", str(why), "--kernels", str(kernels)]) == 0
    shown = capsys.readouterr().out
    assert "left" in shown and "by maximum" in shown and shown.count(" - ") == 2
    assert "Evidence for left (maximum)" in why.read_text(encoding="utf-8")
    assert len(figures(Page(kernels.read_text(encoding="utf-8")))) == 2 * 3
    assert main([*words[:-2], "--method", "occlusion", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["steps"]) == 16


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--report", "x.html"], "at least one video file"),
        (["x.npy", "--report", "x.html", "--draws", "3"], "not both"),
        (["--stream", "x", "--report", "x.html"], "not both"),
        (["--bank", "x", "--report", "x.html"], "not both"),
        (["v.mp4", "--timeline", "--report", "x.html"], "not both"),
        (["v.mp4", "--annotations", "x.csv"], "requires --report"),
        (["v.mp4", "--report", "x.html", "--key", "k"], "requires feature files"),
    ],
)
def test_wrong_use(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "run", *words]) == 2
    assert message in capsys.readouterr().err
