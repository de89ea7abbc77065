import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from torchvision.models import ResNet18_Weights

from timeception.backbones import create_backbone

IMAGENET_CLASSES = ResNet18_Weights.DEFAULT.meta["categories"]


@pytest.fixture(scope="module")
def lite0():
    return create_backbone("efficientnet_lite0")


def top_classes(backbone, photograph, k):
    frames = torch.from_numpy(backbone.transform(photograph[None]))
    scores = backbone(frames[None])[0, :, 0, 0, 0]
    return [IMAGENET_CLASSES[index] for index in scores.topk(k).indices]


@pytest.mark.parametrize(
    ("photograph", "names"),
    [
        ("chelsea", {"tabby", "tiger cat", "Egyptian cat"}),
        ("coffee", {"espresso", "cup"}),
    ],
)
def test_lite0_names_photographs(photograph, names):
    backbone = create_backbone("efficientnet_lite0", endpoint="logits")
    best = top_classes(backbone, getattr(data, photograph)(), k=5)
    assert best[0] in names
    assert names <= set(best)


def test_lite0_features_are_what_its_classifier_pools(lite0):
    frames = torch.from_numpy(lite0.transform(data.chelsea()[None]))[None]
    maps = lite0(frames)
    assert maps.shape == (1, 1280, 1, 7, 7) and lite0.out_channels == 1280
    scores = lite0.network.model.classifier(maps.mean((2, 3, 4)))
    logits = create_backbone("efficientnet_lite0", endpoint="logits")(frames)
    torch.testing.assert_close(scores, logits[..., 0, 0, 0])
    assert maps.min() >= 0 and maps.max() <= 6  # ReLU6


def test_lite0_offers_the_map_before_its_last_convolution(lite0):
    backbone = create_backbone("efficientnet_lite0", endpoint="stage4")
    assert backbone.out_channels == 320 and backbone.map_size(224, 224) == (7, 7)
    frames = torch.zeros(1, 3, 1, 64, 64)
    model = backbone.network.model
    head = model.bn2(model.conv_head(backbone(frames)[:, :, 0]))
    torch.testing.assert_close(head, lite0(frames)[:, :, 0])


def test_lite0_pads_as_tensorflow_does(lite0):
    """Padding "same" with stride 2 on an even side pads the far side alone."""
    frames = torch.zeros(1, 3, 1, 32, 32)
    frames[..., 0, 0] = 1
    stem = create_backbone("efficientnet_lite0", endpoint="stage0")
    difference = (stem(frames) - stem(torch.zeros_like(frames))).abs().amax((0, 1, 2))
    assert difference[1:, 1:].max() > 0 and stem.map_size(33, 32) == (17, 16)
    assert lite0.network.model.bn1.eps == 1e-3


def test_lite0_records_its_source(lite0):
    record = lite0.describe()
    assert record["weights"]["source"] == "efficientnet-lite0-57934424.pth"
    assert record["weights"]["licence"] == "apache-2.0"
    assert record["weights"]["sha256"].startswith("5cfdfa85b0941be6")
    assert record["transform"]["mean"] == [127.0] * 3


def test_random_weights_depend_on_the_seed_alone():
    make = lambda seed: create_backbone("timm:resnet18", weights="random", seed=seed)  # noqa: E731
    torch.manual_seed(1)
    first = make(0)
    state = torch.random.get_rng_state()
    again = make(0)
    assert first.weights_hash == again.weights_hash != make(1).weights_hash
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.describe()["weights"]["source"] == "random (seed 0)"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet18", (512, 2, 7, 7)),
        ("vit_tiny_patch16_224", (192, 2, 14, 14)),  # one class token
        ("deit_tiny_distilled_patch16_224", (192, 2, 14, 14)),  # class and distillation tokens
        ("swin_tiny_patch4_window7_224", (768, 2, 7, 7)),  # channels last
        ("convnext_atto", (320, 2, 7, 7)),
        ("levit_128s", (384, 2, 4, 4)),  # tokens of a pyramid
    ],
)
def test_timm_models_give_maps(name, shape):
    backbone = create_backbone(f"timm:{name}", weights="random")
    assert backbone.output_shape(2, 224, 224) == shape


def test_transformer_tokens_keep_their_places():
    backbone = create_backbone("timm:vit_tiny_patch16_224", weights="random")
    frames = torch.randn(1, 3, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    tokens = backbone.network.model.forward_features(frames[:, :, 0])
    maps = backbone(frames)[0, :, 0]
    torch.testing.assert_close(maps[:, 2, 5], tokens[0, 1 + 2 * 14 + 5])


def test_a_network_without_one_map_says_so():
    with pytest.raises(ValueError, match=r"endpoint 'features' must be one map.*Use one of stage0"):
        _ = create_backbone("timm:crossvit_tiny_240", weights="random").out_channels


def test_timm_weights_from_a_file_with_another_head(tmp_path):
    trained = create_backbone("timm:resnet18", weights="random", seed=3, num_classes=7)
    file = tmp_path / "weights.bin"
    save_file(trained.network.model.state_dict(), file)
    backbone = create_backbone("timm:resnet18", weights=str(file), endpoint="logits")
    assert backbone.out_channels == 7
    assert backbone.weights_hash == trained.weights_hash
    assert backbone.describe()["weights"]["source"] == "weights.bin"
    frames = torch.from_numpy(backbone.transform(np.zeros((1, 240, 240, 3), np.uint8)))
    assert backbone(frames[None]).shape == (1, 7, 1, 1, 1)


def test_weights_of_another_network_are_refused(tmp_path):
    other = create_backbone("timm:resnet18", weights="random")
    file = tmp_path / "resnet.safetensors"
    save_file(other.network.model.state_dict(), file)
    with pytest.raises(ValueError, match=r"(?s)names do not match.*missing.*unexpected.*looks like "
                                         r"2D-ResNet \(torchvision, timm\)"):  # fmt: skip
        create_backbone("efficientnet_lite0", weights=str(file))


@pytest.mark.parametrize("name", ["timm:resnet18", "r2d_152"])
def test_weights_that_cannot_be_fetched_say_what_to_do(name, monkeypatch):
    def no_network(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", no_network)
    with pytest.raises(ValueError, match=r"could not be fetched: no route.*\n.*weights=FILE"):
        create_backbone(name)
