import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.features.videos import IDS, files, make_folder
from timeception.backbones import create_backbone
from timeception.cli import extract as extract_command
from timeception.features import FeatureBank
from timeception.features.extraction.extract import ExtractionReport, extract

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def run():
    app = typer.Typer()
    extract_command.register(app)

    def run(*words):
        return CliRunner().invoke(app, [*map(str, words), "--backbone", "tiny_images"])

    return run


def test_extract_reports_what_it_did(run, folder, tmp_path):
    done = run(folder, "--out", tmp_path, "--stride", 2, "--map-size", "1x2", "--dtype", "float32")
    assert done.exit_code == 0, done.output
    plan, report, following = done.stdout.splitlines()
    assert plan == "videos found: 4; in the bank: 0; to extract: 4"
    assert report.startswith("4 extracted, 0 already in the bank, 0 failed; 44 frames in ")
    assert following == f"Next, train on it: timeception train RECIPE data.bank={tmp_path}"
    assert done.stderr == ""
    bank = FeatureBank(tmp_path)
    assert bank["milk"].features.shape == (13, 6, 1, 2)
    assert bank.dtype == "float32"


def test_broken_videos_make_the_status_1_and_are_named(run, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "videos")
    (copy / "text.mp4").write_text("this is no video\n" * 9)
    done = run(copy, "--out", tmp_path / "bank", "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["done"] == IDS
    assert list(report["failed"]) == ["text"]
    assert report["frames_per_second"] > 0
    plan, failure = done.stderr.splitlines()
    assert plan == "videos found: 5; in the bank: 0; to extract: 5"
    assert failure == f"failed: text: {report['failed']['text']}"


def test_the_network_is_chosen_by_name_weights_and_endpoint(run, folder, tmp_path):
    done = run(folder, "--out", tmp_path, "--weights", "random", "--endpoint", "maps")
    assert done.exit_code == 0, done.output
    settings = FeatureBank(tmp_path).settings["backbone"]
    assert (settings["name"], settings["endpoint"]) == ("tiny_images", "maps")
    assert settings["weights"]["source"] == "random (seed 0)"
    done = run(folder, "--out", tmp_path, "--endpoint", "map")
    assert "endpoint must be one of 'maps'; got 'map'" in str(done.exception)


def test_precision_is_chosen_and_kept(run, folder, tmp_path):
    done = run(folder, "--out", tmp_path, "--precision", "bf16")
    assert done.exit_code == 0, done.output
    assert FeatureBank(tmp_path).settings["precision"] == "bf16"
    done = run(folder, "--out", tmp_path)
    assert 'precision: "bf16" in the bank, "fp32" asked for' in str(done.exception)


def test_compile_is_an_option(run, folder, tmp_path, monkeypatch):
    seen = []

    def extract_nothing(*arguments, is_compiled, **options):
        seen.append(is_compiled)
        return ExtractionReport()

    monkeypatch.setattr(extract_command, "extract_with_progress", extract_nothing)
    for words in ([], ["--compile"]):
        assert run(folder, "--out", tmp_path, *words).exit_code == 0
    assert seen == [False, True]


@pytest.mark.parametrize("text", ["2", "2x", "x3", "2,3", "-1x2"])
def test_wrong_map_sizes_raise(run, folder, tmp_path, text):
    done = run(folder, "--out", tmp_path, f"--map-size={text}")
    assert "--map-size must be HxW, such as 2x3" in str(done.exception)


def test_ray_is_optional(run, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run(folder, "--out", tmp_path, "--engine", "ray")
    assert isinstance(done.exception, ValueError)
    assert "engine 'ray' requires the package ray" in str(done.exception)
    assert "pip install 'timeception[ray]'" in str(done.exception)


def test_kill_9_and_the_same_command_end_in_the_same_bytes(run, folder, tmp_path):
    out = tmp_path / "killed"
    command = [folder, "--out", out, "--stride", 1, "--workers", 2]
    words = [sys.executable, "-m", "tests.features.run_extract", 0.2, *command]
    words += ["--backbone", "tiny_images"]
    with subprocess.Popen(list(map(str, words)), cwd=ROOT) as killed:
        deadline = time.monotonic() + 300  # a busy machine takes long to import torch
        while not (list(out.rglob("*.tmp")) and list(out.rglob("*.safetensors"))):
            assert time.monotonic() < deadline
            assert killed.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)  # a video is done, another one half written
    left = files(out)
    assert any(name.endswith(".tmp") for name in left)
    n_done = sum(name.endswith(".safetensors") for name in left)
    assert 0 < n_done < 4
    again = run(*command)
    assert again.exit_code == 0, again.output
    plan, report, _ = again.stdout.splitlines()
    assert plan == f"videos found: 4; in the bank: {n_done}; to extract: {4 - n_done}"
    assert report.startswith(f"{4 - n_done} extracted, {n_done} already in the bank, 0 failed")
    extract([folder], tmp_path / "whole", create_backbone("tiny_images"), stride=1)
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.slow
def test_ray_makes_the_same_bytes(folder, tmp_path):
    ray = pytest.importorskip("ray")
    copy = shutil.copytree(folder, tmp_path / "videos")
    (copy / "text.mp4").write_text("this is no video\n" * 9)
    backbone = create_backbone("tiny_images")
    root = str(ROOT)
    ray.init(
        num_cpus=2,
        log_to_driver=False,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": root}},
    )
    try:
        report = extract([copy], tmp_path / "ray", backbone, engine="ray", n_workers=2)
    finally:
        ray.shutdown()
    local = extract([copy], tmp_path / "local", backbone)
    assert (report.done, report.failed) == (local.done, local.failed)
    assert report.n_frames == local.n_frames
    assert files(tmp_path / "ray") == files(tmp_path / "local")
