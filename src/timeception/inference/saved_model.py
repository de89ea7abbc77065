"""Saved models: load the head of a run, a saved-model folder or a hub id, and score with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.devices import check_device
from timeception.recipes.recipe import Framework
from timeception.spec import HeadSpec, LocalizerSpec
from timeception.training.backbone_file import TRAINED, load_backbone
from timeception.training.runs import model_folder
from timeception.weights.folder import read_folder

if TYPE_CHECKING:
    from torch import Tensor

    from timeception.backbones import Backbone

Scorer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Maps clips (N, T, C, H, W), features or frames, to probabilities (N, n_classes)."""


@dataclass(frozen=True)
class SavedModel:
    """A trained head in ``framework``, with its classes, sampling and origin of features."""

    head: Any
    pipeline: dict[str, Any]
    folder: Path
    framework: Framework = "torch"

    @cached_property
    def score(self) -> Scorer:
        """Function from features (N, T, C, H, W) to probabilities (N, n_classes)."""
        make = torch_scorer if self.framework == "torch" else keras_scorer
        return make(self.head, self.is_multilabel)

    @property
    def is_multilabel(self) -> bool:
        """Whether a video can have none, one or several classes."""
        return bool(self.pipeline["task"] == "multi-label")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return tuple(self.pipeline["classes"])

    @property
    def n_timesteps(self) -> int:
        """Timesteps of a clip."""
        return int(self.pipeline["sampling"]["n_timesteps"])

    @property
    def map_size(self) -> tuple[int, int] | None:
        """Height and width that the spatial maps are averaged down to, if they are."""
        size = self.pipeline["sampling"]["map_size"]
        return (size[0], size[1]) if size else None

    @property
    def is_centered(self) -> bool:
        """Whether the mean over time is subtracted from each clip."""
        return bool(self.pipeline["sampling"].get("center"))

    @property
    def window_steps(self) -> tuple[int, int] | None:
        """Length and stride of the windows of training, in bank steps, if it had windows."""
        windows = self.pipeline["windows"]
        return (windows["length_steps"], windows["stride_steps"]) if windows else None

    @property
    def timestep_seconds(self) -> float | None:
        """Median time between the timesteps of a training clip, if it was recorded."""
        seconds = self.pipeline.get("timestep_seconds")
        return None if seconds is None else float(seconds)

    @property
    def features(self) -> dict[str, Any]:
        """Settings of the bank that the head was trained on."""
        return dict(self.pipeline["features"])

    def backbone(self, weights: str | None = None) -> Backbone:
        """Create the backbone: the one trained with the head, or the one of the bank.

        ``weights`` is its weights file, if it has moved since training.

        Raises:
            ValueError: if the backbone is unknown, or its weights are not those of training.
        """
        from timeception.features.extraction.settings import restore_backbone

        record = self.features.get("backbone") or {}
        if record.get("weights", {}).get("family") == TRAINED:
            return load_backbone(self.folder, record, weights)
        return restore_backbone(self.features, weights)


def load_saved(
    source: str | Path, framework: Framework = "torch", device: str | None = None
) -> SavedModel:
    """Load the model of a run, a saved-model folder or a hub id, into either framework.

    Args:
        source: the model.
        framework: framework that scores.
        device: device of the head, in PyTorch; ``None`` is the CPU, where a head is fast enough.

    Raises:
        ValueError: if the device does not exist, or the framework chooses it by itself.
        ValueError: if there is no model, or it was saved without class names and sampling.
    """
    is_chosen_here = device is None or framework == "torch"
    advice = "Keras uses the devices of its backend."
    checks.require(is_chosen_here, "device", "be left out with framework keras", device, advice)
    classifiers = import_module(f"timeception.{framework}")
    folder = model_folder(source)
    spec, arrays, pipeline = read_folder(folder)
    advice = "Load a localizer with timeception.torch.TimeceptionLocalizer.from_pretrained."
    is_classifier = not isinstance(spec, LocalizerSpec)
    checks.require(
        is_classifier, f"model {source}", "hold a classifier", type(spec).__name__, advice
    )
    if pipeline is None:
        raise ValueError(
            f"model {source} was saved without its pipeline (class names, sampling, features). "
            "Use a model made by `timeception train`, or set model.pipeline before save_pretrained."
        )
    if framework == "keras":
        advice = "Load it with framework torch."
        checks.require(not isinstance(spec, HeadSpec), "head", "exist in Keras", spec, advice)
    head = classifiers.classifier_class(spec).from_arrays(spec, arrays, pipeline)
    if device is not None:
        check_device(device)
        head = head.to(device)
    return SavedModel(head, pipeline, folder, framework)


