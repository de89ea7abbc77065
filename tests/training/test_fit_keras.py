"""Training in Keras, on whichever backend runs: as in PyTorch, of the same draws."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

import tests.keras  # noqa: F401 - chooses the backend; skips these tests where there is none

# isort: split
import keras

from tests.order_recipe import order_recipe, table
from timeception.clips.sampler import ClipSampler
from timeception.clips.task_data import TaskData, read_task_data
from timeception.evaluation.evaluate import EvaluationReport, evaluate
from timeception.inference.saved_model import load_saved
from timeception.recipes.recipe import Recipe
from timeception.recipes.sections import TrainingSection
from timeception.training.keras import callbacks, optimizers
from timeception.training.keras import fit as fit_keras
from timeception.training.keras.data import TrainingBatches
from timeception.training.runs import Run
from timeception.training.train import train

pytestmark = [
    # Keras calls deprecated parts of numpy, Lightning and TensorBoard those of other packages.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")


def recipe_for(root: Path, framework: str = "keras", **changes: object) -> Recipe:
    return order_recipe(root, framework=framework, **{"model__n_layers": 1, **changes})


def stored(path: Path) -> dict[str, np.ndarray]:
    """Every array of an HDF5 file."""
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: arrays.update({name: item[()]} if hasattr(item, "dtype") else {})
        )
    return arrays


@pytest.fixture(scope="module")
def run(order_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(recipe_for(order_data), tmp_path_factory.mktemp("runs") / "order")


@pytest.fixture(scope="module")
def report(run: Run) -> EvaluationReport:
    return evaluate(run, n_draws=3)


def test_timeception_learns_the_order_of_time(report: EvaluationReport) -> None:
    assert report.average_of_draws.accuracy == 1.0
    assert report.equidistant.mean_average_precision == 1.0


def test_pooling_cannot(order_data: Path, tmp_path: Path) -> None:
    pooled = train(recipe_for(order_data, model__head="pooling"), tmp_path / "pooling")
    result = evaluate(pooled, n_draws=3)
    assert result.average_of_draws.accuracy is not None
    assert result.average_of_draws.accuracy <= 0.8


def test_logs_and_checkpoints_exist(run: Run) -> None:
    rows = table(run.logs / "part_1" / "metrics.csv")
    assert list(rows[0]) == ["epoch", "step", "learning_rate", "train_loss"]
    assert [int(row["step"]) for row in rows] == list(range(1, 60, 2))  # two batches an epoch
    losses = [float(row["train_loss"]) for row in rows]
    assert len(losses) == 30
    assert losses[-1] < losses[0]
    assert (run.checkpoints / "last.weights.h5").is_file()


@needs_torch
def test_either_framework_scores_alike(run: Run, report: EvaluationReport) -> None:
    by_torch = evaluate(run, n_draws=3, framework="torch")
    assert by_torch.average_of_draws == report.average_of_draws
    clips = read_task_data(run.recipe()).split("test").sampler.sample(0, None)[None]
    scores = [load_saved(run.root, framework).score(clips) for framework in ("torch", "keras")]
    np.testing.assert_allclose(*scores, atol=1e-5)
    assert scores[0].sum() == pytest.approx(1, abs=1e-5)


@needs_torch
def test_batches_are_those_of_pytorch(order_data: Path) -> None:
    from timeception.training.torch.data import make_loader

    recipe = recipe_for(order_data, training__batch_size=5, training__workers=3)
    subset = read_task_data(recipe).train
    batches = TrainingBatches(subset, recipe)
    loader = make_loader(
        subset, recipe.model_copy(update={"training": TrainingSection(batch_size=5)}), True
    )
    for epoch in (0, 3):
        batches.set_epoch(epoch)
        loader.batch_sampler.set_epoch(epoch)
        pairs = list(zip(loader, (batches[i] for i in range(len(batches))), strict=True))
        for (theirs, their_targets), (ours, our_targets) in pairs:
            np.testing.assert_array_equal(np.moveaxis(ours, -1, 1), theirs.numpy())
            np.testing.assert_array_equal(our_targets, their_targets.numpy())
    assert [len(ours) for _, (ours, _) in pairs] == [5, 5, 5]  # of 16, one is left out


@needs_torch
def test_training_draws_what_pytorch_draws(
    order_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, set[tuple[int, int | None]]] = {}
    sample = ClipSampler.sample

    for framework in ("torch", "keras"):
        seen = drawn.setdefault(framework, set())

        def spy(
            self: ClipSampler, index: int, clip_index: int | None, seen: set = seen
        ) -> np.ndarray:
            seen.add((index, clip_index))
            return sample(self, index, clip_index)

        monkeypatch.setattr(ClipSampler, "sample", spy)
        recipe = recipe_for(order_data, framework, model__head="pooling", training__epochs=2)
        train(recipe, tmp_path / framework)
    assert drawn["keras"] == drawn["torch"]
    assert len(drawn["keras"]) == 16 * 2 + 1  # the shape is read off a uniform clip


def test_resuming_gives_the_same_weights(
    order_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(
        order_data,
        data__split={"validation_fraction": 0.25},
        training__epochs=4,
        training__checkpoint_every=1,
        training__schedule="cosine",
        training__warmup_epochs=1,
        training__optimizer="sgd",
    )
    whole = train(recipe, tmp_path / "whole")
    begin = callbacks.EpochSeeds.on_epoch_begin

    def stop_in_third_epoch(self: callbacks.EpochSeeds, epoch: int, logs: object) -> None:
        if epoch == 2:
            raise RuntimeError("the power went out")
        begin(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.EpochSeeds, "on_epoch_begin", stop_in_third_epoch)
        with pytest.raises(RuntimeError, match="power"):
            train(recipe, tmp_path / "cut")
    resumed = train(recipe, tmp_path / "cut", resume=True)
    parts = [table(path / "metrics.csv") for path in sorted(resumed.logs.glob("part_*"))]
    assert [[int(row["epoch"]) for row in rows] for rows in parts] == [[0, 1], [2, 3]]
    curve = table(whole.logs / "part_1" / "metrics.csv")
    for name in ("train_loss", "validation_loss", "validation_map"):
        logged = [float(row[name]) for rows in parts for row in rows]
        assert logged == pytest.approx([float(row[name]) for row in curve], abs=1e-5)
    rates = [float(row["learning_rate"]) for row in curve]
    assert rates == pytest.approx([0.0025, 0.005, 0.00375, 0.00125])
    for file in ("last.weights.h5", "best.weights.h5"):  # weights and the optimiser's state
        expected = stored(whole.checkpoints / file)
        for name, array in stored(resumed.checkpoints / file).items():
            np.testing.assert_allclose(array, expected[name], atol=1e-6, err_msg=name)
    last = stored(whole.checkpoints / "last.weights.h5")
    assert any("optimizer" in name for name in last)


def test_a_start_is_taken_and_frozen(run: Run, order_data: Path, tmp_path: Path) -> None:
    tuned = train(
        recipe_for(
            order_data,
            init_from=str(run.model),
            training__epochs=1,
            training__freeze=["timeception.layers.0.*"],
        ),
        tmp_path / "tuned",
    )
    before, after = (load_file(r.model / "model.safetensors") for r in (run, tuned))
    for name, array in after.items():
        is_frozen = name.startswith("timeception.layers.0.")
        assert np.array_equal(array, before[name]) == is_frozen, name


@needs_torch
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "weight_decay": 0.01, "nesterov": True},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "adam", "weight_decay": 0.01},
        {"optimizer": "adam", "epsilon": 1e-8},
        {"optimizer": "adamw", "weight_decay": 0.1},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_steps_are_those_of_pytorch(settings: dict[str, object]) -> None:
    """Three steps on given gradients, the learning rate changed before each."""
    import torch

    from timeception.training.torch.module import make_optimizer

    section = TrainingSection(learning_rate=0.01, **settings)
    rng = np.random.default_rng(0)
    value, *gradients = (rng.normal(size=(4, 40)) * 10.0 ** rng.integers(-6, 1, 40)).astype("f")
    theirs = torch.nn.Parameter(torch.tensor(value))
    ours = keras.Variable(value)
    their_optimizer = make_optimizer([theirs], section)
    our_optimizer = optimizers.make_optimizer(section)
    our_optimizer.build([ours])
    for rate, gradient in zip((0.01, 0.02, 0.005), gradients, strict=True):
        their_optimizer.param_groups[0]["lr"] = our_optimizer.learning_rate = rate
        theirs.grad = torch.tensor(gradient)
        their_optimizer.step()
        our_optimizer.apply([keras.ops.convert_to_tensor(gradient)], [ours])
    moved = theirs.detach().numpy() - value
    assert np.abs(moved).max() > 0.01
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(ours) - value, moved, rtol=1e-4, atol=1e-7
    )


@needs_torch
@pytest.mark.parametrize("is_multilabel", [False, True])
def test_a_training_step_is_that_of_pytorch(is_multilabel: bool) -> None:
    """Two steps of ``model.fit`` on one batch: loss, gradients, batch norm, optimiser."""
    import torch
    import torch.nn.functional as F

    from timeception.spec import ClassifierSpec, TimeceptionSpec
    from timeception.torch import TimeceptionClassifier
    from timeception.training.torch.module import make_optimizer

    section = TrainingSection(learning_rate=0.01, optimizer="adamw", weight_decay=0.1)
    layers = TimeceptionSpec(8, n_layers=1, n_groups=2, bn_momentum=0.1)
    spec = ClassifierSpec(layers, 3, hidden=5, dropout=(0.0, 0.0))
    rng = np.random.default_rng(0)
    clips = rng.normal(size=(6, 4, 2, 1, 8)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 6)]

    theirs = TimeceptionClassifier.from_spec(spec).train()
    ours = fit_keras.TimeceptionClassifier.from_arrays(spec, theirs.to_arrays())
    optimizer, losses = make_optimizer(theirs.parameters(), section), []
    for _ in range(2):
        logits = theirs(torch.from_numpy(clips).movedim(-1, 1))
        if is_multilabel:
            loss = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(targets))
        else:
            loss = F.cross_entropy(logits, torch.from_numpy(targets), label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    smoothing = {"label_smoothing": 0.0 if is_multilabel else 0.1}
    data = TaskData(("a", "b", "c"), is_multilabel, {}, (), {})
    our_loss = fit_keras.make_loss(TrainingSection(**smoothing), data)
    ours.compile(optimizers.make_optimizer(section), our_loss)
    history = ours.fit(clips, targets, batch_size=6, epochs=2, shuffle=False, verbose=0).history
    assert history["loss"] == pytest.approx(losses, abs=1e-5)
    expected = theirs.to_arrays()
    for name, array in ours.to_arrays().items():
        if name.endswith("running_var"):  # PyTorch's variance of a batch is n / (n - 1) of Keras'
            n = 6 if name == "norm.running_var" else 6 * 4 * 2
            first = 0.9**2  # what two steps leave of the initial value
            array = first + (array - first) * n / (n - 1)
        np.testing.assert_allclose(array, expected[name], atol=1e-4, err_msg=name)


def test_end_to_end_training_is_pytorchs(order_data: Path) -> None:
    with pytest.raises(ValueError, match=r"end_to_end requires framework=torch"):
        recipe_for(
            order_data,
            training__scheme="end_to_end",
            data__videos=str(order_data),
            backbone={"name": "efficientnet_lite0"},
        )


def test_the_commands_need_no_lightning(order_data: Path, tmp_path: Path) -> None:
    """``train`` and ``test``, in a process of their own."""
    data = [f"data.source={order_data}/videos.csv", f"data.bank={order_data}/bank"]
    small = ["data.kind=csv", "sampling.n_timesteps=24", "model.head=pooling", "training.epochs=1"]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: order\nframework: keras\n")
    words = ["train", str(recipe), *data, *small, "--out", str(tmp_path / "run")]
    unwanted = {"lightning", "torchvision", "timeception.torch"}
    program = (
        "import sys, timeception.cli as cli\n"
        f"status = cli.main({words}), cli.main({['test', str(tmp_path / 'run'), '--draws', '1']})\n"
        f"print(status, {unwanted} & set(sys.modules))"
    )
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert made.stdout.splitlines()[-1:] == ["(0, 0) set()"], made.stderr
    assert (tmp_path / "run" / "results" / "test.json").is_file()
