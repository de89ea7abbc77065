import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.backbones.golden import Golden
from timeception.backbones import create_backbone
from timeception.backbones.i3d import I3d, same_padding
from timeception.video.transforms import PRESETS


@pytest.fixture(scope="module")
def golden(shared):
    return Golden.load(shared, "i3d_mixed_5c")


def saved(state, folder):
    """The state dict as a checkpoint file."""
    path = folder / "weights.pt"
    torch.save(state, path)
    return str(path)


def video_features_name(name):
    """piergiaj's name of a tensor in the names of video_features."""
    branches = {"b0": "0", "b1a": "1.0", "b1b": "1.1", "b2a": "2.0", "b2b": "2.1", "b3b": "3.1"}
    name = name.replace("logits.", "conv3d_0c_1x1.").replace(".bn.", ".batch3d.")
    name = re.sub(r"\.(b\d[ab]?)\.", lambda found: f".branch_{branches[found[1]]}.", name)
    return name[0].lower() + name[1:]


def test_golden_under_the_names_of_piergiaj(golden, tmp_path):
    backbone = create_backbone("i3d", weights=saved(golden.state(), tmp_path))
    golden.assert_features(backbone)
    assert backbone.weights.family == "I3D (piergiaj)"
    assert backbone.transform == PRESETS["i3d"]


def test_golden_under_the_names_of_video_features(golden, tmp_path):
    """Without batch counters, as files of PyTorch 0.3 are."""
    state = {
        video_features_name(name): tensor
        for name, tensor in golden.state().items()
        if not name.endswith("num_batches_tracked")
    }
    assert "mixed_5c.branch_1.0.batch3d.running_mean" in state
    backbone = create_backbone("i3d", weights=saved(state, tmp_path))
    golden.assert_features(backbone, slice(1, 2))
    assert backbone.weights.family == "I3D (video_features)"
    assert backbone.transform.resize == 256 and not backbone.transform.resize_only_up


@pytest.mark.slow
def test_shapes():
    backbone = create_backbone("i3d", weights="random")
    assert backbone.frames_per_segment == backbone.temporal_stride == 8
    assert backbone.out_channels == 1024 and backbone.map_size(224, 224) == (7, 7)
    assert backbone.output_shape(64, 224, 224) == (1024, 8, 7, 7)
    assert backbone.output_shape(9, 97, 130) == (1024, 2, 4, 5)


@pytest.mark.parametrize(
    ("endpoint", "shape"),
    [
        ("Conv3d_1a_7x7", (64, 8, 112, 112)),
        ("Conv3d_2c_3x3", (192, 8, 56, 56)),
        ("Mixed_3c", (480, 8, 28, 28)),
        ("Mixed_4f", (832, 4, 14, 14)),
        ("logits", (400, 1, 1, 1)),
    ],
)
def test_endpoints(endpoint, shape):
    backbone = create_backbone("i3d", weights="random", endpoint=endpoint)
    assert backbone.output_shape(16, 224, 224) == shape


def test_flow_weights_take_two_channels_and_any_number_of_classes(tmp_path):
    torch.manual_seed(0)
    network = I3d(n_classes=157, in_channels=2)
    file = saved(network.layers.state_dict(), tmp_path)
    backbone = create_backbone("i3d", weights=file, endpoint="logits")
    assert backbone.in_channels == 2
    assert backbone(torch.zeros(1, 2, 8, 32, 32)).shape == (1, 157, 1, 1, 1)
    with pytest.raises(ValueError, match=r"frames must have the shape \(N, 2, T, H, W\)"):
        backbone(torch.zeros(1, 3, 8, 32, 32))


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 4))
def test_same_padding_gives_the_rounded_up_size(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    assert 0 <= after - before <= 1 and before >= 0
    n_outputs = (size + before + after - kernel) // stride + 1
    if kernel >= stride:
        assert n_outputs == -(-size // stride)


def test_temporal_margin_bounds_what_a_step_sees():
    """A frame more than the margin away from a step's own frames does not move its features."""
    torch.manual_seed(0)
    network = I3d(n_classes=1).eval()
    margin = network.temporal_margin
    n_frames = 2 * margin + 24
    step = (margin + 8) // 8  # begins just after margin + 8 frames
    first, last = step * 8 - margin, step * 8 + 7 + margin
    frames = torch.randn(1, 3, n_frames, 8, 8)
    changed = frames.clone()
    changed[:, :, :first] += 5
    changed[:, :, last + 1 :] -= 5
    with torch.no_grad():
        one, two = network(frames, "Mixed_5c"), network(changed, "Mixed_5c")
    assert torch.equal(one[:, :, step], two[:, :, step])
    assert not torch.equal(one[:, :, step - 1], two[:, :, step - 1])


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (None, "weights must name a checkpoint file for 'i3d'.*rgb_imagenet.pt.*'random'"),
        ("absent.pt", r"weights must be an existing file; got 'absent.pt'"),
    ],
)
def test_weights_must_be_given(weights, words):
    with pytest.raises(ValueError, match=words):
        create_backbone("i3d", weights=weights)


def test_wrong_checkpoints_print_both_sides(tmp_path):
    wrong = {"layer1.0.conv1.weight": torch.ones(64, 64, 1, 1)}
    words = r"(?s)for backbone 'i3d'.*missing: Conv3d_1a.*unexpected: layer1.*like 2D-ResNet"
    with pytest.raises(ValueError, match=words):
        create_backbone("i3d", weights=saved(wrong, tmp_path))
    state = I3d().layers.state_dict()
    state["Mixed_3b.b0.bn.bias"] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"Mixed_3b.b0.bn.bias: 3 received, 64 expected"):
        create_backbone("i3d", weights=saved(state, tmp_path))


def test_segments_are_whole_strides():
    with pytest.raises(ValueError, match="frames_per_segment must be a multiple of 8; got 12"):
        create_backbone("i3d", weights="random", frames_per_segment=12)


def test_preprocessing_scales_small_sides_up_only():
    transform = create_backbone("i3d", weights="random").transform
    black = np.zeros((1, 240, 320, 3), np.uint8)
    assert transform(black).shape == (3, 1, 224, 224)
    assert transform(black).min() == transform(black).max() == -1
    assert transform(255 + black[:, :200]).max() == 1
    assert transform.resized_size(240, 320) == (240, 320)
    assert transform.resized_size(120, 160) == (226, 301)
