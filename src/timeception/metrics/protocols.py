"""Protocols: named sets of metrics, among them the published ones of each data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from timeception import checks, plugins
from timeception.metrics.classification import confusion_matrix, top_k_accuracy
from timeception.metrics.inputs import scores_and_classes, scores_and_targets, unique_names
from timeception.metrics.ranking import Ties, mean_average_precision

ENTRY_POINT_GROUP = "timeception.protocols"

Unlabelled = Literal["keep", "minus_infinity", "skip"]


@dataclass(frozen=True)
class ProtocolResult:
    """The metrics of a protocol on a test set.

    Args:
        protocol: Name of the protocol.
        n_items: Number of items measured.
        n_left_out: Number of items that the protocol leaves out.
        values: Metrics as fractions, by name, such as ``mean_average_precision`` or
            ``top_1_accuracy``.
        per_class: Average precision, or accuracy on the items of the class, by class.
        classes_without_positives: Classes that cannot be measured.
    """

    protocol: str
    n_items: int
    n_left_out: int
    values: dict[str, float]
    per_class: dict[str, float]
    classes_without_positives: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON."""
        return {
            "protocol": self.protocol,
            "n_items": self.n_items,
            "n_left_out": self.n_left_out,
            **self.values,
            "per_class": self.per_class,
            "classes_without_positives": list(self.classes_without_positives),
        }


@dataclass(frozen=True)
class Protocol:
    """A named set of metrics.

    Args:
        name: Unique name, reported with the numbers.
        description: One sentence.
        measure: Computes the metrics from scores (N, n_classes), targets (N, n_classes) and class
            names.
        is_multilabel: Whether an item may have any number of classes; otherwise it has one.
    """

    name: str
    description: str
    measure: Callable[[ArrayLike, ArrayLike, Sequence[str] | None], ProtocolResult]
    is_multilabel: bool


def multilabel(
    name: str,
    scores: ArrayLike,
    targets: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    ties: Ties = "together",
    unlabelled: Unlabelled = "keep",
) -> ProtocolResult:
    """Mean average precision, unweighted and weighted by the number of positives of each class.

    Items without a class are kept (``unlabelled="keep"``), have all their scores set to
    ``minus_infinity``, or are left out (``skip``). The last two are equivalent if the scores of all
    labelled items are finite, because items that rank below all positives of a class do not change
    the precision at any of them. Other arguments are as in ``mean_average_precision``.

    Raises:
        ValueError: As ``mean_average_precision``.
    """
    values, positive = scores_and_targets(scores, targets)
    is_empty = positive.sum(axis=1) == 0
    if unlabelled == "minus_infinity":
        values = np.where(is_empty[:, None], -np.inf, values)
    elif checks.one_of("unlabelled", unlabelled, ("keep", "minus_infinity", "skip")) == "skip":
        checks.require(not is_empty.all(), "targets", "contain at least one positive", "none")
        values, positive = values[~is_empty], positive[~is_empty]
    result = mean_average_precision(values, positive, class_names, ties)
    weights = positive.sum(axis=0)[positive.any(axis=0)]
    per_class = np.array(list(result.per_class.values()))
    return ProtocolResult(
        name,
        n_items=len(values),
        n_left_out=len(is_empty) - len(values),
        values={
            "mean_average_precision": result.mean,
            "weighted_average_precision": float((per_class * weights).sum() / weights.sum()),
        },
        per_class=result.per_class,
        classes_without_positives=result.classes_without_positives,
    )


def single_label(
    name: str,
    scores: ArrayLike,
    targets: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    ks: Sequence[int] = (1,),
) -> ProtocolResult:
    """Top-k accuracies, and the mean over classes of the accuracy on each class's items.

    There is one ``top_K_accuracy`` for each of ``ks``; k is limited to the number of classes. Other
    arguments are as in ``measure``.

    Raises:
        ValueError: As ``top_k_accuracy``.
    """
    values, true = scores_and_classes(scores, targets)
    names = unique_names(class_names, values.shape[1])
    counts = confusion_matrix(values, true)
    n_items = counts.sum(axis=1)
    found = np.flatnonzero(n_items).tolist()
    per_class = {names[c]: float(counts[c, c] / n_items[c]) for c in found}
    n_classes = len(names)
    measured = {f"top_{k}_accuracy": top_k_accuracy(values, true, min(k, n_classes)) for k in ks}
    measured["mean_class_accuracy"] = float(np.mean(list(per_class.values())))
    return ProtocolResult(
        name,
        n_items=len(values),
        n_left_out=0,
        values=measured,
        per_class=per_class,
        classes_without_positives=tuple(names[c] for c in np.flatnonzero(n_items == 0)),
    )


#: Every protocol by name. Use ``find_protocol``, which also finds those of other packages.
PROTOCOLS: dict[str, Protocol] = {}


def register_protocol(protocol: Protocol) -> None:
    """Make a protocol available to recipes and to ``measure``.

    Other packages call this from the entry-point group ``timeception.protocols``.

    Raises:
        ValueError: If another protocol has its name.
    """
    checks.require(protocol.name not in PROTOCOLS, "name", "be new", protocol.name)
    PROTOCOLS[protocol.name] = protocol


def find_protocol(name: str) -> Protocol:
    """Return the protocol of a name.

    Raises:
        ValueError: If no protocol has it; the error lists the names.
    """
    if name not in PROTOCOLS:
        plugins.load(ENTRY_POINT_GROUP)
    return PROTOCOLS[checks.one_of("protocol", name, tuple(PROTOCOLS))]


def _register(name: str, description: str, measure: Callable[..., Any], **options: Any) -> None:
    computed = partial(measure, name, **options)
    register_protocol(Protocol(name, description, computed, is_multilabel=measure is multilabel))


# Sources: ``Charades_v1_classify.m`` of the Charades evaluation code; the papers.
_register("map", "mAP over all items; equal scores share a rank", multilabel)
_register(
    "charades_official",
    "Charades mAP; unlabelled videos score minus infinity, equal scores rank in input order",
    multilabel,
    ties="in_order",
    unlabelled="minus_infinity",
)
_register(
    "charades_skip_unlabelled",
    "Charades mAP over the videos with an action; equal scores rank in input order",
    multilabel,
    ties="in_order",
    unlabelled="skip",
)
_register("breakfast_activities", "Breakfast, 10-way accuracy", single_label)
_register("breakfast_actions", "Breakfast, 48-way mAP", multilabel)
_register("multithumos", "MultiTHUMOS, 65-way video-level mAP", multilabel)
_register("kinetics", "Kinetics-400, top-1 and top-5 accuracy", single_label, ks=(1, 5))
_register("accuracy", "top-1 accuracy", single_label)


def measure(
    protocol: str, scores: ArrayLike, targets: ArrayLike, class_names: Sequence[str] | None = None
) -> ProtocolResult:
    """Compute the metrics of a protocol.

    Args:
        protocol: Name of the protocol.
        scores: Shape (N, n_classes), one row per item of the whole test set.
        targets: Shape (N, n_classes), 0 or 1; for single-label protocols also indices (N,).
        class_names: Names by column; ``None`` uses the column numbers.

    Raises:
        ValueError: If the protocol is unknown, or scores and targets are invalid for it.

    Example:
        >>> result = measure("charades_official", [[0.9], [0.8], [0.7]], [[0], [1], [1]])
        >>> result.values["mean_average_precision"]  # the unlabelled first item ranks last
        1.0
    """
    return find_protocol(protocol).measure(scores, targets, class_names)
