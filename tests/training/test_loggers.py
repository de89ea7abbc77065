"""Each logger receives every value of every epoch, in both frameworks, also after a resumption."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.training.small_runs import FRAMEWORK_WARNINGS, cut_power, small_recipe, write_data
from timeception.cli import main
from timeception.recipes.recipe import Recipe
from timeception.training import curves as curves_module
from timeception.training import loggers as loggers_module
from timeception.training.curves import Curves, read_curves
from timeception.training.runs import Run
from timeception.training.train import train

pytestmark = [
    *FRAMEWORK_WARNINGS,
    # The clients call deprecated parts of other packages, and leave files to the garbage collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

N_EPOCHS, N_VIDEOS = 4, 4
NAMES = ("learning_rate", "train_loss", "validation_loss", "validation_map", "validation_accuracy")


@pytest.fixture
def recipe(tmp_path: Path, framework: str) -> Recipe:
    rows = [(f"t{n}", ("cut", "pour")[n % 2], "train") for n in range(N_VIDEOS)]
    rows += [(f"v{n}", ("cut", "pour")[n % 2], "validation") for n in range(2)]
    write_data(tmp_path, rows, n_steps=40)
    return small_recipe(
        tmp_path,
        framework=framework,
        training__epochs=N_EPOCHS,
        training__batch_size=2,
        training__learning_rate=0.01,
        training__schedule="cosine",
        training__checkpoint_every=1,
    )


def with_loggers(recipe: Recipe, *names: str) -> Recipe:
    training = recipe.training.model_copy(update={"loggers": ("csv", *names)})
    return recipe.model_copy(update={"training": training})


def of_tensorboard(run: Run, part: str) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(run.logs / part)).Reload()
    found = {name: events.Tensors(name) for name in (*NAMES, "epoch")}
    return by_epoch(
        {n: [(e.step, make_ndarray(e.tensor_proto).item()) for e in es] for n, es in found.items()}
    )


def of_wandb(run: Run, part: str) -> Curves:
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = (run.logs / part / "wandb").glob("offline-run-*/run-*.wandb")
    found: dict[str, list[tuple[int, float]]] = {}
    for data in wandb_records(file.read_bytes()):
        history = Record.FromString(data).history
        for item in history.item:
            name = item.key or item.nested_key[0]
            if not name.startswith("_"):
                found.setdefault(name, []).append((history.step.num, json.loads(item.value_json)))
    return by_epoch(found)


def wandb_records(data: bytes) -> Iterator[bytes]:
    """The records of a file of Weights & Biases: LevelDB's log format after a header of 7 bytes."""
    place, record, size = 7, b"", 32768
    while place + 7 <= len(data):
        if size - place % size < 7:  # too short for a header: padding
            place += size - place % size
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield record
            record = b""


def of_mlflow(run: Run, part: str) -> Curves:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run.logs.absolute()}/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    (made,) = client.search_runs([experiment.experiment_id])
    assert made.info.status == "FINISHED"
    assert made.data.params["training.epochs"] == str(N_EPOCHS)
    history = {n: client.get_metric_history(made.info.run_id, n) for n in (*NAMES, "epoch")}
    return by_epoch({n: [(m.step, m.value) for m in values] for n, values in history.items()})


def by_epoch(found: dict[str, list[tuple[int, float]]]) -> Curves:
    """Curves from pairs of step and value; the curve ``epoch`` maps steps to epochs."""
    epochs = {step: int(value) for step, value in found.pop("epoch")}
    return {name: {epochs[s]: value for s, value in pairs} for name, pairs in found.items()}


READERS: dict[str, Callable[[Run, str], Curves]] = {
    "tensorboard": of_tensorboard,
    "wandb": of_wandb,
    "mlflow": of_mlflow,
}


def test_every_logger_has_the_values_of_the_table(recipe: Recipe, tmp_path: Path) -> None:
    run = train(with_loggers(recipe, *READERS), tmp_path / "run")
    expected = read_curves(run.logs)
    assert set(expected) == set(NAMES)
    assert expected["learning_rate"] == pytest.approx(
        {0: 0.01, 1: 0.0085355, 2: 0.005, 3: 0.0014645}, abs=1e-6
    )
    for name, read in READERS.items():
        found = read(run, "part_1")
        assert set(found) == set(NAMES), name
        for key, values in expected.items():
            assert found[key] == pytest.approx(values, rel=1e-5), (name, key)


def test_no_other_file_is_written(recipe: Recipe, tmp_path: Path) -> None:
    run = train(recipe, tmp_path / "run")
    names = {path.name for path in run.logs.rglob("*") if path.is_file()}
    assert names - {"hparams.yaml"} == {"metrics.csv"}


def test_a_resumed_training_keeps_the_old_curves(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = with_loggers(recipe, "tensorboard", "mlflow")
    with monkeypatch.context() as patch:
        cut_power(patch, after=2 * N_VIDEOS + 3)
        with pytest.raises(Exception, match="the power went out"):
            train(recipe, tmp_path / "cut")
    drawn = Run(tmp_path / "cut").curves_file.read_bytes()
    resumed = train(recipe, tmp_path / "cut", resume=True)
    whole = read_curves(train(recipe, tmp_path / "whole").logs)
    found = read_curves(resumed.logs)
    logged = of_mlflow(resumed, "")
    for key, values in whole.items():
        assert found[key] == pytest.approx(values, abs=1e-5), key
        assert logged[key] == pytest.approx(values, abs=1e-5), key
    first = of_tensorboard(resumed, "part_1")["train_loss"]
    assert first and first == pytest.approx({e: whole["train_loss"][e] for e in first}, rel=1e-5)
    assert resumed.curves_file.read_bytes() != drawn


def test_a_missing_package_is_refused_before_training(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers_module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"wandb, which is not installed.*timeception\[wandb\]"):
        train(with_loggers(recipe, "wandb"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_matplotlib_training_says_so(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves_module, "find_spec", lambda name: None)
    lines: list[str] = []
    run = train(recipe, tmp_path / "run", report=lines.append)
    assert [line for line in lines if "matplotlib is not installed" in line]
    assert run.is_finished and not run.curves_file.exists()


def test_an_unknown_logger_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "validate", "gtea", "training.loggers=[tensorbord]"]) == 2
    assert "training.loggers" in capsys.readouterr().err


def test_later_parts_replace_epochs_of_earlier_ones(tmp_path: Path) -> None:
    for part, text in (
        ("part_1", "epoch,step,a,b\n0,1,1.0,\n0,1,,5\n1,3,2.0,6\n"),
        ("part_10", "epoch,step,a\n2,5,9.0\n"),
        ("part_2", "epoch,step,a\n1,3,7.0\n2,5,8.0\n"),
    ):
        (tmp_path / part).mkdir()
        (tmp_path / part / "metrics.csv").write_text(text)
    assert read_curves(tmp_path) == {"a": {0: 1.0, 1: 7.0, 2: 9.0}, "b": {0: 5.0, 1: 6.0}}
