"""3D-ResNets of five families: recorded features, names, layouts, preprocessing."""

import pickle
import re

import numpy as np
import pytest
import torch

from tests.backbones.golden import Golden
from timeception.backbones import create_backbone
from timeception.backbones.resnet3d import (
    NonLocal,
    ResNet3d,
    ResNet3dLayout,
    inflated_layout,
)
from timeception.video.transforms import PRESETS

PYTORCHVIDEO_STAGES = {1: 2, 3: 3, 4: 4, 5: 5}  # block 2 of i3d_r50 is the temporal pooling


@pytest.fixture(scope="module")
def golden(shared):
    return Golden.load(shared, "r3d_50_res5")


@pytest.fixture(scope="module")
def state(golden):
    return golden.state()


def saved(content, folder, name="weights.pyth"):
    torch.save(content, folder / name)
    return str(folder / name)


def pyslowfast_name(name):
    """PyTorchVideo's name of a tensor in PySlowFast's names."""
    name = re.sub(r"blocks\.0\.conv", "s1.pathway0_stem.conv", name)
    name = re.sub(r"blocks\.0\.norm", "s1.pathway0_stem.bn", name)
    name = re.sub(
        r"blocks\.(\d)\.res_blocks\.(\d+)\.",
        lambda m: f"s{PYTORCHVIDEO_STAGES[int(m[1])]}.pathway0_res{m[2]}.",
        name,
    )
    name = name.replace("branch1_conv", "branch1").replace("branch1_norm", "branch1_bn")
    name = re.sub(r"branch2\.conv_([abc])", r"branch2.\1", name)
    name = re.sub(r"branch2\.norm_([abc])", r"branch2.\1_bn", name)
    return re.sub(r"blocks\.\d\.proj", "head.projection", name)


def caffe2_name(name):
    """PyTorchVideo's name of a tensor in Caffe2's names."""
    name = pyslowfast_name(name)
    name = name.replace("s1.pathway0_stem.conv", "conv1").replace("s1.pathway0_stem.bn", "conv1_bn")
    name = re.sub(r"^conv1_bn", "res_conv1_bn", name)
    name = re.sub(r"s(\d)\.pathway0_res(\d+)\.", r"res\1_\2_", name)
    name = name.replace("branch2.", "branch2").replace("head.projection", "pred")
    leaves = {"running_mean": "rm", "running_var": "riv", "bias": "b"}
    leaves["weight"] = "s" if "_bn." in name else "w"
    stem, leaf = name.rsplit(".", 1)
    return f"{stem}_{leaves[leaf]}"


def without_counters(state):
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def test_golden_50_under_the_names_of_pytorchvideo(golden, state, tmp_path):
    backbone = create_backbone("r3d_50", weights=saved({"model_state": state}, tmp_path))
    golden.assert_features(backbone)
    assert backbone.weights.family == "3D-ResNet (PyTorchVideo)"
    assert backbone.transform == PRESETS["kinetics_045"]
    assert backbone.network.layout == inflated_layout(50)


def test_golden_101_under_the_names_of_pyslowfast(shared, tmp_path):
    golden = Golden.load(shared, "r3d_101_res5")
    state = {pyslowfast_name(k): v for k, v in golden.state().items()}
    assert "s4.pathway0_res22.branch2.a_bn.weight" in state
    content = {"epoch": 1, "model_state": state, "cfg": "a text"}
    backbone = create_backbone("r3d_101", weights=saved(content, tmp_path))
    golden.assert_features(backbone, slice(1, 2))
    assert backbone.weights.family == "3D-ResNet (PySlowFast)"


def test_golden_50_under_the_names_of_caffe2(golden, state, tmp_path):
    blobs = {caffe2_name(k): v.numpy() for k, v in without_counters(state).items()}
    assert {"conv1_w", "res_conv1_bn_s", "res2_0_branch2a_w", "res2_0_branch1_bn_riv"} < set(blobs)
    training = {"conv1_w_momentum": blobs["conv1_w"], "lr": np.float32([0.1]), "model_iter": 3}
    file = tmp_path / "r50_baseline.pkl"
    file.write_bytes(pickle.dumps({"blobs": {**blobs, **training}}, protocol=2))
    backbone = create_backbone("r3d_50", weights=str(file), stem_pool_padding=1)
    golden.assert_features(backbone, slice(1, 2))
    assert backbone.weights.family == "3D-ResNet (Caffe2)"
    assert backbone.transform == PRESETS["caffe2"]


SMALL = ResNet3dLayout(((3,), (3,), (1,), (3,)), stem_kernel=3)
FULL = ResNet3dLayout(((1, 1), (1, 1), (1,), (1, 1)), stem_kernel=7, is_full_3d=True)


def small_backbone(folder, content, monkeypatch, **options):
    """A network of four blocks through the loader of files."""
    monkeypatch.setattr("timeception.backbones.r3d.inflated_layout", lambda depth, **_: SMALL)
    return create_backbone("r3d_50", weights=saved(content, folder), **options)


