"""Timeception for Keras 3, on its TensorFlow, JAX and PyTorch backends.

Importing this package registers the classes with ``keras.saving.load_model``.
"""

import timeception.import_order  # noqa: F401 - before Keras
from timeception.keras.classifier import PoolingClassifier, TimeceptionClassifier, classifier_class
from timeception.keras.layers import MaxLayer, TimeceptionLayer
from timeception.keras.localizer import TimeceptionLocalizer
from timeception.keras.network import Timeception

__all__ = [
    "Timeception",
    "TimeceptionClassifier",
    "TimeceptionLayer",
    "TimeceptionLocalizer",
    "MaxLayer",
    "PoolingClassifier",
    "classifier_class",
]
