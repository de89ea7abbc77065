"""Image and video networks that make features, by name and endpoint."""

from timeception.backbones import (  # noqa: F401 - they register their names
    efficientnet_lite,
    huggingface,
    i3d,
    image,
    r3d,
    resnet2d,
    torchvision_video,
)
from timeception.backbones.base import LOGITS, Backbone, FeatureNetwork, WeightsRecord
from timeception.backbones.registry import backbone_names, create_backbone, register
from timeception.backbones.segments import (
    Chunk,
    chunk_features,
    continuous_features,
    isolated_features,
    plan_chunks,
)

__all__ = [
    "LOGITS",
    "Backbone",
    "Chunk",
    "FeatureNetwork",
    "WeightsRecord",
    "backbone_names",
    "chunk_features",
    "continuous_features",
    "create_backbone",
    "isolated_features",
    "plan_chunks",
    "register",
]
