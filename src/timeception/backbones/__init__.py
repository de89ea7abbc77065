"""Image and video networks that make features, by name and endpoint."""

from timeception.backbones import image as _image  # noqa: F401 - registers
from timeception.backbones.base import LOGITS, Backbone, FeatureNetwork, WeightsRecord
from timeception.backbones.registry import backbone_names, create_backbone, register

__all__ = [
    "LOGITS",
    "Backbone",
    "FeatureNetwork",
    "WeightsRecord",
    "backbone_names",
    "create_backbone",
    "register",
]
