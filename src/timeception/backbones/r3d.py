"""3D-ResNets by name: ``r3d_50``, ``r3d_101``, ``r3d_101_kenshohara``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from timeception.backbones import checkpoints, resnet3d_files
from timeception.backbones.base import Backbone, WeightsRecord, seeded
from timeception.backbones.registry import register
from timeception.backbones.resnet3d import ResNet3d, ResNet3dLayout, full_layout, inflated_layout
from timeception.video.transforms import PRESETS, Transform

CHARADES_CLASSES = 157

_PRESETS = {
    "pytorchvideo": PRESETS["kinetics_045"],
    "pyslowfast": PRESETS["kinetics_045"],
    "caffe2": PRESETS["caffe2"],
    "kenshohara": PRESETS["kenshohara"],
}


@register("r3d_50")
@register("r3d_101")
def r3d(
    name: str,
    weights: str,
    endpoint: str | None,
    *,
    stem_pool_padding: int | None = None,
    res5_stride: int = 2,
    res5_dilation: int = 1,
    **options: Any,
) -> Backbone:
    """Inflated 3D-ResNets: 2048 channels after ``res5``, 7x7 at 224, T/2 (slow networks: T).

    Weights: a file with the tensor names of PyTorchVideo (``i3d_r50``, ``slow_r50``), PySlowFast,
    Caffe2 (video-nonlocal-net, long-term feature banks) or, for ``r3d_101``, kenshohara's
    3D-ResNet-101; or ``"random"``. The layout (kernels, temporal pooling, non-local blocks) is
    inferred from the file's tensors. Endpoints: ``stem``, ``res2`` to ``res5``, ``logits``.

    Files of long-term feature banks require ``stem_pool_padding=1`` (the default is 1, and 0 for
    Caffe2 files, as in video-nonlocal-net), ``res5_stride=1`` for their maps of 14x14 and, for AVA,
    ``res5_dilation=2``. The default of ``frames_per_segment`` is 8, or 16 for kenshohara's
    networks. The default transform is the family's: mean 0.45 and std 0.225 (PyTorchVideo and
    PySlowFast, whose networks with 157 classes were trained on BGR), the same on 0..255 (Caffe2),
    or kenshohara's at 112.
    """
    choices: dict[str, Any] = {"res5_stride": res5_stride, "res5_dilation": res5_dilation}
    if stem_pool_padding is not None:
        choices["stem_pool_padding"] = stem_pool_padding
    layout = inflated_layout(int(name.removeprefix("r3d_")), **choices)
    return _build(name, weights, endpoint, layout, "pytorchvideo", choices, **options)


@register("r3d_101_kenshohara")
def r3d_101_kenshohara(name: str, weights: str, endpoint: str | None, **options: Any) -> Backbone:
    """3D-ResNet-101 with kernels of 3x3x3: 2048 channels, T/16, 4x4 at 112.

    Weights: a file of kenshohara's 3D-ResNets-PyTorch, or ``"random"``. Endpoints: ``stem``,
    ``res2`` to ``res5`` (its layer1 to layer4), ``logits``. Files of 2018 require another
    ``transform``: levels 0..255 minus the mean (114.7748, 107.7354, 99.4750), std 1.
    """
    return _build(name, weights, endpoint, full_layout(101), "kenshohara", {}, **options)


def _build(
    name: str,
    weights: str,
    endpoint: str | None,
    layout: ResNet3dLayout,
    family: str,
    choices: dict[str, Any],
    *,
    seed: int = 0,
    transform: Transform | None = None,
    batch_size: int = 2,
    frames_per_segment: int | None = None,
) -> Backbone:
    """Make the backbone; random weights use ``layout`` and ``family``."""
    if weights == "random":
        with seeded(seed):
            network, record = ResNet3d(layout), WeightsRecord.random(seed)
    else:
        file = checkpoints.read_given(name, weights, "I3D_8x8_R50.pyth of PyTorchVideo")
        network = _loaded(file, name, layout, choices)
        family, record = file.key, WeightsRecord(file.name, file.title)
    preset = _PRESETS[family]
    if family == "pyslowfast" and network.head.out_features == CHARADES_CLASSES:
        preset = preset.replace(channel_order="bgr")
    return Backbone(
        name,
        network,
        transform or preset,
        record,
        endpoint=endpoint,
        frames_per_segment=frames_per_segment or (16 if family == "kenshohara" else 8),
        temporal_stride=network.layout.temporal_stride,
        batch_size=batch_size,
    )


def _loaded(
    file: checkpoints.StateFile, name: str, layout: ResNet3dLayout, choices: dict[str, Any]
) -> ResNet3d:
    """Load the network of a file; a wrong family or depth raises an error with both sides."""
    state = file.state
    if file.key in resnet3d_files.FAMILIES:
        state = resnet3d_files.canonical(file.state, file.key)
        if file.key == "caffe2":
            choices = {"stem_pool_padding": 0, **choices}
        found = replace(resnet3d_files.layout_of(state, file), **choices)
        if found.depths == layout.depths:
            layout = found
    head = state.get("head.weight")
    with torch.device("meta"):
        network = ResNet3d(layout, 400 if head is None else head.shape[0])
    checkpoints.load_file(network, file, state, name)
    return network
