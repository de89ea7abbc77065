"""Progress without a terminal: what was found, then a line now and then, at once."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import pytest

from tests.training.small_runs import FRAMEWORK_WARNINGS, small_recipe, write_data
from timeception.cli.progress import Lines, extraction_progress, say_next, track, training_progress
from timeception.features.extraction.extract import ExtractionReport
from timeception.training.progress import TrainingProgress
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

Capture = pytest.CaptureFixture[str]


class Clock:
    """Each reading is ``step`` seconds after the one before."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_the_first_line_comes_after_10_s_and_then_one_every_30_s(capsys: Capture) -> None:
    clock = Clock()
    lines = Lines(clock=clock)
    for second in range(100):
        clock.now = float(second)
        lines.tick(lambda: str(int(clock.now)))
    assert capsys.readouterr().out.split() == ["10", "40", "70"]


@pytest.mark.parametrize("is_json", [False, True])
def test_lines_go_to_the_error_stream_if_the_output_is_json(is_json: bool, capsys: Capture) -> None:
    Lines(is_json).say("found")
    assert tuple(capsys.readouterr()) == (("", "found\n") if is_json else ("found\n", ""))


def test_lines_are_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    monkeypatch.setattr("builtins.print", lambda *words, **more: flushed.append(more["flush"]))
    Lines().say("found")
    assert flushed == [True]


def test_a_long_iteration_reports_counts_rate_and_time_left(capsys: Capture) -> None:
    clock = Clock()
    for number in track(range(4), "opening", clock=clock):
        clock.now = 12.0 * (number + 1)
    assert capsys.readouterr().out.splitlines() == [
        "opening: 1/4, 0.08 per second, 0:00:36 left",
        "opening: 4 in 0:00:48",
    ]


def test_a_short_iteration_reports_nothing(capsys: Capture) -> None:
    assert list(track(iter("abc"), "opening", clock=Clock(0.1))) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_an_iteration_of_unknown_length(capsys: Capture) -> None:
    assert list(track(iter("abc"), "opening", is_json=True, clock=Clock(20))) == ["a", "b", "c"]
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.splitlines()[-1].startswith("opening: 3 in ")


def test_an_extraction_reports_its_plan(capsys: Capture) -> None:
    with extraction_progress() as show:
        for _ in range(2):
            show(ExtractionReport(skipped=["a"], n_videos=3))
    assert capsys.readouterr().out == "videos found: 3; in the bank: 1; to extract: 2\n"


def test_a_long_extraction_reports_rates_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("timeception.cli.progress.FIRST_SECONDS", -1.0)
    report = ExtractionReport(
        done=["b"], n_frames=40, seconds=20.0, n_videos=3, n_bytes=400, n_bytes_done=100
    )
    with extraction_progress(is_json=True) as show:
        show(report)
    assert capsys.readouterr().err.splitlines()[1] == (
        "extracting: 1/3 videos, 0.05 videos/s, 2.0 frames/s, 0:01:00 left"
    )


def test_a_training_reports_epochs_metrics_rate_and_time_left(capsys: Capture) -> None:
    clock = Clock()
    show = training_progress(clock=clock)
    progress = TrainingProgress("demo", 2, {"train": 20, "test": 5}, n_epochs=4)
    show(progress)
    progress.epoch, progress.n_clips_done = 1, 20
    progress.metrics = {"train_loss": 0.5, "validation_map": 0.75, "other": 1.0}
    clock.now = 40.0
    show(progress)
    clock.now = 41.0
    show(progress)
    progress.epoch = 4
    show(progress)
    assert capsys.readouterr().out.splitlines() == [
        "25 records of 2 classes (20 train, 5 test); training demo for 4 epochs",
        "1/4 epochs, loss 0.500, validation mAP 0.750, 0.5 clips/s, 0:02:00 left",
        "4/4 epochs, loss 0.500, validation mAP 0.750",
    ]


def test_a_title_begins_each_line_of_a_training(capsys: Capture) -> None:
    make = pickle.loads(pickle.dumps(partial(training_progress, is_json=True)))
    show = make("fold_1: ")
    progress = TrainingProgress("demo", 2, {"train": 20}, n_epochs=1)
    show(progress)
    progress.epoch = 1
    show(progress)
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.splitlines() == [
        "fold_1: 20 records of 2 classes (20 train); training demo for 1 epochs",
        "fold_1: 1/1 epochs",
    ]


def test_both_frameworks_report_the_same_progress(framework: str, tmp_path: Path) -> None:
    rows = [(f"v{n}", "ab"[n % 2], ("train", "validation")[n > 3]) for n in range(6)]
    recipe = small_recipe(
        write_data(tmp_path, rows), framework=framework, training__epochs=2, training__batch_size=2
    )
    seen: list[tuple[int, int, list[str]]] = []
    train(
        recipe,
        tmp_path / "run",
        on_progress=lambda p: seen.append((p.epoch, p.n_clips_done, sorted(p.metrics))),
    )
    names = ["train_loss", "validation_accuracy", "validation_loss", "validation_map"]
    assert [(epoch, clips) for epoch, clips, _ in seen] == [
        *((0, 0), (0, 2), (0, 4), (1, 4), (1, 6), (1, 8), (2, 8)),
    ]
    assert seen[2][2] == [] and set(names) <= set(seen[3][2])


def test_a_resumed_training_counts_from_its_first_epoch() -> None:
    progress = TrainingProgress("demo", 2, {"train": 20}, n_epochs=4, first_epoch=3, epoch=3)
    assert progress.n_clips == 20 and "from epoch 4" in progress.plan()


def test_the_next_command_is_quoted(capsys: Capture) -> None:
    say_next("test it", "test", Path("my run"))
    assert capsys.readouterr().out == "Next, test it: timeception test 'my run'\n"
