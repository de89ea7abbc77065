"""What every backbone promises, shown on small networks made here."""

import copy
import pickle

import pytest
import torch
from torch import nn

from timeception.backbones import Backbone, FeatureNetwork, WeightsRecord, create_backbone
from timeception.video.transforms import PRESETS


class ImageNet(FeatureNetwork):
    endpoints = ("conv", "pooled")
    default_endpoint = "conv"

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, frames, endpoint):
        maps = self.norm(self.conv(frames))
        return maps if endpoint == "conv" else maps.amax((2, 3), keepdim=True)


class VideoNet(FeatureNetwork):
    is_video = True
    endpoints = ("conv",)
    default_endpoint = "conv"

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 5, (2, 4, 4), stride=(2, 4, 4))

    def forward(self, frames, endpoint):
        return self.conv(frames)


def make(network, **options):
    torch.manual_seed(0)
    record = WeightsRecord("made here", "none")
    return Backbone("net", network(), PRESETS["imagenet"], record, **options)


FRAMES = torch.linspace(-1, 1, 2 * 3 * 4 * 8 * 12).reshape(2, 3, 4, 8, 12)


def test_image_network_sees_each_frame_alone():
    backbone = make(ImageNet)
    maps = backbone(FRAMES)
    assert maps.shape == (2, 4, 4, 4, 6)
    alone = backbone(FRAMES[1:, :, 2:3])
    torch.testing.assert_close(maps[1:, :, 2:3], alone)


@pytest.mark.parametrize("network", [ImageNet, VideoNet])
def test_parts_give_what_one_pass_gives(network):
    whole, parts = make(network), make(network, batch_size=1)
    torch.testing.assert_close(whole(FRAMES), parts(FRAMES))


@pytest.mark.parametrize("network", [ImageNet, VideoNet])
@pytest.mark.parametrize("size", [(4, 8, 12), (6, 16, 8)])
def test_shapes_are_known_without_compute(network, size):
    backbone = make(network, frames_per_segment=2)
    _, height, width = size
    maps = backbone(torch.zeros(1, 3, *size))
    assert backbone.output_shape(*size) == tuple(maps.shape[1:])
    assert backbone.map_size(height, width) == tuple(maps.shape[-2:])
    assert backbone.out_channels == maps.shape[1]


def test_endpoint_is_taken_by_name():
    assert make(ImageNet, endpoint="pooled")(FRAMES).shape == (2, 4, 4, 1, 1)
    with pytest.raises(ValueError, match="endpoint must be one of 'conv', 'pooled'; got"):
        make(ImageNet, endpoint="poled")


def test_frozen_stays_in_eval_mode_inside_a_model_that_trains():
    model = nn.Sequential(make(ImageNet), nn.Identity()).train()
    backbone = model[0]
    before = copy.deepcopy(backbone.network.state_dict())
    assert not backbone.training and not backbone.network.norm.training
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not model(FRAMES).requires_grad
    for name, tensor in backbone.network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_unfreeze_trains_weights_and_keeps_batch_norm():
    backbone = make(ImageNet).unfreeze().train()
    assert backbone.training and not backbone.network.norm.training
    backbone(FRAMES).square().sum().backward()
    assert backbone.network.conv.weight.grad.abs().sum() > 0
    assert backbone.network.norm.weight.grad is None
    assert torch.equal(backbone.network.norm.running_mean, torch.zeros(4))


def test_unfreeze_with_batch_norm_moves_its_statistics():
    backbone = make(ImageNet).unfreeze(batch_norm=True).train()
    backbone(FRAMES)
    assert backbone.network.norm.training
    assert backbone.network.norm.running_mean.abs().sum() > 0
    backbone.freeze().train()
    assert not backbone.network.norm.training


def test_hash_depends_on_the_weights_alone():
    one, two = make(ImageNet), make(ImageNet, endpoint="pooled", batch_size=3)
    assert one.weights_hash == two.weights_hash and len(one.weights_hash) == 64
    with torch.no_grad():
        two.unfreeze().network.conv.bias[0] += 1e-6
    assert one.weights_hash != two.weights_hash
    two.network.norm.num_batches_tracked += 1
    with torch.no_grad():
        two.network.conv.bias.copy_(one.network.conv.bias)
    assert one.weights_hash == two.weights_hash


def test_description_states_what_decides_the_features():
    record = make(ImageNet, frames_per_segment=1).describe()
    assert record["endpoint"] == "conv" and record["out_channels"] == 4
    assert record["weights"]["source"] == "made here"
    assert record["transform"] == PRESETS["imagenet"].to_dict()


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:s3d"])
def test_backbones_travel_between_processes(name):
    backbone = create_backbone(name, weights="random")
    arrived = pickle.loads(pickle.dumps(backbone))
    assert arrived.describe() == backbone.describe() and arrived.is_frozen
    assert backbone.output_shape(16, 64, 64) == arrived.output_shape(16, 64, 64)


def test_a_description_makes_the_same_backbone_again():
    record = create_backbone("i3d", "random", frames_per_segment=16, batch_size=3).describe()
    assert record["options"] == {"frames_per_segment": 16}
    again = create_backbone(record["name"], "random", record["endpoint"], **record["options"])
    assert again.describe() == record
    assert "options" not in create_backbone("efficientnet_lite0").describe()


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (1, 2, 4, 8, 8)])
def test_wrong_frames_are_refused(shape):
    with pytest.raises(ValueError, match=r"frames must have the shape \(N, 3, T, H, W\); got"):
        make(ImageNet)(torch.zeros(shape))
