"""Weights of classes in the loss: by frequency in the training split, or as given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.clips.task_data import TaskData
from timeception.recipes.sections import TrainingSection

Floats = NDArray[np.float32]


def class_weights(settings: TrainingSection, data: TaskData) -> Floats | None:
    """Return the weight of each class, (n_classes,), or ``None`` if all classes count alike.

    A weight multiplies the loss of a positive: of a clip of the class in single-label data, of the
    class itself (``pos_weight``) in multi-label data. ``balanced`` weights are

    - single-label: n / (n_classes * n_positives), so that their mean over the clips is 1;
    - multi-label: n_negatives / n_positives, so that both sides weigh alike.

    A class without positives, or without negatives in multi-label data, has weight 1.

    Raises:
        ValueError: if a given weight is of an unknown class.
    """
    given = settings.class_weights
    if given is None:
        return None
    if given == "balanced":
        return balanced(data.train.targets, data.is_multilabel)
    for name in given:
        checks.one_of("training.class_weights", name, data.classes)
    return np.array([given.get(name, 1.0) for name in data.classes], np.float32)


def balanced(targets: Floats, is_multilabel: bool) -> Floats:
    """Return balanced weights for multi-hot targets (N, n_classes).

    Source: ``class_weight="balanced"`` of scikit-learn; ``pos_weight`` of PyTorch.

    Example:
        >>> balanced(np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32), False).tolist()
        [0.6666666865348816, 2.0]
        >>> balanced(np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32), True).tolist()
        [0.3333333432674408, 3.0]
    """
    n, n_classes = targets.shape
    positives = targets.sum(axis=0)
    wanted = n - positives if is_multilabel else np.full(n_classes, n / n_classes)
    is_usable = (positives > 0) & (wanted > 0)
    weights = np.divide(wanted, positives, out=np.ones(n_classes), where=is_usable)
    return weights.astype(np.float32)
