"""Mixup: each clip of a batch mixed with another, in every framework alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mixture:
    """How a batch is mixed: clip i becomes ``share * i + (1 - share) * partner[i]``."""

    share: float
    partners: NDArray[np.int64]


def sample_mixture(alpha: float, n_clips: int, seed: int, epoch: int, batch: int) -> Mixture:
    """Sample the share of a batch from Beta(alpha, alpha), and a partner for each clip.

    The same batch of the same epoch is always mixed alike, so that resuming changes nothing.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018; one share per batch, as
    in their code.

    Example:
        >>> mixture = sample_mixture(0.4, 4, seed=0, epoch=0, batch=0)
        >>> 0 <= mixture.share <= 1, sorted(mixture.partners.tolist())
        (True, [0, 1, 2, 3])
    """
    rng = np.random.default_rng([seed, epoch, batch, 1])
    return Mixture(float(rng.beta(alpha, alpha)), rng.permutation(n_clips))
