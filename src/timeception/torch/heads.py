"""Baseline heads, to find out whether Timeception earns its place on your data.

Each maps features N, C, T, H, W to logits N, n_classes: it averages the maps over space, or keeps
their positions (``map_size``), applies a temporal model, pools over time and classifies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timeception.spec import HeadSpec, LocalizerSpec, PoolingSpec, check_input
from timeception.spec.heads import head_class
from timeception.torch.classifier import PoolingClassifier, TimeceptionClassifier
from timeception.torch.hub import PretrainedModule
from timeception.torch.inputs import check_tensor
from timeception.torch.localizer import TimeceptionLocalizer


class Head(PretrainedModule):
    """Base of the baseline heads: subclasses build layers and define ``forward``.

    Args:
        spec: the head's settings.
        pipeline: metadata that is saved with the model, plain JSON.

    Shape:
        input: N, C, T, H, W; result: N, ``n_classes``, logits.
    """

    spec: HeadSpec
    spec_class = HeadSpec

    def __init__(self, spec: HeadSpec, pipeline: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.pipeline = None if pipeline is None else dict(pipeline)

    @classmethod
    def from_spec(cls, spec: HeadSpec, pipeline: Mapping[str, Any] | None = None) -> Self:
        """Build the head that ``spec`` describes."""
        return cls(spec, pipeline)

    @classmethod
    def parameter_shapes(cls, spec: HeadSpec) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of the head's arrays, without allocating them."""
        with torch.device("meta"):
            arrays = cls(spec).state_dict()
        return {name: tuple(tensor.shape) for name, tensor in arrays.items()}

    def steps(self, x: Tensor) -> Tensor:
        """Flatten the maps: N, C, T, H, W to N, T, ``in_features``."""
        check_tensor(x)
        check_input(self.spec.in_channels, x.shape)
        self.spec.check_map_size(x.shape[3:])
        if self.spec.map_size is None:
            return x.mean((3, 4)).transpose(1, 2)
        return x.permute(0, 2, 1, 3, 4).flatten(2)


def classifier_class(spec: Any) -> Any:
    """Return the PyTorch class of a head's spec."""
    if isinstance(spec, HeadSpec):
        return head_class(spec.head)
    if isinstance(spec, LocalizerSpec):
        return TimeceptionLocalizer
    return PoolingClassifier if isinstance(spec, PoolingSpec) else TimeceptionClassifier


class LinearHead(Head):
    """Logistic regression on the mean over time."""

    def __init__(self, spec: HeadSpec, pipeline: Mapping[str, Any] | None = None) -> None:
        super().__init__(spec, pipeline)
        self.output = nn.Linear(spec.in_features, spec.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of clips."""
        mean = self.steps(x).mean(1)
        return self.output(F.dropout(mean, self.spec.dropout[0], self.training))


class TemporalHead(Head):
    """A projection to ``hidden`` channels, temporal layers, the mean over time, and a linear layer.

    Subclasses build the temporal layers and define ``temporal`` on N, T, ``hidden``; ``width`` is
    the number of channels that it returns.
    """

    def __init__(
        self, spec: HeadSpec, pipeline: Mapping[str, Any] | None = None, width: int | None = None
    ) -> None:
        super().__init__(spec, pipeline)
        self.norm = nn.LayerNorm(spec.in_features)
        self.projection = nn.Linear(spec.in_features, spec.hidden)
        self.output = nn.Linear(width or spec.hidden, spec.n_classes)

    def temporal(self, steps: Tensor) -> Tensor:
        """Map steps N, T, ``hidden`` to N, T, ``width``."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of clips."""
        before_layers, before_output = self.spec.dropout
        steps = F.dropout(self.norm(self.steps(x)), before_layers, self.training)
        pooled = self.temporal(self.projection(steps)).mean(1)
        return self.output(F.dropout(pooled, before_output, self.training))


class LSTMHead(TemporalHead):
    """One bidirectional LSTM layer.

    Source: Graves and Schmidhuber, Framewise phoneme classification with bidirectional LSTM, 2005.
    """

    def __init__(self, spec: HeadSpec, pipeline: Mapping[str, Any] | None = None) -> None:
        super().__init__(spec, pipeline, width=2 * spec.hidden)
        self.lstm = nn.LSTM(spec.hidden, spec.hidden, batch_first=True, bidirectional=True)

    def temporal(self, steps: Tensor) -> Tensor:
        """N, T, ``hidden`` to N, T, 2 * ``hidden``."""
        return self.lstm(steps)[0]


class TCNHead(TemporalHead):
    """Residual temporal convolutions of width 3, whose dilation doubles from layer to layer.

    Source: Lea et al., Temporal convolutional networks for action segmentation and detection,
    CVPR 2017 (the dilated form, acausal).
    """

    def __init__(self, spec: HeadSpec, pipeline: Mapping[str, Any] | None = None) -> None:
        super().__init__(spec, pipeline)
        self.layers = nn.ModuleList(
            nn.Conv1d(spec.hidden, spec.hidden, 3, padding=2**layer, dilation=2**layer)
            for layer in range(spec.n_layers)
        )

    def temporal(self, steps: Tensor) -> Tensor:
        """N, T, ``hidden`` to the same shape."""
        x = steps.transpose(1, 2)
        for layer in self.layers:
            x = x + F.relu(layer(x))
        return x.transpose(1, 2)


class TransformerHead(TemporalHead):
    """Transformer encoder layers with sinusoidal positions.

    Source: Vaswani et al., Attention is all you need, 2017, with normalisation before each block.
    """

    def __init__(self, spec: HeadSpec, pipeline: Mapping[str, Any] | None = None) -> None:
        super().__init__(spec, pipeline)
        n_heads = math.gcd(spec.hidden, 8)
        layer = nn.TransformerEncoderLayer(
            spec.hidden,
            n_heads,
            2 * spec.hidden,
            dropout=spec.dropout[1],
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(
            layer, spec.n_layers, nn.LayerNorm(spec.hidden), enable_nested_tensor=False
        )

    def temporal(self, steps: Tensor) -> Tensor:
        """N, T, ``hidden`` to the same shape."""
        return self.encoder(steps + positions(steps))


def positions(steps: Tensor) -> Tensor:
    """Return sinusoidal positions for steps N, T, D, of shape T, D."""
    timesteps, width = steps.shape[1:]
    index = torch.arange(width, device=steps.device)
    rates = torch.exp(-math.log(10000.0) * (index - index % 2) / width)
    angles = torch.arange(timesteps, device=steps.device)[:, None] * rates
    return torch.where(index % 2 == 0, angles.sin(), angles.cos()).to(steps.dtype)
