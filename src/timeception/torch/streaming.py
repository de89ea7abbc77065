"""Scores of a video as it comes, in memory that does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from timeception import checks
from timeception.torch.classifier import TimeceptionClassifier
from timeception.torch.fused import FusedLayer

PIECE_TIMESTEPS = 64  # a longer push is taken in pieces, so that its intermediates stay small


@dataclass(frozen=True)
class Evidence:
    """What single output steps say; output step i stands for inputs from i * 2 ** n_layers on.

    Args:
        first_step: index of the first output step in here.
        features: of the last layer.
        logits: the classifier's scores of each step alone.

    Shape:
        features: N, C, t, H, W; logits: N, t, n_classes.
    """

    first_step: int
    features: Tensor
    logits: Tensor


class StreamingClassifier:
    """A ``TimeceptionClassifier`` that takes a video's timesteps as they come.

    Each layer keeps the few timesteps that its temporal branches still need, and the readout
    keeps a running maximum. However the timesteps are divided into pushes, the scores are those
    of the whole video at once, to rounding.

    Args:
        model: the classifier; a copy runs, in evaluation, on PyTorch's own operations.

    Example:
        >>> model = TimeceptionClassifier(64, n_classes=10, n_layers=2, n_groups=4)
        >>> stream = StreamingClassifier(model)
        >>> for _ in range(5):
        ...     evidence = stream.push(torch.zeros(1, 64, 3, 7, 7))
        >>> stream.n_timesteps, stream.scores().shape, evidence.logits.shape
        (15, torch.Size([1, 10]), torch.Size([1, 1, 10]))

    Source: this project's own.
    """

    def __init__(self, model: TimeceptionClassifier) -> None:
        self.spec = model.spec
        self._model = model.fuse("torch")
        self.reset()

    def reset(self) -> None:
        """Begin a new video."""
        self.n_timesteps = 0
        self.n_outputs = 0
        self._states = [_LayerState() for _ in self._model.timeception.layers]
        self._maximum: Tensor | None = None  # of the features over time: N, C, 1, H, W
        self._like: Tensor | None = None  # no timesteps, of the shape and type that is pushed
        self._is_finished = False

    @torch.inference_mode()
    def push(self, x: Tensor) -> Evidence:
        """Take the next timesteps.

        Args:
            x: any number of timesteps; clips, channels and maps as in the pushes before.

        Shape:
            x: N, C, T, H, W.

        Returns:
            the output steps that became known, often none.

        Raises:
            ValueError: if the shape does not fit, or the video was finished.
        """
        self._check(x)
        first, pieces = self.n_outputs, []
        for piece in x.split(PIECE_TIMESTEPS, dim=2):
            self._states, features = self._run(piece, ended=False)
            self._maximum = self._maximum_with(features)
            self.n_timesteps += piece.shape[2]
            self.n_outputs += features.shape[2]
            pieces.append(features)
        self._like = x.narrow(2, 0, 0).clone()
        return self._evidence(first, torch.cat(pieces, dim=2))

    @torch.inference_mode()
    def scores(self) -> Tensor:
        """Logits of the video if it ended here: those of all its timesteps at once.

        Shape:
            result: N, n_classes.

        Raises:
            ValueError: if there are fewer than 2 ** n_layers timesteps yet.
        """
        logits, _ = self._end()
        return logits

    @torch.inference_mode()
    def finish(self) -> tuple[Tensor, Evidence]:
        """End the video.

        Returns:
            its logits, N, n_classes, and the last output steps, which waited for its end.

        Raises:
            ValueError: if there were fewer than 2 ** n_layers timesteps.
        """
        logits, features = self._end()
        self._is_finished = True
        return logits, self._evidence(self.n_outputs, features)

    def _run(self, x: Tensor, ended: bool) -> tuple[list[_LayerState], Tensor]:
        states = []
        layers = cast("Iterable[FusedLayer]", self._model.timeception.layers)
        for layer, state in zip(layers, self._states, strict=True):
            state, x = _advance(layer, state, x, ended)
            states.append(state)
        return states, x

    def _end(self) -> tuple[Tensor, Tensor]:
        """The logits at an end here, and the output steps that it sets free."""
        self.spec.timeception.output_timesteps(self.n_timesteps)
        if self._is_finished or self._like is None:
            raise ValueError("the video was finished; call reset() to begin a new one")
        _, features = self._run(self._like, ended=True)
        maximum = self._maximum_with(features)
        assert maximum is not None  # there is at least one output step
        return self._model.classify(self._model.readout(maximum)), features

    def _maximum_with(self, features: Tensor) -> Tensor | None:
        known = [features] if self._maximum is None else [self._maximum, features]
        steps = torch.cat(known, dim=2)
        return steps.amax(2, keepdim=True) if steps.shape[2] else None

    def _evidence(self, first: int, features: Tensor) -> Evidence:
        n_clips, n_steps = features.shape[0], features.shape[2]
        alone = features.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        logits = self._model.classify(self._model.readout(alone))
        return Evidence(first, features, logits.view(n_clips, n_steps, self.spec.n_classes))

    def _check(self, x: Tensor) -> None:
        if self._is_finished:
            raise ValueError("the video was finished; call reset() to begin a new one")
        self.spec.timeception.check_input((*x.shape[:2], None, *x.shape[3:]))
        if self._like is not None:
            given, before = (*x.shape[:2], *x.shape[3:]), self._like.shape
            expected = (*before[:2], *before[3:])
            checks.require(
                given == expected, "input", f"have N, C, H, W as before, {expected}", given
            )


@dataclass(frozen=True)
class _LayerState:
    """What a layer remembers.

    Args:
        kept: the pointwise convolutions of the last timesteps, N, G, B, C_b, t, S.
        first: index of the first of them; even.
        n_pairs: output steps given so far.
    """

    kept: Tensor | None = None
    first: int = 0
    n_pairs: int = 0


def _advance(
    layer: FusedLayer, state: _LayerState, x: Tensor, ended: bool
) -> tuple[_LayerState, Tensor]:
    """Give a layer its next timesteps, and take the output steps that they make known.

    A window of timesteps goes through the temporal branches as if it were the whole video; the
    output steps near an inner end, which saw its padding, are left out.
    """
    margin, height, width = layer.spec.margin, x.shape[3], x.shape[4]
    y = layer.pointwise(x)
    window = y if state.kept is None else torch.cat([state.kept, y], dim=4)
    known = state.first + window.shape[4]
    ready = max(state.n_pairs, (known if ended else known - margin) // 2)
    if ready > state.n_pairs:
        out = layer.mix(window)
        offset = state.first // 2
        out = out.narrow(2, state.n_pairs - offset, ready - state.n_pairs)
    else:
        out = x.new_empty(x.shape[0], layer.spec.out_channels, 0, height * width)
    first = max(state.first, (2 * ready - margin) // 2 * 2)
    kept = window.narrow(4, first - state.first, known - first).clone()
    return _LayerState(kept, first, ready), out.unflatten(3, (height, width))
