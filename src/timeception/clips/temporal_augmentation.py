"""Random changes of a training clip in time: speed, jitter and dropped timesteps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Stretches of a clip, each with its speed.
_N_STRETCHES = 4


@dataclass(frozen=True)
class TemporalAugmentation:
    """Chooses which timestep of a clip stands at each place; the order of time stays.

    Args:
        speed: each quarter of the clip is played at a speed from [1 - speed, 1 + speed], relative
            to the others; the clip keeps its length and its ends.
        jitter_steps: standard deviation of a random shift of each timestep, in timesteps.
        drop: probability that a timestep is replaced with the one before it.

    Example:
        >>> TemporalAugmentation().indices(4, np.random.default_rng(0)).tolist()
        [0, 1, 2, 3]
        >>> TemporalAugmentation(speed=0.5).indices(8, np.random.default_rng(0)).tolist()
        [0, 2, 3, 4, 5, 6, 6, 7]
    """

    speed: float = 0.0
    jitter_steps: float = 0.0
    drop: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether clips stay as they are."""
        return not (self.speed or self.jitter_steps or self.drop)

    def indices(self, n_timesteps: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the timestep at each place of a clip, (n_timesteps,), never decreasing."""
        last = n_timesteps - 1
        places = np.arange(n_timesteps, dtype=np.float64)
        if self.speed:
            rates = rng.uniform(1 - self.speed, 1 + self.speed, _N_STRETCHES)
            knots = np.concatenate([[0.0], np.cumsum(rates)])
            marks = np.linspace(0, last, _N_STRETCHES + 1)
            places = np.interp(places, marks, knots / knots[-1] * last)
        if self.jitter_steps:
            places = np.sort(places + rng.normal(0, self.jitter_steps, n_timesteps))
        chosen = np.clip(places.round(), 0, last).astype(np.int64)
        if self.drop:
            is_kept = rng.random(n_timesteps) >= self.drop
            is_kept[0] = True  # the first has none before it
            kept = np.where(is_kept, np.arange(n_timesteps), 0)
            chosen = chosen[np.maximum.accumulate(kept)]
        return chosen


NO_TEMPORAL_AUGMENTATION = TemporalAugmentation()
