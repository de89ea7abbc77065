"""Mixup: each clip of a batch mixed with another, in every framework alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mixture:
    """How a batch is mixed: clip i becomes ``share * i + (1 - share) * partner[i]``."""

    share: float
    partners: NDArray[np.int64]


def sample_mixture(alpha: float, n_clips: int, place: Sequence[int]) -> Mixture:
    """Sample the share of a batch from Beta(alpha, alpha), and a partner for each clip.

    Args:
        alpha: parameter of the distribution; small values mix little.
        n_clips: clips of the batch.
        place: seed, epoch and batch: the same batch is always mixed alike, so that resuming
            changes nothing.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018; one share per batch, as
    in their code.

    Example:
        >>> mixture = sample_mixture(0.4, 4, place=[0, 0, 0])
        >>> 0 <= mixture.share <= 1, sorted(mixture.partners.tolist())
        (True, [0, 1, 2, 3])
    """
    rng = np.random.default_rng([*place, 1])
    return Mixture(float(rng.beta(alpha, alpha)), rng.permutation(n_clips))
