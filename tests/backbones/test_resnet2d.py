import pytest
import torch

from tests.backbones.golden import Golden
from timeception.backbones import create_backbone


@pytest.fixture(scope="module")
def golden(shared):
    return Golden.load(shared, "r2d_152_res5c")


@pytest.fixture(scope="module")
def state(golden):
    return golden.state()


def test_golden(golden, state, tmp_path):
    file = tmp_path / "resnet152.pth"
    torch.save(state, file)
    backbone = create_backbone("r2d_152", weights=str(file))
    golden.assert_features(backbone)
    assert backbone.weights.family == "2D-ResNet (torchvision, timm)"
    assert backbone.transform.resize == 256 and backbone.transform.interpolation == "bilinear"


def test_charades_file_with_module_names_and_its_own_classes(state, tmp_path):
    fine_tuned = {**state, "fc.weight": torch.ones(157, 2048), "fc.bias": torch.ones(157)}
    names = {f"module.{name}": tensor for name, tensor in fine_tuned.items()}
    file = tmp_path / "resnet_rgb.pth.tar"
    torch.save({"epoch": 10, "arch": "resnet152", "state_dict": names}, file)
    backbone = create_backbone("r2d_152", weights=str(file), endpoint="logits")
    assert backbone.out_channels == 157
    for name, tensor in backbone.network.model.state_dict().items():
        assert torch.equal(tensor, fine_tuned[name])


def test_shapes():
    backbone = create_backbone("r2d_152", weights="random")
    assert backbone.frames_per_segment == backbone.temporal_stride == 1
    assert backbone.output_shape(4, 224, 224) == (2048, 4, 7, 7)


def test_another_depth_prints_both_sides(tmp_path):
    shallow = create_backbone("timm:resnet50", weights="random").network.model.state_dict()
    file = tmp_path / "resnet50.pth"
    torch.save(shallow, file)
    with pytest.raises(ValueError, match=r"(?s)missing: layer2.4.*looks like 2D-ResNet"):
        create_backbone("r2d_152", weights=str(file))
