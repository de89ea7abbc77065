"""Scores of a video while it arrives, in memory that does not grow with its length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from timeception import checks
from timeception.torch.classifier import TimeceptionClassifier
from timeception.torch.inputs import check_tensor

CHUNK_TIMESTEPS = 64  # longer pushes are divided, so that their intermediates stay small


@dataclass(frozen=True)
class Evidence:
    """Features and scores of some output steps.

    Output step i covers the input timesteps from i * 2 ** n_layers on.

    Args:
        first_step: index of the first output step.
        features: output of the last layer.
        logits: scores of each output step alone.

    Shape:
        features: N, C, t, H, W; logits: N, t, n_classes.
    """

    first_step: int
    features: Tensor
    logits: Tensor


class StreamingClassifier:
    """A ``TimeceptionClassifier`` that processes a video incrementally.

    Each layer keeps the few timesteps that its temporal branches still need, and global pooling
    keeps a running maximum. Up to rounding, the scores equal those of a single pass over the
    whole video, however the timesteps are divided into pushes.

    Args:
        model: the classifier; the stream runs a fused copy of it.
        implementation: ``"torch"``, ``"native"`` or ``"auto"``, as in ``model.fuse``.

    Example:
        >>> model = TimeceptionClassifier(64, n_classes=10, n_layers=2, n_groups=4)
        >>> stream = StreamingClassifier(model)
        >>> for _ in range(5):
        ...     evidence = stream.push(torch.zeros(1, 64, 3, 7, 7))
        >>> stream.n_timesteps, stream.scores().shape, evidence.logits.shape
        (15, torch.Size([1, 10]), torch.Size([1, 1, 10]))

    Source: an addition of this project.
    """

    def __init__(self, model: TimeceptionClassifier, implementation: str = "auto") -> None:
        self.spec = model.spec
        self._model = model.fuse(implementation)
        self.reset()

    @property
    def implementation(self) -> str:
        """What runs the layers: ``"torch"`` or ``"native"``."""
        return self._model.implementation

    def reset(self) -> None:
        """Start a new video."""
        self.n_timesteps = 0
        self.n_outputs = 0
        self._steps = self._model.timeception.steps()
        self._maximum: Tensor | None = None  # of the features over time: N, C, 1, H, W
        self._like: Tensor | None = None  # zero timesteps, with the shape and type of the pushes
        self._is_finished = False

    @torch.inference_mode()
    def push(self, x: Tensor) -> Evidence:
        """Process the next timesteps.

        Args:
            x: any number of timesteps; clips, channels and maps as in earlier pushes.

        Shape:
            x: N, C, T, H, W.

        Returns:
            The output steps that ``x`` completes, often none.

        Raises:
            ValueError: if the shape does not fit, or the video was finished.
            TypeError: if ``x`` is not a floating-point tensor.
        """
        self._check(x)
        first, chunks = self.n_outputs, []
        for chunk in x.split(CHUNK_TIMESTEPS, dim=2):
            features = self._steps.advance(chunk, is_last=False)
            self._maximum = self._maximum_with(features)
            self.n_timesteps += chunk.shape[2]
            self.n_outputs += features.shape[2]
            chunks.append(features)
        self._like = x.narrow(2, 0, 0).clone()
        return self._evidence(first, torch.cat(chunks, dim=2))

    @torch.inference_mode()
    def scores(self) -> Tensor:
        """Return the logits of all timesteps so far, as if the video ended here.

        Shape:
            result: N, n_classes.

        Raises:
            ValueError: if there are fewer than 2 ** n_layers timesteps so far.
        """
        logits, _ = self._end()
        return logits

    @torch.inference_mode()
    def finish(self) -> tuple[Tensor, Evidence]:
        """End the video.

        Returns:
            The logits, N, n_classes, and the remaining output steps.

        Raises:
            ValueError: if there were fewer than 2 ** n_layers timesteps.
        """
        logits, features = self._end()
        self._is_finished = True
        return logits, self._evidence(self.n_outputs, features)

    def _end(self) -> tuple[Tensor, Tensor]:
        """Return the logits if the video ends here, and the output steps that its end completes."""
        self.spec.timeception.output_timesteps(self.n_timesteps)
        if self._is_finished or self._like is None:
            raise ValueError("the video was finished; call reset() to start a new one")
        features = self._steps.fork().advance(self._like, is_last=True)
        maximum = self._maximum_with(features)
        assert maximum is not None  # at least one output step exists
        return self._model.classify(self._model.global_pool(maximum)), features

    def _maximum_with(self, features: Tensor) -> Tensor | None:
        known = [features] if self._maximum is None else [self._maximum, features]
        steps = torch.cat(known, dim=2)
        return steps.amax(2, keepdim=True) if steps.shape[2] else None

    def _evidence(self, first: int, features: Tensor) -> Evidence:
        n_clips, n_steps = features.shape[0], features.shape[2]
        alone = features.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        logits = self._model.classify(self._model.global_pool(alone))
        return Evidence(first, features, logits.view(n_clips, n_steps, self.spec.n_classes))

    def _check(self, x: Tensor) -> None:
        check_tensor(x)
        if self._is_finished:
            raise ValueError("the video was finished; call reset() to start a new one")
        self.spec.timeception.check_input((*x.shape[:2], None, *x.shape[3:]))
        if self._like is not None:
            given, expected = ((*t.shape[:2], *t.shape[3:]) for t in (x, self._like))
            wanted = f"have the same N, C, H, W as earlier pushes, {expected}"
            checks.require(given == expected, "input", wanted, given)
