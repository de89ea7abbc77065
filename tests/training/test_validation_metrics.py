"""What the curve says of an epoch's validation: by hand, of the weights that were saved then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.small_runs import (
    FRAMEWORK_WARNINGS,
    curve,
    features_of,
    pooling_logits,
    saved_head,
    small_recipe,
    write_data,
)
from timeception.metrics import average_precision
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS

CLASSES = ("cut", "pour", "stir")
ALL_BUT_THE_BIAS = ["hidden.*", "norm.*", "output.weight"]
N_EPOCHS, N_VALIDATION = 3, 7


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_metrics_are_of_the_whole_set(task: str, framework: str, tmp_path: Path) -> None:
    """Batches of two of seven videos; a rate at which nothing moves, so that epochs are alike."""
    names = [f"v{n}" for n in range(N_VALIDATION)]
    labels = [n % 3 for n in range(N_VALIDATION)]
    rows = [(f"t{n}", CLASSES[n], "train") for n in range(3)]
    rows += [(name, CLASSES[c], "validation") for name, c in zip(names, labels, strict=True)]
    root = write_data(tmp_path, rows)
    arrays = saved_head(tmp_path / "start", CLASSES)
    recipe = small_recipe(
        root,
        framework=framework,
        data__task=task,
        init_from=str(tmp_path / "start"),
        training__epochs=N_EPOCHS,
        training__batch_size=2,
        training__optimizer="sgd",
        training__learning_rate=1e-30,
        training__freeze=ALL_BUT_THE_BIAS,
    )
    run = train(recipe, tmp_path / "run")
    logits = pooling_logits(arrays, features_of(root, names), is_training=False)
    targets = np.eye(3)[labels]
    of_logits, of_probabilities = (
        np.mean([average_precision(scores[:, c], targets[:, c]) for c in range(3)])
        for scores in (logits, np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    )
    assert abs(of_logits - of_probabilities) > 0.01  # softmax changes the order within a class
    expected_map = of_logits if task == "multi-label" else of_probabilities
    assert curve(run, "validation_map") == pytest.approx([expected_map] * N_EPOCHS, abs=1e-6)
    hits = float((logits.argmax(1) == labels).mean())
    expected = [] if task == "multi-label" else [hits] * N_EPOCHS
    assert curve(run, "validation_accuracy") == pytest.approx(expected, abs=1e-6)
    if task == "multi-label":
        losses = np.logaddexp(0, logits) - targets * logits
    else:
        chosen = logits[range(N_VALIDATION), labels]
        losses = np.log(np.exp(logits).sum(1)) - chosen
    assert curve(run, "validation_loss") == pytest.approx([losses.mean()] * N_EPOCHS, abs=1e-5)
