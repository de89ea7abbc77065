"""Several processes train as one: on one machine, on two simulated nodes, killed and resumed."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from tests.training.small_runs import FRAMEWORK_WARNINGS, small_recipe, write_data
from timeception.recipes.recipe import Recipe
from timeception.training.runs import Run
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

#: Eleven training videos: batches of 4, 4 and 3, and of three validation videos one has two.
SPLITS = {"train": 11, "validation": 3}
COMMAND = ("-m", "timeception")


def recipe_of(root: Path, **changes: object) -> Recipe:
    rows = [
        (f"{split}{number}", "xy"[number % 2], split)
        for split, count in SPLITS.items()
        for number in range(count)
    ]
    if not (root / "bank").exists():
        write_data(root, rows, n_steps=8)
    model = {"n_layers": 1, "n_groups": 1, "hidden": 6, "dropout": [0.0, 0.0]}
    training = {"batch_size": 4, "epochs": 2, "optimizer": "sgd", "learning_rate": 0.1}
    fields = {f"training__{name}": value for name, value in (training | changes).items()}
    return small_recipe(root, model=model, sampling__n_timesteps=8, **fields)


def words_of(recipe: Recipe, folder: Path, *more: str) -> list[str]:
    """Arguments of ``timeception`` that train a recipe."""
    path = folder.with_suffix(".yaml")
    path.write_text(recipe.to_yaml())
    return ["train", str(path), "--out", str(folder), *more]


def run_command(*words: str, **environment: str) -> str:
    made = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | environment,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    return made.stdout


def curves(folder: Path) -> dict[str, list[float]]:
    """Values by name of all epochs, without repeated ones."""
    rows: dict[int, dict[str, float]] = {}
    for path in sorted(folder.glob("logs/part_*/metrics.csv")):
        for row in csv.DictReader(path.read_text().splitlines()):
            kept = {name: float(value) for name, value in row.items() if value}
            rows.setdefault(int(row["epoch"]), {}).update(kept)
    return {name: [row[name] for row in rows.values()] for name in rows[0] if name != "step"}


def assert_same_training(found: Path, expected: Path) -> None:
    theirs = curves(expected)
    for name, values in curves(found).items():
        assert values == pytest.approx(theirs[name], abs=1e-5), name
    arrays = load_file(expected / "model" / "model.safetensors")
    for name, array in load_file(found / "model" / "model.safetensors").items():
        np.testing.assert_allclose(array, arrays[name], atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and the run of one process."""
    folder = tmp_path_factory.mktemp("devices")
    train(recipe_of(folder), folder / "one")
    return folder


def test_two_processes_train_as_one(root: Path) -> None:
    recipe = recipe_of(root, devices=2)
    output = run_command(*COMMAND, *words_of(recipe, root / "two"))
    assert output.count("Trained small.") == 1
    assert_same_training(root / "two", root / "one")
    assert [path.name for path in (root / "two" / "logs").iterdir()] == ["part_1"]


def test_a_process_without_clips(root: Path) -> None:
    """Batches of 9 and 2: of the second, one of three processes has nothing."""
    one = train(recipe_of(root, batch_size=9), root / "nine").root
    words = words_of(recipe_of(root, batch_size=9, devices=3), root / "three")
    run_command(*COMMAND, *words)
    assert_same_training(root / "three", one)


def test_two_nodes_train_as_one(root: Path) -> None:
    recipe = recipe_of(root, nodes=2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = words_of(recipe, root / "nodes")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    launch += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    nodes = [
        subprocess.Popen(
            [*launch, f"--node-rank={rank}", *COMMAND, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs[0][-3000:]
    assert "".join(outputs).count("Trained small.") == 1
    assert_same_training(root / "nodes", root / "one")


def test_killed_and_resumed(root: Path) -> None:
    """With dropout: the same masks after a resume, byte for byte."""
    recipe = recipe_of(root, devices=2, epochs=6, checkpoint_every=1, workers=1)
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"dropout": (0.5, 0.5)})}
    )
    run_command(*COMMAND, *words_of(recipe, root / "whole"))
    folder = root / "killed"
    process = subprocess.Popen(
        [sys.executable, *COMMAND, *words_of(recipe, folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if Run(folder).is_finished:
        pytest.fail("the training was over before it was killed")
    run_command(*COMMAND, *words_of(recipe, folder, "--resume"))
    names = ("model.safetensors", "config.json")
    for name in names:
        assert (folder / "model" / name).read_bytes() == (
            root / "whole" / "model" / name
        ).read_bytes()


def test_one_process_where_it_must_be_one(root: Path, tmp_path: Path) -> None:
    from timeception.cli.app import main
    from timeception.evaluation.cross_validation import cross_validate

    recipe = recipe_of(root, devices=2)
    with pytest.raises(ValueError, match=r"be 1 and 1 for cross-validate.*got \[2, 1\]"):
        cross_validate(recipe, tmp_path / "cv", [])
    words = words_of(recipe, tmp_path / "search")
    assert main(["search", words[1], "--trials", "1", "--out", str(tmp_path / "s")]) == 2


@pytest.mark.parametrize("name", ["devices", "nodes"])
def test_keras_trains_in_one_process(root: Path, name: str) -> None:
    fields = yaml.safe_load(recipe_of(root).to_yaml())
    fields["training"] |= {name: 2}
    from timeception.recipes.recipe import build_recipe

    with pytest.raises(ValueError, match=rf"training\.{name}=2 requires framework=torch"):
        build_recipe({**fields, "framework": "keras"})


def test_a_batch_must_have_clips_for_every_device(root: Path) -> None:
    with pytest.raises(ValueError, match="use at least 2 clips for each of the 3"):
        recipe_of(root, devices=3)


def test_half_precision_needs_a_gpu(root: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match=r"precision must be 32 or bf16-mixed without a GPU"):
        train(recipe_of(root, precision="16-mixed"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mixed_precision_is_used(root: Path, tmp_path: Path) -> None:
    """The losses differ from those of float32 by the rounding of bfloat16, and no more."""
    run = train(recipe_of(root, precision="bf16-mixed"), tmp_path / "run")
    found, exact = (curves(folder)["train_loss"] for folder in (run.root, root / "one"))
    assert found == pytest.approx(exact, abs=0.05)
    assert np.abs(np.subtract(found, exact)).max() > 1e-5
