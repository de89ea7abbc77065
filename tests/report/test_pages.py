"""Pages of tests and comparisons: what they show, and what cannot happen in them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.report.big import made_run
from tests.tiny_data import square
from tests.training.small_runs import FRAMEWORK_WARNINGS
from timeception.cli import main
from timeception.datasets.synthetic.generate import write_mp4
from timeception.training.runs import Run

pytestmark = FRAMEWORK_WARNINGS

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
CLASSES = ("cut", 'a "quoted" & <b>bold</b> one', ATTACK)


class Page(HTMLParser):
    """Elements of a page, and the text of its scripts and tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._is_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._is_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._is_script = False

    def handle_data(self, data: str) -> None:
        (self.scripts if self._is_script else self.texts).append(data)


@pytest.fixture(scope="module", params=[True, False], ids=["several labels", "one label"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("run")
    return made_run(root, CLASSES, 30, is_multilabel=request.param)


def page_of(*words: object) -> str:
    out = Path(str(words[0])).parent / "report.html"
    assert main(["report", *map(str, words), "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def figures(page: Page) -> list[dict]:
    (text,) = (script for script in page.scripts if script.startswith("[{"))
    return json.loads(text)


def test_the_page_has_every_part_and_class(run: Run) -> None:
    page = Page(page_of(run.root))
    shown = "\n".join(page.texts)
    for title in ("Classes", "Precision and recall", "Confusions", "Calibration", "Mistakes"):
        assert title in shown
    for name in CLASSES:
        assert shown.count(name) >= 2
    report = json.loads((run.results / "test.json").read_text())
    assert f"{report['average_of_draws']['mean_average_precision']:.3f}" in shown
    for value in report["average_of_draws"]["average_precision"].values():
        assert f"{value:.3f}" in shown
    assert len(figures(page)) == 4  # with the loss
    charts = [attributes for tag, attributes in page.tags if attributes.get("role") == "img"]
    assert len(charts) == 4 and all(chart["aria-label"] for chart in charts)


def test_names_cannot_run_or_load_anything(run: Run) -> None:
    text = page_of(run.root)
    page = Page(text)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 3 and "img" not in tags and "b" not in tags
    handlers = [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    assert handlers == []
    for _, attributes in page.tags:
        assert not {"src", "href"} & attributes.keys() or attributes["href"].startswith("#")
    (policy,) = (a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy and policy.count("sha256-") == 2
    labels = json.dumps(figures(page))
    assert "<b>" not in labels and "<script" not in labels and "<img" not in labels


def test_plotly_is_embedded_once(run: Run) -> None:
    text = page_of(run.root)
    assert len(re.findall(r"plotly\.js v\d", text)) == 1
    assert 4e6 < len(text) < 6e6


def test_test_writes_the_report_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made_run(tmp_path, ("a", "b"), 4, is_multilabel=False)
    out = tmp_path / "page.html"
    assert main(["test", str(run.root), "--split", "test", "--report", str(out)]) == 0
    assert f"Report: {out}" in capsys.readouterr().out
    shown = "\n".join(Page(out.read_text(encoding="utf-8")).texts)
    assert "Test of run0" in shown
    assert json.loads((run.results / "test.json").read_text())["n_records"] == 1


def test_mistakes_have_frames_of_the_videos(tmp_path: Path) -> None:
    run = made_run(tmp_path, ("a", "b"), 12, is_multilabel=False)
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(12):
        write_mp4(folder / f"video_{number:04d}.mp4", [square(8, 8, np.zeros(3))] * 6, fps=10)
    assert "data:image/jpeg" not in page_of(run.root)
    page = Page(page_of(run.root, "--videos", folder))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images and all(image["alt"].startswith("4 frames of video_") for image in images)
    for path in folder.iterdir():
        path.write_text("no video")
    assert "No thumbnails: " in page_of(run.root, "--videos", folder)


def test_several_runs_are_compared(tmp_path: Path) -> None:
    runs = [made_run(tmp_path, CLASSES, 30, is_multilabel=True, seed=seed) for seed in (0, 1)]
    page = Page(page_of(*(run.root for run in runs)))
    shown = "\n".join(page.texts)
    assert "Comparison of 2 runs" in shown and f"{runs[0].root} − {runs[1].root}" in shown  # noqa: RUF001
    for run in runs:
        report = json.loads((run.results / "test.json").read_text())
        for value in report["average_of_draws"]["average_precision"].values():
            assert f"{value:.3f}" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "validation"], "results of validation"),
        (["--videos", "missing"], "be an existing folder"),
        (["{run}", "--videos", "missing"], "requires a single RUN"),
    ],
)
def test_what_is_wrong_is_reported(
    run: Run, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(run.root.parent / "other.html")
    words = [word.format(run=run.root) for word in words]
    assert main(["report", str(run.root), *words, "--out", out]) == 2
    assert message in capsys.readouterr().err
    assert not Path(out).exists()


def test_without_plotly_nothing_is_tested(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "plotly", None)
    before = (run.results / "test.json").stat().st_mtime_ns
    assert main(["test", str(run.root), "--report", "x.html"]) == 2
    assert "plotly" in capsys.readouterr().err
    assert (run.results / "test.json").stat().st_mtime_ns == before
