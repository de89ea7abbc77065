"""The Timeception localizer: scores for each timestep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timeception import checks
from timeception.spec import KERAS_BN_EPS, KERAS_BN_MOMENTUM, TimeceptionSpec, channels_of
from timeception.spec.localizers import (
    REFINEMENT_BLOCKS,
    REFINEMENT_DROPOUT,
    REFINEMENT_TAPS,
    LocalizerSpec,
    uniform_bound,
)
from timeception.torch.hub import PretrainedModule
from timeception.torch.inputs import check_tensor
from timeception.torch.masked import masked_layer, repeat_last_step, step_mask
from timeception.torch.network import Timeception


class TimeceptionLocalizer(PretrainedModule):
    """Scores of each timestep from the input and from every Timeception layer, then refined.

    The cost is linear in the number of timesteps, of which there may be any number. In a padded
    batch, each video gives the scores that it gives alone.

    Args:
        in_channels: channels of the features, or the size of an input, ``x.size()``.
        n_classes: number of classes.
        n_layers: number of Timeception layers.
        n_groups: channel groups; must divide the channels.
        is_dilated: use kernels of size 3 with dilations 1, 2, 3; otherwise sizes 3, 5, 7.
        is_multilabel: if true, classes are independent (sigmoid); otherwise each timestep has one
            label (softmax). The refinement stages take these probabilities.
        hidden: channels of the projections and of the refinement stages.
        n_refinements: number of refinement stages.
        dropout: rates before the layers and before the output of the first stage.
        expansion: ratio of output to input channels of a layer.
        pool_lookahead: branch 5 looks one timestep ahead (Keras 2019); otherwise back.
        bn_eps: epsilon of every batch normalisation.
        bn_momentum: weight of the new batch in the moving statistics; see ``TimeceptionSpec``.
        pipeline: metadata that users of the weights need; plain JSON, saved with the model.

    Shape:
        input: N, C, T, H, W with any T, H and W; result: N, ``n_classes``, T, logits.

    Raises:
        ValueError: if an argument is out of range, or an input does not fit.
        TypeError: if an input is not a floating-point tensor.

    Example:
        >>> model = TimeceptionLocalizer(64, n_classes=5, n_layers=2, n_groups=4).eval()
        >>> model(torch.zeros(2, 64, 13, 7, 7), lengths=torch.tensor([13, 3])).shape
        torch.Size([2, 5, 13])

    Source: see ``LocalizerSpec``.
    """

    spec: LocalizerSpec
    spec_class = LocalizerSpec

    def __init__(
        self,
        in_channels: int | Sequence[int],
        n_classes: int,
        n_layers: int = 4,
        n_groups: int = 1,
        is_dilated: bool = True,
        is_multilabel: bool = False,
        hidden: int = 64,
        n_refinements: int = 2,
        dropout: tuple[float, float] = (0.5, 0.3),
        *,
        expansion: float = 1.25,
        pool_lookahead: bool = True,
        bn_eps: float = KERAS_BN_EPS,
        bn_momentum: float = KERAS_BN_MOMENTUM,
        pipeline: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        constants = expansion, pool_lookahead, bn_eps, bn_momentum
        channels = channels_of(in_channels)
        layers = TimeceptionSpec(channels, n_layers, n_groups, is_dilated, *constants)
        self.spec = spec = LocalizerSpec(
            layers, n_classes, is_multilabel, hidden, n_refinements, dropout
        )
        self.pipeline = None if pipeline is None else dict(pipeline)
        self.input_norm = InputNorm(channels)
        self.timeception = Timeception.from_spec(layers)
        self.projections = nn.ModuleList(_linear(n, hidden) for n in spec.level_channels)
        self.output = _linear(hidden, n_classes)
        self.refinements = nn.ModuleList(
            RefinementStage(n_classes, hidden) for _ in range(n_refinements)
        )

    @classmethod
    def from_spec(cls, spec: LocalizerSpec, pipeline: Mapping[str, Any] | None = None) -> Self:
        """Build the network that ``spec`` describes."""
        fields = spec.to_dict()
        return cls(**fields.pop("timeception"), **fields, pipeline=pipeline)

    @property
    def implementation(self) -> str:
        """What runs the layers: ``"torch"`` or ``"native"``."""
        return self.timeception.implementation

    def use_implementation(self, implementation: str = "auto") -> Self:
        """Choose what runs the layers; see ``Timeception.use_implementation``.

        It affects videos without padding. A padded batch always runs on PyTorch's operations.
        """
        self.timeception.use_implementation(implementation)
        return self

    def set_statistics(self, mean: np.ndarray, std: np.ndarray) -> Self:
        """Set the mean and standard deviation of each channel, by which inputs are normalised.

        Args:
            mean: one number per channel of the training data.
            std: one positive number per channel.
        """
        self.input_norm.set_statistics(mean, std)
        return self

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the logits of each timestep: those of the last stage.

        Args:
            x: features of videos, padded to the longest.
            lengths: timesteps of each video; ``None`` if no video is padded. Logits after a video's
                length are zero.
        """
        return self.stages(x, lengths)[-1]

    def stages(self, x: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """Compute the logits of every stage, first to last; see ``forward``."""
        check_tensor(x)
        self.spec.check_input(x.shape)
        timesteps = x.shape[2]
        lengths = self._checked_lengths(lengths, x)
        mask = None if lengths is None else step_mask(lengths, timesteps)[:, None]
        if mask is not None:
            x = torch.where(mask[..., None, None], x, 0)  # NaN there would reach the gradients
        stages = [self._first_stage(x, lengths)]
        for refinement in self.refinements:
            stages.append(refinement(self.probabilities(stages[-1]), mask))
        return stages if mask is None else [torch.where(mask, y, 0) for y in stages]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits N, ``n_classes``, T into probabilities."""
        return logits.sigmoid() if self.spec.is_multilabel else logits.softmax(1)

    def _first_stage(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Compute logits N, ``n_classes``, T from the input and the outputs of the layers."""
        before_layers, before_output = self.spec.dropout
        n_videos, timesteps = x.shape[0], x.shape[2]
        x = F.dropout(self.input_norm(x), before_layers, self.training)
        own = lengths
        if lengths is not None or timesteps < self.spec.timeception.min_timesteps:
            own = x.new_full((n_videos,), timesteps, dtype=torch.long) if own is None else own
            x, own = repeat_last_step(x, own, self.spec.timeception.min_timesteps)
        total, level_lengths = self._projection(0, x)[:, :, :timesteps], own
        for index, layer in enumerate(self.timeception.layers, start=1):
            x = layer(x) if lengths is None else masked_layer(layer, x, level_lengths)  # type: ignore[arg-type]
            level_lengths = None if level_lengths is None else level_lengths // 2
            level = self._projection(index, x)
            total = total + upsample(level, 2**index, timesteps, level_lengths)
        hidden = F.dropout(total.relu(), before_output, self.training)
        return self.output(hidden.transpose(1, 2)).transpose(1, 2)

    def _projection(self, index: int, x: Tensor) -> Tensor:
        """Project a level N, C, T, H, W, pooled over space, to N, ``hidden``, T."""
        pooled = x.amax((3, 4)).transpose(1, 2)
        return self.projections[index](pooled).transpose(1, 2)

    def _checked_lengths(self, lengths: Tensor | None, x: Tensor) -> Tensor | None:
        if lengths is None:
            return None
        fits = lengths.shape == x.shape[:1] and not lengths.is_floating_point()
        wanted = f"be {x.shape[0]} integers, one per video"
        checks.require(fits, "lengths", wanted, f"{lengths.dtype} {tuple(lengths.shape)}")
        in_range = bool(((lengths >= 1) & (lengths <= x.shape[2])).all())
        checks.require(in_range, "lengths", f"lie in [1, {x.shape[2]}]", lengths.tolist())
        lengths = lengths.to(x.device)
        return None if bool((lengths == x.shape[2]).all()) else lengths


class InputNorm(nn.Module):
    """Subtract the mean and divide by the standard deviation of each channel, axis 1."""

    running_mean: Tensor
    running_std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_std", torch.ones(channels))

    @torch.no_grad()
    def set_statistics(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Set the statistics.

        Raises:
            ValueError: if a shape differs, or a standard deviation is not positive.
        """
        shape = tuple(self.running_mean.shape)
        for name, values in (("mean", mean), ("std", std)):
            checks.require(np.shape(values) == shape, name, f"have shape {shape}", np.shape(values))
        checks.require(bool(np.all(np.asarray(std) > 0)), "std", "be positive", np.min(std))
        self.running_mean.copy_(torch.as_tensor(np.asarray(mean)))
        self.running_std.copy_(torch.as_tensor(np.asarray(std)))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise N, C, T, H, W."""
        shape = (-1, 1, 1, 1)
        mean, std = self.running_mean.to(x.dtype), self.running_std.to(x.dtype)
        return (x - mean.view(shape)) / std.view(shape)


class RefinementStage(nn.Module):
    """Logits from the probabilities of the stage before, N, ``n_classes``, T to the same shape."""

    def __init__(self, n_classes: int, hidden: int) -> None:
        super().__init__()
        self.input = _linear(n_classes, hidden)
        self.blocks = nn.ModuleList(
            RefinementBlock(hidden, 2**index) for index in range(REFINEMENT_BLOCKS)
        )
        self.output = _linear(hidden, n_classes)

    def forward(self, probabilities: Tensor, mask: Tensor | None) -> Tensor:
        """Refine; ``mask``, N, 1, T, shows which timesteps belong to the videos."""
        x = self.input(probabilities.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x, mask)
        return self.output(x.transpose(1, 2)).transpose(1, 2)


class RefinementBlock(nn.Module):
    """A residual block: dilated convolution of width 3, ReLU, pointwise convolution, dropout."""

    def __init__(self, hidden: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (REFINEMENT_TAPS // 2)
        self.temporal = nn.Conv1d(
            hidden, hidden, REFINEMENT_TAPS, padding=padding, dilation=dilation
        )
        for parameter in (self.temporal.weight, self.temporal.bias):
            bound = uniform_bound(hidden * REFINEMENT_TAPS)
            nn.init.uniform_(parameter, -bound, bound)  # type: ignore[arg-type]
        self.pointwise = _linear(hidden, hidden)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Apply the block to N, ``hidden``, T; timesteps outside ``mask`` count as zeros."""
        inside = x if mask is None else torch.where(mask, x, 0)
        y = self.temporal(inside).relu()
        y = self.pointwise(y.transpose(1, 2)).transpose(1, 2)
        return x + F.dropout(y, REFINEMENT_DROPOUT, self.training)


def upsample(level: Tensor, factor: int, timesteps: int, lengths: Tensor | None = None) -> Tensor:
    """Repeat each timestep ``factor`` times; each video's last one fills the rest.

    Args:
        level: a level of lower temporal resolution.
        factor: ratio of the resolutions.
        timesteps: timesteps of the result.
        lengths: timesteps of each video in ``level``; ``None`` for all of them.

    Shape:
        level: N, C, T'; lengths: N; result: N, C, ``timesteps``.
    """
    steps = torch.arange(timesteps, device=level.device) // factor
    if lengths is None:
        return level.index_select(2, steps.clamp(max=level.shape[2] - 1))
    index = torch.minimum(steps, lengths[:, None] - 1)
    return level.gather(2, index[:, None].expand(-1, level.shape[1], -1))


def _linear(fan_in: int, fan_out: int) -> nn.Linear:
    linear = nn.Linear(fan_in, fan_out)
    bound = uniform_bound(fan_in)
    nn.init.uniform_(linear.weight, -bound, bound)
    nn.init.uniform_(linear.bias, -bound, bound)
    return linear
