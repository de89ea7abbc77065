"""Metrics in numpy, computed once over a whole test set.

Scores may be logits, probabilities or any other numbers; only their order matters.
"""

from timeception.metrics.classification import accuracy, confusion_matrix, top_k_accuracy
from timeception.metrics.protocols import (
    PROTOCOLS,
    Protocol,
    ProtocolResult,
    find_protocol,
    measure,
    register_protocol,
)
from timeception.metrics.ranking import (
    MeanAveragePrecision,
    average_precision,
    mean_average_precision,
)

__all__ = [
    "PROTOCOLS",
    "MeanAveragePrecision",
    "Protocol",
    "ProtocolResult",
    "accuracy",
    "average_precision",
    "confusion_matrix",
    "mean_average_precision",
    "find_protocol",
    "measure",
    "register_protocol",
    "top_k_accuracy",
]
