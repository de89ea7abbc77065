"""Scores of uploads: limits, messages, turns, the timeline's HTML."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.serving.models import ATTACK, CLASSES, service
from timeception.cli import main
from timeception.inference.timelines import Timeline
from timeception.serving.limits import Limits, RefusedError
from timeception.serving.scoring import BusyError
from timeception.serving.server import read_examples, sweep
from timeception.serving.timeline_html import timeline_html


@pytest.fixture
def video(clips: Path) -> Path:
    return clips / "left" / "0.mp4"


def test_scores_and_timeline(video: Path) -> None:
    found = service().score(video)
    assert set(found.scores) == set(CLASSES)
    assert found.timeline.scores.shape == (5, 2)
    answer = found.to_dict()
    assert answer["scores"] == found.scores and len(answer["timeline"]["scores"]) == 5


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"max_megabytes": 0.0001}, "larger than 0.0001 MB"), ({"max_minutes": 0.01}, "minutes")],
)
def test_limits(video: Path, limits: dict[str, float], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        service(**limits).score(video)


def test_files_that_are_no_video(video: Path, tmp_path: Path) -> None:
    text, broken = tmp_path / "a.mp4", tmp_path / "b.mp4"
    text.write_text("hello")
    broken.write_bytes(video.read_bytes()[:500])
    for path in (text, broken):
        with pytest.raises(RefusedError, match="cannot be read as a video") as error:
            service().score(path)
        assert str(tmp_path) not in str(error.value)


def test_five_at_once_take_turns(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = service(n_workers=2, max_waiting=3)
    inside, highest, lock = [0], [0], threading.Lock()
    score = type(one)._score

    def counted(self, path):  # type: ignore[no-untyped-def]
        with lock:
            inside[0] += 1
            highest[0] = max(highest[0], inside[0])
        threading.Event().wait(0.05)
        found = score(self, path)
        with lock:
            inside[0] -= 1
        return found

    monkeypatch.setattr(type(one), "_score", counted)
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(one.score, [video] * 5))
    assert highest == [2] and len({str(each.scores) for each in found}) == 1


def test_too_many_are_refused(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = service(n_workers=1, max_waiting=0)
    begun, go_on = threading.Event(), threading.Event()

    def blocked(self, path):  # type: ignore[no-untyped-def]
        begun.set()
        go_on.wait(10)

    monkeypatch.setattr(type(one), "_score", blocked)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(one.score, video)
        assert begun.wait(10)
        with pytest.raises(BusyError, match="Try again"):
            one.score(video)
        go_on.set()
        first.result()
    one.score(video)  # the place is free again


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_timeline_has_a_button_per_interval_and_escapes_names() -> None:
    scores = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.1]])
    starts = np.array([0.0, 2, 4])
    timeline = Timeline("v", CLASSES, scores, starts, starts + 2, True)
    tags = Tags(timeline_html(timeline)).found
    assert {tag for tag, _ in tags} <= {"div", "span", "svg", "rect", "button"}
    seconds = [attributes["data-seconds"] for tag, attributes in tags if tag == "button"]
    assert seconds == ["0.000", "4.000"]
    rows = [attributes for _, attributes in tags if attributes.get("class") == "row"]
    assert [row["data-duration"] for row in rows] == ["6.000", "6.000"]
    assert ATTACK not in timeline_html(timeline)


def test_without_scores_over_time_the_note_is_shown() -> None:
    empty = Timeline.failed("v", CLASSES, "too short")
    assert timeline_html(empty, "<b>") == "<p>&lt;b&gt;</p>"


def test_old_files_are_deleted(tmp_path: Path) -> None:
    import os

    old, new = tmp_path / "a" / "old", tmp_path / "new"
    old.parent.mkdir()
    for path in (old, new):
        path.write_text("x")
    os.utime(old, (0, 0))
    assert sweep(tmp_path, 60) == 1
    assert new.exists() and not old.exists()


def test_examples(clips: Path, tmp_path: Path) -> None:
    assert next(iter(read_examples(clips))) == "left/0" and read_examples(None) == {}
    with pytest.raises(ValueError, match="folder of videos"):
        read_examples(tmp_path)


@pytest.mark.parametrize("field", ["max_megabytes", "max_minutes", "n_workers", "max_waiting"])
def test_wrong_limits(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Limits(**{field: -1})


def test_missing_gradio_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    assert main(["serve", "run"]) == 2
    assert "timeception[serve]" in capsys.readouterr().err
