"""Which moments and which places of a video decided the score of a class.

What is explained is the logit of a class; for single-label models, its excess over the mean of all
logits, because softmax ignores what they have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from timeception import checks
from timeception.features.extraction.jobs import VideoFeatures
from timeception.inference.clips import TimedClip, clips_of, output_edges
from timeception.inference.saved_model import SavedModel, TimelineModel
from timeception.torch import TimeceptionClassifier

Floats = NDArray[np.float64]

METHODS = ("maximum", "gradients", "occlusion")
_INTEGRATION_STEPS = 32
_OCCLUSIONS = 16  # hidden parts of a clip


@dataclass(frozen=True)
class Explanation:
    """Contribution of each step and place to the score of a class.

    Args:
        label: the class.
        score: probability of the class in the explained clip.
        method: one of ``METHODS``.
        contributions: share of the logit, (steps, H, W); negative where a place speaks against
            the class.
        edges_seconds: start of each step and end of the last one, (steps + 1,).
        rest: the logit minus all contributions; exact for ``maximum``.
    """

    label: str
    score: float
    method: str
    contributions: Floats
    edges_seconds: Floats
    rest: float

    @property
    def moments(self) -> Floats:
        """Contribution of each step, (steps,), summed over places."""
        return np.asarray(self.contributions.sum(axis=(1, 2)))

    @property
    def places(self) -> Floats:
        """Contribution of each place, (H, W), summed over steps."""
        return np.asarray(self.contributions.sum(axis=0))

    def top_moments(self, count: int) -> list[tuple[float, float, float]]:
        """Return start, end and contribution of the steps that contribute most."""
        moments = self.moments
        best = np.argsort(-moments, kind="stable")[:count]
        edges = self.edges_seconds
        return [(float(edges[i]), float(edges[i + 1]), float(moments[i])) for i in best]

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation for JSON."""
        edges = self.edges_seconds.tolist()
        return {
            "class": self.label,
            "score": self.score,
            "method": self.method,
            "rest": self.rest,
            "steps": [
                {"start_seconds": start, "end_seconds": end, "contributions": places}
                for start, end, places in zip(
                    edges[:-1], edges[1:], self.contributions.tolist(), strict=True
                )
            ],
        }


def explain(
    model: SavedModel, features: VideoFeatures, label: str | None = None, method: str = "maximum"
) -> Explanation:
    """Explain the score of a class in the uniform clip that prediction scores.

    A model of windows is explained in the window that has the highest score of the class.

    Args:
        model: a saved model in PyTorch.
        features: features of the video, from ``Predictor.video_features``.
        label: the class; ``None`` is the one with the highest score.
        method: ``maximum`` divides the logit exactly among the outputs that global max pooling
            selected; ``gradients`` integrates gradients from the mean over time to the clip;
            ``occlusion`` replaces a part of the clip by its mean over time.

    Raises:
        ValueError: if the model is a localizer or has no such class, or ``maximum`` is asked of a
            network without global max pooling.
        ImportError: if ``gradients`` or ``occlusion`` lack Captum.
    """
    checks.one_of("method", method, METHODS)
    is_classifier, advice = not isinstance(model, TimelineModel), "See when: predict --timeline."
    checks.require(is_classifier, f"model {model.folder}", "be a classifier", "a localizer", advice)
    if label is not None:
        checks.one_of("class", label, model.classes)
    clips = clips_of(model, features)
    scores = np.stack([model.score(clip.steps.transpose(1, 2).numpy())[0] for clip in clips])
    column = int(scores.max(0).argmax()) if label is None else model.classes.index(label)
    best = int(scores[:, column].argmax())
    return explain_clip(model, clips[best], column, method, float(scores[best, column]))


def explain_clip(
    model: SavedModel, clip: TimedClip, column: int, method: str, score: float = float("nan")
) -> Explanation:
    """Explain the class in ``column`` in one clip; see ``explain``."""
    head = model.head.eval()
    x = clip.steps.to(next(head.parameters()).device)
    found = _METHODS[method](model, x, column)
    with torch.inference_mode():
        logit = float(_target(head(x), column, model.is_multilabel))
    contributions = found.detach().double().cpu().numpy()
    edges = output_edges(clip, len(contributions))
    rest = logit - float(contributions.sum())
    return Explanation(model.classes[column], score, method, contributions, edges, rest)


def maximum_evidence(model: SavedModel, x: Tensor, column: int) -> Tensor:
    """Divide the logit among the output steps and places that global max pooling selected.

    The classifier behind the pooling is piecewise linear: its logit is the sum of gradient times
    value of each pooled channel, and a constant. The place of a channel's maximum gets its product;
    equal maxima divide it, which occurs because branch 5 can repeat a value in two output steps.

    Shape:
        x: 1, C, T, H, W; result: T', H, W.

    Source: an addition of this project; with one linear layer, it is class activation mapping
    (Zhou et al., CVPR 2016) for maximum instead of mean pooling.
    """
    head = model.head
    has_maximum = isinstance(head, TimeceptionClassifier)
    advice = "Use gradients or occlusion."
    wanted = "be gradients or occlusion for a network without global max pooling"
    checks.require(has_maximum, "method", wanted, "maximum", advice)
    with torch.no_grad():
        outputs = head.timeception(x)
    outputs.requires_grad_()
    pooled = head.global_pool(outputs)
    logit = _target(head.classify(pooled), column, model.is_multilabel).sum()
    (gradient,) = torch.autograd.grad(logit, outputs)
    result: Tensor = (gradient * outputs).detach()[0].sum(0)
    return result


def _gradients(model: SavedModel, x: Tensor, column: int) -> Tensor:
    from captum.attr import IntegratedGradients

    forward = _forward(model, column)
    found = IntegratedGradients(forward).attribute(
        x, baselines=_mean_clip(x), n_steps=_INTEGRATION_STEPS, internal_batch_size=8
    )
    return torch.as_tensor(found)[0].sum(0)


def _occlusion(model: SavedModel, x: Tensor, column: int) -> Tensor:
    from captum.attr import Occlusion

    channels, timesteps = x.shape[1:3]
    length = max(1, timesteps // _OCCLUSIONS)
    with torch.inference_mode():
        found = Occlusion(_forward(model, column)).attribute(
            x,
            sliding_window_shapes=(channels, length, 1, 1),
            strides=(channels, length, 1, 1),
            baselines=_mean_clip(x),
            perturbations_per_eval=8,
        )
    return torch.as_tensor(found)[0, 0] / length  # the same value at all timesteps of a part


def _forward(model: SavedModel, column: int) -> Callable[[Tensor], Tensor]:
    return lambda x: _target(model.head(x), column, model.is_multilabel)


def _mean_clip(x: Tensor) -> Tensor:
    return x.mean(2, keepdim=True).expand_as(x).contiguous()


def _target(logits: Tensor, column: int, is_multilabel: bool) -> Tensor:
    """Return what is explained, (N,)."""
    own = logits[:, column]
    return own if is_multilabel else own - logits.mean(1)


_METHODS: dict[str, Callable[[SavedModel, Tensor, int], Tensor]] = {
    "maximum": maximum_evidence,
    "gradients": _gradients,
    "occlusion": _occlusion,
}


def require_method(method: str) -> None:
    """Import what a method needs, before any work is done.

    Raises:
        ValueError: if there is no such method.
        ModuleNotFoundError: if Captum is not installed and the method needs it.
    """
    if checks.one_of("method", method, METHODS) != "maximum":
        import_module("captum")
