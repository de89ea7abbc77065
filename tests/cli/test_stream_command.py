"""``timeception predict --stream``: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.features.videos import make_video
from tests.inference.saved_models import CLASSES, save_model, tiny_backbone
from timeception.cli import main
from timeception.features.extraction.extract import extract_features
from timeception.inference.saved_model import load_saved

COMMAND = str(Path(sys.executable).with_name("timeception"))
ENDLESS = ("--stream", "testsrc=size=64x48:rate=12", "--input-format", "lavfi")
N_FRAMES, FPS = 75, 12


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and a video as MPEG-TS and as a Matroska file that is cut off."""
    root = tmp_path_factory.mktemp("streams")
    save_model(root / "model", tiny_backbone(), timestep_seconds=2.0)
    make_video(root / "a.ts", N_FRAMES, width=64, height=48, fps=FPS)
    make_video(root / "a.mkv", N_FRAMES, width=64, height=48, fps=FPS)
    whole = (root / "a.mkv").read_bytes()
    (root / "cut.mkv").write_bytes(whole[: len(whole) * 7 // 10])
    return root


@pytest.fixture(scope="module")
def expected(work: Path) -> dict[str, float]:
    """The scores of all dense features of the file at once."""
    features = extract_features(work / "a.ts", tiny_backbone(), stride=2).features
    scores = load_saved(work / "model").score(features[None])[0]
    return dict(zip(CLASSES, scores.tolist(), strict=True))


def command(work: Path, *words: str) -> list[str]:
    return [COMMAND, "predict", str(work / "model"), *words]


def run(
    capsys: pytest.CaptureFixture[str], work: Path, *words: str
) -> tuple[int, list[dict], list[str]]:
    """Status, JSON lines, lines of the error stream."""
    status = main(["predict", str(work / "model"), "--json", *words])
    shown = capsys.readouterr()
    return status, [json.loads(line) for line in shown.out.splitlines()], shown.err.splitlines()


def assert_final(line: dict, expected: dict[str, float]) -> None:
    assert line["final"] is True
    assert line["scores"] == pytest.approx(expected, abs=1e-5)


def test_json_lines(
    work: Path, expected: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--stream", str(work / "a.ts"), "--interval", "0.3")
    status, lines, errors = run(capsys, work, *words)
    assert status == 0
    assert [line["final"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert [line["timesteps"] for line in lines[:2]] == [3, 5]  # frames 4 and 8
    assert lines[0]["scores"] is None
    assert list(lines[1]["scores"]) == sorted(
        lines[1]["scores"], key=lambda c: -lines[1]["scores"][c]
    )
    assert "evidence" not in lines[0]
    assert_final(lines[-1], expected)
    assert lines[-1] | {"scores": 0, "seconds": 0} == {
        "source": str(work / "a.ts"),
        "seconds": 0,
        "timesteps": 38,
        "scores": 0,
        "damaged": 0,
        "final": True,
        "error": None,
    }
    (notice,) = errors
    assert "0.17 s apart here, but were 2.00 s" in notice and "--stride 24" in notice


def test_text(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--stream", str(work / "a.ts"), "--interval", "0.5", "--evidence", "--top", "2"]
    assert main(["predict", str(work / "model"), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0:00:00.5       4 timesteps  waiting for the first scores" or re.fullmatch(
        r"0:00:00\.5 +4 timesteps  (\w+ \d\.\d{3}  ){1}\w+ \d\.\d{3}", lines[0]
    )
    steps = [line for line in lines if line.startswith("    ")]
    assert all(
        re.fullmatch(r"    0:00:0\d\.\d - 0:00:0\d\.\d  (cut|pour|stir) [01]\.\d{3}", s)
        for s in steps
    )
    assert len(steps) == 38 // 4
    last = next(line for line in reversed(lines) if not line.startswith("    "))
    assert re.fullmatch(r"0:00:06\.2      38 timesteps  \w+ [\d.]+  \w+ [\d.]+  \(end\)", last)


def test_stride_and_evidence(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--stream", str(work / "a.ts"), "--stride", "5", "--evidence")
    status, (line,), _ = run(capsys, work, *words)
    assert status == 0
    assert line["timesteps"] == 15
    assert len(line["evidence"]) == 15 // 4
    assert all(len(step["scores"]) == 1 for step in line["evidence"])


def test_fps(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, (line,), (notice,) = run(capsys, work, "--stream", str(work / "a.ts"), "--fps", "3")
    assert status == 0
    assert line["timesteps"] == 19  # 0, 1/3, ... to the last frame, at 6.17 s
    assert "0.33 s apart here, but were 2.00 s" in notice and "--fps 0.5 " in notice


@pytest.mark.slow
def test_standard_input(work: Path, expected: dict[str, float]) -> None:
    """From a pipe, in small pieces, as another program writes it."""
    process = subprocess.Popen(
        command(work, "--stream", "-", "--json"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    data = (work / "a.ts").read_bytes()
    with process.stdin as pipe:
        for start in range(0, len(data), 1000):
            pipe.write(data[start : start + 1000])
            pipe.flush()
    lines = process.stdout.read().splitlines()
    process.stdout.close()
    assert process.wait() == 0
    assert_final(json.loads(lines[-1]), expected)
    assert json.loads(lines[-1])["source"] == "standard input"


@pytest.mark.slow
def test_an_interrupt_ends_the_stream_with_the_scores_so_far(work: Path) -> None:
    process = subprocess.Popen(
        command(work, *ENDLESS, "--json", "--interval", "1"), stdout=subprocess.PIPE
    )
    before = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    *_, final = [json.loads(line) for line in process.stdout]
    process.stdout.close()
    assert process.wait() == 0
    assert before[-1]["final"] is False
    assert final["final"] is True and final["error"] is None
    assert final["timesteps"] >= before[-1]["timesteps"]
    assert set(final["scores"]) == set(CLASSES)


@pytest.mark.slow
def test_the_reader_may_close_the_pipe(work: Path) -> None:
    process = subprocess.Popen(
        command(work, *ENDLESS, "--json", "--interval", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert errors.splitlines()[-1] == "timeception: the reader closed the pipe."
    assert "Traceback" not in errors and "Exception ignored" not in errors


def test_a_stream_that_breaks_off(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, errors = run(capsys, work, "--stream", str(work / "cut.mkv"))
    assert status == 1
    assert lines[-1]["final"] and lines[-1]["scores"] is not None
    assert "cut.mkv: is cut short" in lines[-1]["error"]
    assert errors[-1] == f"timeception: {lines[-1]['error']}"


def test_damage_is_reported(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = (work / "a.ts").read_bytes()
    middle = len(data) // 188 // 2 * 188
    (work / "gap.ts").write_bytes(data[:middle] + data[middle + 188 * 3 :])
    status, lines, errors = run(capsys, work, "--stream", str(work / "gap.ts"))
    assert status == 1
    assert lines[-1]["damaged"] >= 1 and lines[-1]["scores"] is not None
    assert re.search(r"gap\.ts: damaged in \d+ place\(s\); frames there were skipped", errors[-1])


@pytest.fixture(params=[0.0, 0.7])
def stalled(work: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """The address of a server that sends a part of the video and then waits; if it sends any."""
    data, stop = (work / "a.ts").read_bytes(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.sendall(data[: int(len(data) * request.param)])
                stop.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", request.param > 0
        stop.set()
        thread.join()


def test_a_stream_that_stalls(
    work: Path, stalled: tuple[str, bool], capsys: pytest.CaptureFixture[str]
) -> None:
    address, has_begun = stalled
    words = ("--stream", address, "--timeout", "1", "--option", "tcp_nodelay=1")
    status, lines, _ = run(capsys, work, *words)
    assert status == 1
    assert "gave no frame for 1 s" in lines[-1]["error"]
    assert (lines[-1]["scores"] is not None) == has_begun


def test_what_cannot_be_opened(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, (line,), errors = run(capsys, work, "--stream", str(work / "no.mp4"))
    assert status == 1
    assert line["scores"] is None and line["final"] and "does not exist" in line["error"]
    assert errors == [f"timeception: {line['error']}"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--interval", "5"], "--interval requires --stream."),
        (["a.mp4", "--fps", "5"], "--fps requires --stream."),
        (["--stream", "-", "--fps", "5", "--stride", "2"], "pass either --stride or --fps, not"),
        (["a.mp4", "--evidence"], "--evidence requires --stream."),
        ([], "name at least one file, or pass --bank BANK or --stream SOURCE"),
        (["--interval", "5", "--timeout", "0"], "--interval and --timeout require --stream."),
        (["a.mp4", "--stream", "-"], "pass either INPUT or --stream, not both."),
        (["--stream", "-", "--draws", "3"], "pass either --draws or --stream, not both."),
        (["--stream", "-", "--option", "rtsp"], "--option must be KEY=VALUE; got 'rtsp'"),
        (["--stream", "-", "--input-format", "v4l3"], "must be a format that this FFmpeg can read"),
        (["--stream", "-", "--timeout", "-1"], "timeout_seconds must be 0 or more"),
        (["--stream", "-", "--interval", "0"], "interval_seconds must be positive"),
    ],
)
def test_wrong_use(
    words: list[str], message: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(work / "model"), *words]) == 2
    shown = capsys.readouterr()
    assert message in shown.err and "Traceback" not in shown.err
    assert shown.out == ""


PEAK = """
import ctypes, gc, sys
from pathlib import Path
from timeception.cli import main

def follow(n_seconds):
    source = f"testsrc=size=320x240:rate=24:duration={n_seconds}"
    words = ["predict", sys.argv[1], "--json", "--stream", source, "--input-format", "lavfi"]
    assert main(words) == 0

def kilobytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])

follow(2)  # what is loaded once
for n_seconds in (3, 60):
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before = kilobytes("VmRSS")
    follow(n_seconds)
    print("peak", kilobytes("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_length(work: Path) -> None:
    """72 and 1440 frames of 230 kB."""
    words = [sys.executable, "-c", PEAK, str(work / "model")]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    printed = [line.split() for line in done.stdout.splitlines() if line.startswith("peak")]
    short, long = (int(kilobytes) for _, kilobytes in printed)
    assert long - short < 4_000  # kilobytes; the frames of all timesteps would be 157_000