@dataclass(frozen=True)
class TimelineModel(SavedModel):
    """A trained localizer, with its classes, sampling and origin of features."""

    @property
    def is_multilabel(self) -> bool:
        """Whether a timestep can have none, one or several classes."""
        return bool(self.pipeline["step_labels"] == "several")

    @property
    def stride_steps(self) -> int:
        """Every how many steps of the bank are used."""
        return int(self.pipeline["sampling"].get("stride_steps", 1))

    def score_video(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score each timestep of a video: features (T, C, H, W) to probabilities (T, n_classes)."""
        import torch

        model = self.head.eval()
        device = next(model.parameters()).device
        model.use_implementation("auto" if device.type == "cpu" else "torch")
        x = torch.tensor(features, device=device)
        with torch.inference_mode():
            scores = model.probabilities(model(x.transpose(0, 1)[None]))[0]
        return np.asarray(scores.T.double().cpu().numpy())


def load_timeline_model(source: str | Path, device: str | None = None) -> TimelineModel:
    """Load the localizer of a run, a saved-model folder or a hub id.

    Raises:
        ValueError: if there is no model, it is not a localizer, or it was saved without class names
            and sampling.
    """
    from timeception.torch import TimeceptionLocalizer

    folder = model_folder(source)
    spec, arrays, pipeline = read_folder(folder)
    is_localizer = isinstance(spec, LocalizerSpec)
    what, must = f"model {source}", "hold a localizer"
    checks.require(is_localizer, what, must, type(spec).__name__, "Train with data.task=timeline.")
    if pipeline is None:
        raise ValueError(
            f"model {source} was saved without its pipeline (class names, sampling, features). "
            "Use a model made by `timeception train`, or set model.pipeline before save_pretrained."
        )
    check_device(device)
    head = TimeceptionLocalizer.from_arrays(spec, arrays, pipeline)
    return TimelineModel(head.to(device or "cpu"), pipeline, folder)


def load_model(source: str | Path, device: str | None = None) -> SavedModel:
    """Load a classifier or a localizer into PyTorch; see ``load_saved``."""
    is_localizer = isinstance(read_folder(model_folder(source))[0], LocalizerSpec)
    if is_localizer:
        return load_timeline_model(source, device)
    return load_saved(source, device=device)


def torch_scorer(model: Any, is_multilabel: bool) -> Scorer:
    """Return the function from clips (N, T, C, H, W) to probabilities of a PyTorch model.

    Timeception layers are fused; later changes of their weights have no effect.
    """
    import torch

    from timeception.torch import TimeceptionClassifier

    model.eval()
    device = next(model.parameters()).device
    if isinstance(model, TimeceptionClassifier):
        model = model.fuse("auto" if device.type == "cpu" else "torch")

    def score(clips: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = model(torch.from_numpy(clips).to(device).transpose(1, 2))
            scores = probabilities(logits, is_multilabel)
        return np.asarray(scores.float().cpu().numpy())

    return score


def probabilities(logits: Tensor, is_multilabel: bool) -> Tensor:
    """Return the probabilities of classes, the last axis of ``logits``."""
    return logits.sigmoid() if is_multilabel else logits.softmax(dim=-1)


def keras_scorer(model: Any, is_multilabel: bool) -> Scorer:
    """Return the function from clips (N, T, C, H, W) to probabilities of a Keras model."""
    import keras

    activation = keras.ops.sigmoid if is_multilabel else keras.ops.softmax

    def score(clips: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = model.predict_on_batch(np.moveaxis(clips, 2, -1))
        return np.asarray(keras.ops.convert_to_numpy(activation(logits)))

    return score
