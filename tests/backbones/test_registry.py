import pytest

from timeception.backbones import backbone_names, create_backbone, register


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("efficientnet_lite", "Did you mean 'efficientnet_lite0'"),
        ("resnet50", "Did you mean 'timm:resnet50'"),
        ("resnet50.a1_in1k", "Did you mean 'timm:resnet50.a1_in1k'"),
        ("timm", "Did you mean 'timm:'"),
        ("timm:", "name a network after 'timm:'"),
        ("timn:resnet50", "backbone must be one of .*'timm:'"),
        ("timm:resnet5", "Did you mean 'resnet50'"),
        ("timm:resnet50.a1_in2k", "weights tag of 'timm:resnet50' must be one of .*'a1_in1k'"),
    ],
)
def test_unknown_names_report_the_nearest(name, words):
    with pytest.raises(ValueError, match=words):
        create_backbone(name, weights="random")


def test_unknown_options_report_the_nearest():
    with pytest.raises(ValueError, match=r"option of backbone 'efficientnet_lite0'.*'batch_size'"):
        create_backbone("efficientnet_lite0", weights="random", batchsize=3)


def test_a_name_is_registered_once():
    assert "efficientnet_lite0" in backbone_names()
    with pytest.raises(ValueError, match="name must be new in the registry"):
        register("efficientnet_lite0")(lambda name, weights, endpoint: None)
