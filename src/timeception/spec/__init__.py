"""The arithmetic of the networks, and every constant in which the frameworks differ.

Standard library only.
"""

from timeception.spec.classifiers import ClassifierSpec, PoolingSpec
from timeception.spec.heads import HeadSpec
from timeception.spec.layers import (
    CHANNELS_PER_GROUP,
    DEPTHWISE_BIAS_INIT,
    DILATED_TAPS,
    KERAS_BN_EPS,
    KERAS_BN_MOMENTUM,
    KERNEL_TAPS,
    LEAKY_SLOPE,
    N_BRANCHES,
    TORCH_BN_EPS,
    TORCH_BN_MOMENTUM,
    LayerSpec,
    TimeceptionSpec,
    channels_of,
    check_input,
    count_parameters,
    default_groups,
    is_trainable,
)
from timeception.spec.localizers import LocalizerSpec

__all__ = [
    "CHANNELS_PER_GROUP",
    "DEPTHWISE_BIAS_INIT",
    "DILATED_TAPS",
    "KERAS_BN_EPS",
    "KERAS_BN_MOMENTUM",
    "KERNEL_TAPS",
    "LEAKY_SLOPE",
    "N_BRANCHES",
    "TORCH_BN_EPS",
    "TORCH_BN_MOMENTUM",
    "ClassifierSpec",
    "LayerSpec",
    "HeadSpec",
    "LocalizerSpec",
    "PoolingSpec",
    "TimeceptionSpec",
    "channels_of",
    "check_input",
    "count_parameters",
    "default_groups",
    "is_trainable",
]
