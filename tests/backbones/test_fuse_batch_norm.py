"""Batch norms folded into convolutions: the same features, fewer passes, the network untouched."""

import pytest
import torch
from torch import nn

from timeception.backbones import Backbone, FeatureNetwork, WeightsRecord, create_backbone
from timeception.backbones.fuse_batch_norm import for_inference, fuse_batch_norms
from timeception.video import Transform


class Plain(FeatureNetwork):
    """What tests change: convolutions, batch norms, and how they are joined."""

    default_endpoint = "maps"
    endpoints = ("maps",)
    convolution, norm = nn.Conv2d, nn.BatchNorm2d

    def __init__(self):
        super().__init__()
        self.first, self.first_norm = self.convolution(3, 4, 3, bias=False), self.norm(4)
        self.second, self.second_norm = self.convolution(4, 4, 1), self.norm(4, affine=False)

    def forward(self, frames, endpoint):
        x = self.first_norm(self.first(frames)).relu()
        return self.second_norm(self.second(x))


class Video(Plain):
    is_video = True
    convolution, norm = nn.Conv3d, nn.BatchNorm3d


class UsedTwice(Plain):
    def forward(self, frames, endpoint):
        x = self.first(frames)
        return self.second_norm(self.second(self.first_norm(x).relu())) + x


class CalledTwice(Plain):
    def forward(self, frames, endpoint):
        x = self.first(frames).relu()
        return self.second_norm(self.second(self.second_norm(self.second(x))))


class ChangedBetween(Plain):
    def forward(self, frames, endpoint):
        x = self.first_norm(self.first(frames).relu_())
        return self.second_norm(self.second(x).mul_(2))


def backbone_of(network_class, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = network_class()
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
                module.running_mean.normal_()
                module.running_var.uniform_(0.1, 3)
                if module.affine:
                    module.weight.data.normal_()
                    module.bias.data.normal_()
    frames = 8 if network.is_video else 1
    transform = Transform(resize=20, crop=16)
    record = WeightsRecord.random(seed)
    return Backbone("plain", network, transform, record, frames_per_segment=frames)


def norms(network):
    kinds = (nn.BatchNorm2d, nn.BatchNorm3d)
    return [name for name, module in network.named_modules() if isinstance(module, kinds)]


def frames_for(backbone, n=2):
    side = backbone.transform.crop
    shape = (n, 3, backbone.frames_per_segment, side, side)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("network", [Plain, Video])
def test_features_are_the_same_without_batch_norms(network):
    backbone = backbone_of(network)
    x, before = frames_for(backbone), {k: v.clone() for k, v in backbone.state_dict().items()}
    expected = backbone(x)
    folded = for_inference(backbone)
    torch.testing.assert_close(folded(x), expected, rtol=1e-5, atol=1e-6)
    assert norms(folded.network) == []
    assert norms(backbone.network) == ["first_norm", "second_norm"]
    torch.testing.assert_close(backbone(x), expected, rtol=0, atol=0)
    for name, tensor in backbone.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert not any(module._forward_hooks for module in backbone.network.modules())


@pytest.mark.parametrize(
    ("network", "left"),
    [
        (UsedTwice, ["first_norm", "second_norm"]),  # told by the check alone: nothing is folded
        (CalledTwice, ["first_norm", "second_norm"]),
        (ChangedBetween, ["first_norm", "second_norm"]),
    ],
)
def test_what_cannot_be_folded_stays(network, left):
    backbone = backbone_of(network)
    assert norms(fuse_batch_norms(backbone)) == left
    assert for_inference(backbone) is backbone


def test_a_network_without_batch_norms_comes_back_itself():
    class Without(Plain):
        norm = staticmethod(lambda channels, affine=True: nn.Identity())

    backbone = backbone_of(Without)
    assert fuse_batch_norms(backbone) is backbone.network


def test_bf16_is_a_copy():
    backbone = backbone_of(Plain)
    x = frames_for(backbone)
    halved = for_inference(backbone, torch.bfloat16)
    found = halved(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), backbone(x), rtol=0.05, atol=0.05)
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}
    without = for_inference(backbone_of(UsedTwice), torch.bfloat16)
    assert {p.dtype for p in without.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("name", "most_left"),
    [
        ("efficientnet_lite0", 0),
        ("timm:resnet18", 0),
        ("timm:mobilenetv3_small_050", 0),
        ("timm:densenet121", 62),  # its norms come before its convolutions, most of them
        ("timm:convnext_atto", 0),
    ],
)
def test_networks_of_timm(name, most_left):
    weights = None if name == "efficientnet_lite0" else "random"
    backbone = create_backbone(name, weights, transform=Transform(resize=72, crop=64))
    x = frames_for(backbone, 1)
    folded = fuse_batch_norms(backbone)
    assert len(norms(folded)) <= most_left
    with torch.no_grad():
        expected, found = backbone(x)[:, :, 0], folded(x[:, :, 0], backbone.endpoint)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
