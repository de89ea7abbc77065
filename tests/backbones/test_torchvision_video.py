import pytest
import torch

from timeception.backbones import create_backbone


@pytest.mark.parametrize(
    ("name", "shape", "stride"),
    [
        ("mc3_18", (512, 16, 7, 7), 1),
        ("s3d", (1024, 2, 7, 7), 8),
        ("swin3d_t", (768, 8, 7, 7), 2),
        ("mvit_v2_s", (768, 8, 7, 7), 2),
    ],
)
def test_shapes(name, shape, stride):
    backbone = create_backbone(f"torchvision:{name}", weights="random")
    side = backbone.transform.crop
    assert backbone.output_shape(16, side, side) == shape
    assert backbone.temporal_stride == stride and backbone.frames_per_segment == 16


@pytest.mark.parametrize(("name", "head"), [("r3d_18", "fc"), ("swin3d_t", "head")])
def test_features_are_what_the_head_pools(name, head):
    frames = torch.randn(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    backbone = create_backbone(f"torchvision:{name}", weights="random")
    scores = backbone.network.model.get_submodule(head)(backbone(frames).mean((2, 3, 4)))
    with torch.no_grad():
        torch.testing.assert_close(scores, backbone.network.model(frames))


def test_a_file_of_other_classes(tmp_path):
    from torchvision.models.video import r3d_18

    torch.manual_seed(0)
    trained = r3d_18(num_classes=5)
    file = tmp_path / "trained.pth"
    torch.save({"model": trained.state_dict()}, file)
    backbone = create_backbone("torchvision:r3d_18", weights=str(file), endpoint="logits")
    frames = torch.randn(2, 3, 8, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(backbone(frames)[..., 0, 0, 0], trained.eval()(frames))
    assert backbone.weights.family == "video ResNet (torchvision)"


def test_preprocessing_is_that_of_the_weights():
    transform = create_backbone("torchvision:r3d_18", weights="random").transform
    assert (transform.resize, transform.crop) == (128, 112)
    assert transform.mean == (0.43216, 0.394666, 0.37645)


def test_unknown_names_report_the_nearest():
    with pytest.raises(ValueError, match=r"torchvision video model must be one of .*'r3d_18'"):
        create_backbone("torchvision:r3d_19", weights="random")


def test_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch):
    def no_network(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models.get_model", no_network)
    with pytest.raises(ValueError, match=r"could not be fetched: no route.*weights=FILE"):
        create_backbone("torchvision:r3d_18")
