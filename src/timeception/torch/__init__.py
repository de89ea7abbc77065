"""Timeception for PyTorch."""

from timeception.torch.classifier import PoolingClassifier, TimeceptionClassifier
from timeception.torch.layers import TimeceptionLayer
from timeception.torch.network import Timeception

__all__ = ["Timeception", "TimeceptionClassifier", "TimeceptionLayer", "PoolingClassifier"]
