"""Image and video networks that compute features, by name and endpoint."""

from timeception.backbones import (  # noqa: F401 - registers their names
    efficientnet_lite,
    huggingface,
    i3d,
    image,
    r3d,
    torchvision_video,
)
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
