"""Training in Keras, on the backend that ``KERAS_BACKEND`` names.

Clips, their order, losses, optimisers, the schedule and the distributions of initial values equal
those of training in PyTorch. Two things differ: initial values and dropout come from Keras' random
generators, and moving variances use the variance of the batch, which PyTorch multiplies by
n / (n - 1).
"""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.task_data import TaskData
from timeception.keras import TimeceptionClassifier, classifier_class
from timeception.recipes.recipe import Recipe
from timeception.training.initialization import Start
from timeception.training.keras.callbacks import EpochLogs, Reports, make_callbacks, weights_file
from timeception.training.keras.data import TrainingBatches, set_random_seed
from timeception.training.keras.losses import make_loss
from timeception.training.keras.optimizers import make_optimizer
from timeception.training.loggers import open_loggers
from timeception.training.progress import OnProgress, TrainingProgress, ignore
from timeception.training.runs import Run
from timeception.weights.folder import ModelSpec


def check(recipe: Recipe, data: TaskData) -> None:
    """Check that the options of training fit the data.

    Raises:
        ValueError: if the loss does not suit the task, or batches remain that make no step.
    """
    make_loss(recipe.training, data)
    n_batches, n_accumulated = (
        len(TrainingBatches(data.train, recipe)),
        recipe.training.accumulate_batches,
    )
    checks.require(
        n_batches % n_accumulated == 0,
        "training.accumulate_batches",
        f"divide the {n_batches} batches of an epoch: Keras would carry the rest into the next",
        n_accumulated,
        "Choose another training.batch_size, or train with framework=torch.",
    )


def fit(
    recipe: Recipe,
    data: TaskData,
    run: Run,
    spec: ModelSpec,
    start: Start,
    on_progress: OnProgress = ignore,
) -> dict[str, NDArray[np.float32]]:
    """Train a head; resume from the run's last checkpoint if there is one.

    Returns:
        The head's canonical arrays: of the epoch with the best validation mAP, or of the last
        epoch if the recipe has no validation split.
    """
    set_random_seed(recipe.seed)
    model = make_model(recipe, data, spec, start)
    batches = TrainingBatches(data.train, recipe)
    run.checkpoints.mkdir(exist_ok=True)
    last = weights_file(run, "last")
    if last.exists():
        model.load_weights(last)
    n_done = int(model.optimizer.iterations) * recipe.training.accumulate_batches // len(batches)
    batches.set_epoch(n_done)
    progress = TrainingProgress.of(recipe, data)
    progress.first_epoch = progress.epoch = n_done
    folder = run.next_logs()
    with closing(EpochLogs(folder, open_loggers(recipe, run, folder))) as logs:
        model.fit(
            batches,
            epochs=recipe.training.epochs,
            initial_epoch=n_done,
            callbacks=[
                *make_callbacks(recipe, data, run, batches, logs),
                Reports(progress, on_progress, len(data.train), len(batches)),
            ],
            shuffle=False,  # the batches are in the order of the epoch
            verbose=1 if sys.stdout.isatty() else 0,
        )
    if data.validation is not None:
        model.load_weights(weights_file(run, "best"))
    return model.to_arrays()


def make_model(recipe: Recipe, data: TaskData, spec: Any, start: Start) -> Any:
    """Build and compile the head with its initial values, and build its optimiser."""
    model = classifier_class(spec).from_spec(spec)
    model.load_arrays(model.to_arrays() | start.arrays)
    freeze(model, start.frozen)
    model.compile(make_optimizer(recipe.training), make_loss(recipe.training, data))
    model.optimizer.build(model.trainable_variables)
    return model


def freeze(model: Any, frozen: tuple[str, ...]) -> None:
    """Freeze variables; batch norms whose variables are all frozen run in inference mode."""
    for name, variable in model.canonical_variables().items():
        if name in frozen:
            variable.trainable = False
    layers = model.timeception.layers if isinstance(model, TimeceptionClassifier) else []
    norms = {f"timeception.layers.{index}.norm": layer.norm for index, layer in enumerate(layers)}
    for name, norm in {"norm": model.norm, **norms}.items():
        arrays = [f"{name}.{each}" for each in ("weight", "bias", "running_mean", "running_var")]
        if set(arrays) <= set(frozen):
            norm.trainable = False
