"""Timeception for PyTorch."""

from timeception.torch.classifier import PoolingClassifier, TimeceptionClassifier
from timeception.torch.heads import Head, classifier_class
from timeception.torch.layers import TimeceptionLayer
from timeception.torch.localizer import TimeceptionLocalizer
from timeception.torch.network import Timeception
from timeception.torch.streaming import Evidence, StreamingClassifier

__all__ = [
    "Timeception",
    "TimeceptionClassifier",
    "TimeceptionLayer",
    "TimeceptionLocalizer",
    "PoolingClassifier",
    "StreamingClassifier",
    "Evidence",
    "Head",
    "classifier_class",
]
