import pytest
import torch

from tests.backbones.golden import Golden
from timeception.backbones import create_backbone


@pytest.mark.slow
def test_golden_from_a_file_fine_tuned_on_charades(shared, tmp_path):
    """Wrapped, with ``module.`` in front of the names, and with 157 classes of its own."""
    golden = Golden.load(shared, "r2d_152_res5c")
    state = {**golden.state(), "fc.weight": torch.ones(157, 2048), "fc.bias": torch.ones(157)}
    names = {f"module.{name}": tensor for name, tensor in state.items()}
    file = tmp_path / "resnet_rgb.pth.tar"
    torch.save({"epoch": 10, "arch": "resnet152", "state_dict": names}, file)
    backbone = create_backbone("r2d_152", weights=str(file))
    golden.assert_features(backbone)
    assert backbone.network.model.num_classes == 157
    assert backbone.weights.family == "2D-ResNet (torchvision, timm)"
    assert backbone.transform.resize == 256 and backbone.transform.interpolation == "bilinear"


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
