"""What the networks are: their arithmetic, and every constant in which the frameworks differ.

Standard library only.
"""

from timeception.spec.classifiers import ClassifierSpec, PoolingSpec
from timeception.spec.layers import (
    CHANNELS_PER_GROUP,
    DEPTHWISE_BIAS_INIT,
    DILATED_TAPS,
    KERAS_BN_EPS,
    KERNEL_TAPS,
    LEAKY_SLOPE,
    N_BRANCHES,
    TORCH_BN_EPS,
    LayerSpec,
    TimeceptionSpec,
    check_input,
    count_parameters,
    default_groups,
    is_trainable,
)

__all__ = [
    "CHANNELS_PER_GROUP",
    "DEPTHWISE_BIAS_INIT",
    "DILATED_TAPS",
    "KERAS_BN_EPS",
    "KERNEL_TAPS",
    "LEAKY_SLOPE",
    "N_BRANCHES",
    "TORCH_BN_EPS",
    "ClassifierSpec",
    "LayerSpec",
    "PoolingSpec",
    "TimeceptionSpec",
    "check_input",
    "count_parameters",
    "default_groups",
    "is_trainable",
]