def network_of(layout, n_classes=5):
    torch.manual_seed(0)
    network = ResNet3d(layout, n_classes).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.uniform_(-0.1, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return network


def in_caffe2_names(state):
    """The one set of names in Caffe2's, of networks with non-local blocks too."""
    renamed = {}
    for name, tensor in without_counters(state).items():
        is_norm = "norm." in name
        name = re.sub(r"^stem\.norm", "res_conv1_bn", name)
        name = re.sub(r"^stem\.conv", "conv1", name)
        name = re.sub(r"^res(\d)\.(\d+)\.non_local\.norm", r"nonlocal_conv\1_\2_bn", name)
        name = re.sub(r"^res(\d)\.(\d+)\.non_local\.", r"nonlocal_conv\1_\2_", name)
        name = re.sub(r"^res(\d)\.(\d+)\.([abc])", r"res\1_\2_branch2\3", name)
        name = re.sub(r"^res(\d)\.(\d+)\.shortcut", r"res\1_\2_branch1", name)
        name = name.replace("_norm.", "_bn.").replace("head", "pred")
        stem, leaf = name.rsplit(".", 1)
        leaves = {"running_mean": "rm", "running_var": "riv", "bias": "b"}
        renamed[f"{stem}_{leaves.get(leaf, 's' if is_norm else 'w')}"] = tensor.numpy()
    return renamed


def test_caffe2_affine_files_scale_and_shift(tmp_path, monkeypatch):
    """Scales and offsets alone stand for batch norms with their statistics folded in."""
    network = network_of(ResNet3dLayout(SMALL.kernels, stem_kernel=3, non_local=((), (0,), (), ())))
    state = network.state_dict()
    affine = dict(state)
    for name in [name for name in state if name.endswith("running_var")]:
        norm = name.removesuffix("running_var")
        scale = state[f"{norm}weight"] / (state[name] + 1e-5).sqrt()
        affine[f"{norm}bias"] = state[f"{norm}bias"] - state[f"{norm}running_mean"] * scale
        affine[f"{norm}weight"] = scale
        del affine[name], affine[f"{norm}running_mean"]
    blobs = in_caffe2_names(affine)
    assert "nonlocal_conv3_0_theta_w" in blobs and "nonlocal_conv3_0_bn_s" in blobs
    assert not any(name.endswith(("_rm", "_riv")) for name in blobs)
    blobs["pred_w"] = blobs["pred_w"][:, :, None, None, None]
    file = tmp_path / "affine.pkl"
    file.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    monkeypatch.setattr("timeception.backbones.r3d.inflated_layout", lambda depth, **_: SMALL)
    unpadded = create_backbone("r3d_50", weights=str(file))
    assert unpadded.network.layout.stem_pool_padding == 0 and unpadded.map_size(224, 224) == (7, 7)
    frames = torch.randn(1, 3, 4, 32, 32)
    for endpoint in ("res5", "logits"):
        backbone = create_backbone(
            "r3d_50", weights=str(file), stem_pool_padding=1, endpoint=endpoint
        )
        with torch.no_grad():
            torch.testing.assert_close(
                backbone(frames), network(frames, endpoint), rtol=1e-4, atol=1e-5
            )


def test_slow_networks_keep_all_their_steps(tmp_path, monkeypatch):
    network = network_of(ResNet3dLayout(((1,), (1,), (3,), (3,)), stem_kernel=1, pools_time=False))
    renamed = {}
    for name, tensor in network.state_dict().items():
        name = re.sub(r"^stem\.(conv|norm)", r"blocks.0.\1", name)
        name = re.sub(
            r"^res(\d)\.(\d)\.", lambda m: f"blocks.{int(m[1]) - 1}.res_blocks.{m[2]}.", name
        )
        name = name.replace(".shortcut_norm.", ".branch1_norm.")
        name = name.replace(".shortcut.", ".branch1_conv.")
        name = re.sub(r"(res_blocks\.\d)\.([abc])_norm", r"\1.branch2.norm_\2", name)
        name = re.sub(r"(res_blocks\.\d)\.([abc])\.", r"\1.branch2.conv_\2.", name)
        renamed[re.sub(r"^head\.", "blocks.5.proj.", name)] = tensor
    backbone = small_backbone(tmp_path, {"model_state": renamed}, monkeypatch)
    assert backbone.network.layout == network.layout
    assert backbone.temporal_stride == 1 and backbone.output_shape(8, 64, 64)[1] == 8
    frames = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(backbone(frames), network(frames, "res5"))


def test_pyslowfast_networks_with_non_local_blocks_trained_on_charades(tmp_path, monkeypatch):
    layout = ResNet3dLayout(SMALL.kernels, stem_kernel=3, non_local=((), (0,), (0,), ()))
    network = network_of(layout, n_classes=157)
    renamed = {}
    for name, tensor in network.state_dict().items():
        name = name.replace("stem.norm", "s1.pathway0_stem.bn")
        name = name.replace("stem.conv", "s1.pathway0_stem.conv")
        name = re.sub(r"res(\d)\.(\d)\.non_local\.norm", r"s\1.pathway0_nonlocal\2.bn", name)
        name = re.sub(r"res(\d)\.(\d)\.non_local\.", r"s\1.pathway0_nonlocal\2.conv_", name)
        name = re.sub(r"res(\d)\.(\d)\.([abc])_norm", r"s\1.pathway0_res\2.branch2.\3_bn", name)
        name = re.sub(r"res(\d)\.(\d)\.([abc])\.", r"s\1.pathway0_res\2.branch2.\3.", name)
        name = re.sub(r"res(\d)\.(\d)\.shortcut_norm", r"s\1.pathway0_res\2.branch1_bn", name)
        name = re.sub(r"res(\d)\.(\d)\.shortcut", r"s\1.pathway0_res\2.branch1", name)
        renamed[name.replace("head.", "head.projection.")] = tensor
    assert "s3.pathway0_nonlocal0.conv_theta.weight" in renamed
    backbone = small_backbone(tmp_path, {"model_state": renamed}, monkeypatch)
    assert backbone.network.layout == layout
    assert backbone.transform == PRESETS["kinetics_045"].replace(channel_order="bgr")
    frames = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(backbone(frames), network(frames, "res5"))


def test_non_local_block_is_a_softmax_mean_over_all_positions():
    torch.manual_seed(0)
    block = NonLocal(6).eval().double()
    x = torch.randn(2, 6, 3, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        theta, pooled = block.theta(x).flatten(2), torch.nn.MaxPool3d((1, 2, 2))(x)
        phi, g = block.phi(pooled).flatten(2), block.g(pooled).flatten(2)
        weights = torch.einsum("nct,ncs->nts", theta, phi) / 3**0.5
        mean = torch.einsum("nts,ncs->nct", weights.softmax(2), g).reshape(2, 3, 3, 4, 4)
        torch.testing.assert_close(block(x), x + block.norm(block.out(mean)))


@pytest.mark.parametrize("name", ["r3d_101", "r3d_101_kenshohara"])
def test_kenshohara_is_recognised_by_content(name, tmp_path, monkeypatch):
    network = network_of(FULL, n_classes=7)
    renamed = {}
    for key, tensor in network.state_dict().items():
        key = key.replace("stem.conv", "conv1").replace("stem.norm", "bn1")
        key = re.sub(r"^res(\d)", lambda m: f"layer{int(m[1]) - 1}", key)
        key = key.replace("shortcut_norm", "downsample.1").replace("shortcut", "downsample.0")
        key = re.sub(r"\.([abc])_norm\.", lambda m: f".bn{'abc'.index(m[1]) + 1}.", key)
        key = re.sub(r"\.([abc])\.", lambda m: f".conv{'abc'.index(m[1]) + 1}.", key)
        renamed[key.replace("head.", "fc.")] = tensor
    assert "layer1.1.conv3.weight" in renamed and "layer4.0.downsample.1.running_var" in renamed
    for layout in ("inflated_layout", "full_layout"):
        monkeypatch.setattr(f"timeception.backbones.r3d.{layout}", lambda *_, **__: FULL)
    backbone = create_backbone(name, weights=saved({"state_dict": renamed}, tmp_path))
    assert backbone.weights.family == "3D-ResNet (kenshohara)"
    assert backbone.transform == PRESETS["kenshohara"]
    assert backbone.frames_per_segment == backbone.temporal_stride == 16
    assert backbone.output_shape(16, 112, 112) == (2048, 1, 4, 4)
    frames = torch.randn(1, 3, 16, 32, 32)
    torch.testing.assert_close(backbone(frames), network(frames, "res5"))


@pytest.mark.parametrize(
    ("name", "n_frames", "side", "shape"),
    [
        ("r3d_50", 8, 224, (2048, 4, 7, 7)),
        ("r3d_101", 8, 224, (2048, 4, 7, 7)),
        ("r3d_101_kenshohara", 32, 112, (2048, 2, 4, 4)),
    ],
)
def test_shapes(name, n_frames, side, shape):
    backbone = create_backbone(name, weights="random")
    assert backbone.output_shape(n_frames, side, side) == shape


def test_long_term_feature_banks_keep_maps_of_14():
    backbone = create_backbone("r3d_50", weights="random", res5_stride=1, res5_dilation=2)
    assert backbone.map_size(224, 224) == (14, 14)


ONE = torch.ones(1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("name", "content", "family"),
    [
        ("r3d_50", {"Conv3d_1a_7x7.conv3d.weight": ONE}, r"I3D \(piergiaj\)"),
        ("r3d_50", {"layer1.0.conv1.weight": ONE, "layer3.22.conv1.weight": ONE}, "kenshohara"),
        ("r3d_101_kenshohara", {"s1.pathway0_stem.conv.weight": ONE, "x": ONE}, "PySlowFast"),
    ],
)
def test_wrong_checkpoints_print_both_sides(name, content, family, tmp_path):
    with pytest.raises(ValueError, match=rf"(?s)missing: .*unexpected: .*looks like .*{family}"):
        create_backbone(name, weights=saved(content, tmp_path))
