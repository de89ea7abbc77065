"""Training, testing and resuming on a problem that only the order of time solves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.order_recipe import order_recipe, table
from timeception.clips.task_data import read_task_data
from timeception.evaluation.evaluate import EvaluationReport, evaluate
from timeception.inference.saved_model import load_saved
from timeception.torch import TimeceptionClassifier
from timeception.torch.fast.native import why_unavailable
from timeception.training.runs import Run, find_run
from timeception.training.torch import module as torch_module
from timeception.training.train import pipeline, train

pytestmark = [
    pytest.mark.slow,  # it trains
    pytest.mark.filterwarnings(
        # Lightning and TensorBoard call deprecated parts of other packages.
        "ignore::DeprecationWarning:lightning",
        "ignore::DeprecationWarning:tensorboard",
        "ignore::DeprecationWarning:torch",
    ),
]


@pytest.fixture(scope="module")
def run(order_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(order_recipe(order_data), tmp_path_factory.mktemp("runs") / "order")


@pytest.fixture(scope="module")
def report(run: Run) -> EvaluationReport:
    return evaluate(run, load_saved(run.root).score, n_draws=3)


def test_timeception_learns_the_order_of_time(report: EvaluationReport) -> None:
    assert report.average_of_draws.accuracy == 1.0
    assert report.equidistant.mean_average_precision == 1.0


def test_scores_are_those_of_the_head(run: Run) -> None:
    saved = load_saved(run.root)
    clips = read_task_data(run.recipe()).split("test").sampler.sample(0, None)[None]
    with torch.inference_mode():
        expected = saved.head.eval()(torch.from_numpy(clips).transpose(1, 2)).softmax(dim=1)
    np.testing.assert_allclose(saved.score(clips), expected.numpy(), atol=1e-5)


def test_on_a_processor_the_kernels_train(order_data: Path) -> None:
    recipe = order_recipe(order_data)
    problem = read_task_data(recipe)
    network = TimeceptionClassifier(8, n_classes=2, n_layers=2, n_groups=1)
    torch_module.Training(network, problem, recipe).on_fit_start()
    expected = "torch" if why_unavailable() else "native"
    assert network.timeception.implementation == expected


def test_pooling_cannot(order_data: Path, tmp_path: Path) -> None:
    pooled = train(order_recipe(order_data, model__head="pooling"), tmp_path / "pooling")
    result = evaluate(pooled, load_saved(pooled.root).score, n_draws=3)
    assert result.average_of_draws.accuracy is not None
    assert result.average_of_draws.accuracy <= 0.8


def test_shuffled_time_cannot(order_data: Path, tmp_path: Path) -> None:
    shuffled = train(order_recipe(order_data, sampling__order="shuffled"), tmp_path / "shuffled")
    result = evaluate(shuffled, load_saved(shuffled.root).score, n_draws=3)
    assert result.average_of_draws.accuracy is not None
    assert result.average_of_draws.accuracy <= 0.8


def test_the_run_folder_holds_everything(run: Run, report: EvaluationReport) -> None:
    assert find_run(run.root).recipe() == run.recipe()
    assert run.recipe().data.bank.is_absolute()
    saved = load_saved(run.root)
    assert saved.classes == ("falling", "rising")
    assert saved.pipeline["task"] == "single-label"
    assert json.loads((run.results / "test.json").read_text()) == report.to_dict()
    rows = table(run.results / "test_scores.csv")
    assert list(rows[0]) == ["record", "labels", "falling", "rising"]
    assert len(rows) == report.n_records == 8
    curve = table(run.logs / "part_1" / "metrics.csv")
    losses = [float(row["train_loss"]) for row in curve if row["train_loss"]]
    assert len(losses) == 30
    assert losses[-1] < losses[0]


def test_scores_are_metrics_of_the_whole_set(run: Run, report: EvaluationReport) -> None:
    """The table of scores gives the reported accuracy again, by hand."""
    rows = table(run.results / "test_scores.csv")
    hits = [
        max(("falling", "rising"), key=lambda c: float(row[c])) == row["labels"] for row in rows
    ]
    assert np.mean(hits) == report.average_of_draws.accuracy


def test_resuming_gives_the_same_weights(
    order_data: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = order_recipe(order_data, training__epochs=4, training__checkpoint_every=1)
    whole = train(recipe, tmp_path / "whole")
    step = torch_module.Training.training_step

    def stop_in_third_epoch(self: torch_module.Training, *batch: object) -> object:
        if self.current_epoch == 2:
            raise RuntimeError("the power went out")
        return step(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(torch_module.Training, "training_step", stop_in_third_epoch)
        with pytest.raises(RuntimeError, match="power"):
            train(recipe, tmp_path / "cut")
    with pytest.raises(ValueError, match="Add --resume"):
        train(recipe, tmp_path / "cut")
    changed = order_recipe(order_data, training__epochs=5, training__checkpoint_every=1)
    with pytest.raises(ValueError, match=r"training\.epochs: 4 in the run, 5 now"):
        train(changed, tmp_path / "cut", resume=True)
    resumed = train(recipe, tmp_path / "cut", resume=True)
    assert [len(table(p / "metrics.csv")) for p in sorted(resumed.logs.glob("part_*"))] == [2, 2]
    expected = load_file(whole.model / "model.safetensors")
    for name, array in load_file(resumed.model / "model.safetensors").items():
        np.testing.assert_allclose(array, expected[name], atol=1e-6, err_msg=name)


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
    order_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe = order_recipe(order_data, training__epochs=4, training__checkpoint_every=1)
    whole = train(recipe, tmp_path / "whole")
    step = torch_module.Training.training_step

    def stop_in_third_epoch(self: torch_module.Training, *batch: object) -> object:
        if self.current_epoch == 2:
            raise RuntimeError("the power went out")
        return step(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(torch_module.Training, "training_step", stop_in_third_epoch)
        with pytest.raises(RuntimeError, match="power"):
            train(recipe, tmp_path / "cut")
    last = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    resumed = train(recipe, tmp_path / "cut", resume=True)
    assert "last.ckpt is damaged" in caplog.text
    assert [len(table(p / "metrics.csv")) for p in sorted(resumed.logs.glob("part_*"))] == [2, 3]
    expected = load_file(whole.model / "model.safetensors")
    for name, array in load_file(resumed.model / "model.safetensors").items():
        np.testing.assert_allclose(array, expected[name], atol=1e-6, err_msg=name)


def test_finished_and_foreign_folders_are_refused(
    run: Run, order_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="holds a finished run"):
        train(order_recipe(order_data), run.root)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="not empty and is not a run folder"):
        train(order_recipe(order_data), tmp_path)
    with pytest.raises(ValueError, match="not a run folder"):
        find_run(tmp_path)


def test_validation_keeps_the_best_checkpoint(order_data: Path, tmp_path: Path) -> None:
    recipe = order_recipe(order_data, data__split={"validation_fraction": 0.25}, training__epochs=3)
    made = train(recipe, tmp_path / "validated")
    rows = table(made.logs / "part_1" / "metrics.csv")
    assert len([row for row in rows if row["validation_map"]]) == 3
    assert (made.checkpoints / "best.ckpt").exists()


def test_videos_without_features_raise(order_data: Path, tmp_path: Path) -> None:
    table = (order_data / "videos.csv").read_text()
    extra = tmp_path / "more.csv"
    extra.write_text(table + "absent.mp4,rising,train\n")
    recipe = order_recipe(
        order_data, data={**order_recipe(order_data).data.model_dump(), "source": extra}
    )
    with pytest.raises(ValueError, match="lacks 1 of 25 videos: absent"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_time_between_timesteps_is_noted_where_it_means_something(order_data: Path) -> None:
    recipe = order_recipe(order_data)
    problem = read_task_data(recipe)
    made = {"backbone": {"name": "any"}}
    assert pipeline(recipe, problem, made)["timestep_seconds"] == 0.5  # 24 steps of 4 frames at 8
    for features in ({"kind": "import"}, made | {"frames_2019": 64}):
        assert pipeline(recipe, problem, features)["timestep_seconds"] is None


def test_one_device_is_used_where_there_are_several(
    order_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timeception.training.runs import Run
    from timeception.training.torch import fit

    asked: dict[str, object] = {}
    monkeypatch.setattr(fit.lightning, "Trainer", lambda **options: asked.update(options))
    fit.make_trainer(order_recipe(order_data), Run(tmp_path), [])
    assert asked["devices"] == 1
