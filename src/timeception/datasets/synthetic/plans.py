"""What happens when: one-actions arranged into synthetic complex activities.

Six activities in three pairs. The two of a pair are made of the same one-actions for the same
times; only their arrangement in time differs, so that no statistic of single frames (a mean, a
maximum, a histogram over time) tells them apart:

- order: ``umbrella_then_guitar`` against ``guitar_then_umbrella``, ``barbell_then_broom`` against
  ``broom_then_barbell``. Between or around them nothing but pauses and, first or last, one filler
  (``wave`` or ``star_jump``).
- extent: ``long_ball_short_reads`` against ``short_balls_long_read``. Both one-actions take equally
  long in total, one in one bout and the other in three; either may come first.

Across pairs the one-actions differ. An order-blind model can therefore be right in half of the
cases, and no more than by chance beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from timeception import checks

#: Fillers: they may occur in any activity of order, and tell nothing.
FILLERS = ("wave", "star_jump")
REST = "rest"

_CORE_SECONDS = (1.6, 3.0)
_FILLER_SECONDS = (0.8, 1.6)
_TOTAL_SECONDS = (2.4, 3.2)  # of each one-action in an activity of extent
_PAUSE_SECONDS = (0.25, 0.55)
_N_SHORT_BOUTS = 3
_MIN_BOUT_SECONDS = 0.6


@dataclass(frozen=True)
class Activity:
    """A complex activity: two one-actions that matter, and how they are arranged.

    Args:
        kind: ``order``: ``first`` comes before ``second``; ``extent``: ``first`` comes in one long
            bout and ``second`` in several short ones.
        first: a one-action.
        second: another.
    """

    kind: str
    first: str
    second: str


ACTIVITIES: dict[str, Activity] = {
    "umbrella_then_guitar": Activity("order", "umbrella", "guitar"),
    "guitar_then_umbrella": Activity("order", "guitar", "umbrella"),
    "barbell_then_broom": Activity("order", "barbell", "broom"),
    "broom_then_barbell": Activity("order", "broom", "barbell"),
    "long_ball_short_reads": Activity("extent", "ball", "read"),
    "short_balls_long_read": Activity("extent", "read", "ball"),
}

#: Names of the one-actions, sorted.
ONE_ACTIONS = tuple(
    sorted({*FILLERS, *(name for a in ACTIVITIES.values() for name in (a.first, a.second))})
)


@dataclass(frozen=True)
class Bout:
    """One one-action, from frame ``start`` up to but not including frame ``stop``."""

    action: str
    start: int
    stop: int


@dataclass(frozen=True)
class Plan:
    """The bouts of a video in order; between them the figure rests."""

    bouts: tuple[Bout, ...]
    n_frames: int

    def action_at(self, frame: int) -> str:
        """Name of the one-action at a frame, or ``rest``."""
        return next((b.action for b in self.bouts if b.start <= frame < b.stop), REST)


def make_plan(activity: str, fps: int, rng: np.random.Generator) -> Plan:
    """Draw a plan of one video.

    Args:
        activity: a name of ``ACTIVITIES``.
        fps: frames per second.
        rng: source of every choice.

    Raises:
        ValueError: if the activity is unknown.
    """
    checks.one_of("activity", activity, tuple(ACTIVITIES))
    parts = ACTIVITIES[activity]
    arrange = _in_order if parts.kind == "order" else _by_extent
    bouts, frame = [], _frames(_PAUSE_SECONDS, fps, rng)
    for action, n_frames in arrange(parts, fps, rng):
        bouts.append(Bout(action, frame, frame + n_frames))
        frame += n_frames + _frames(_PAUSE_SECONDS, fps, rng)
    return Plan(tuple(bouts), frame)


def _in_order(parts: Activity, fps: int, rng: np.random.Generator) -> list[tuple[str, int]]:
    core = [(name, _frames(_CORE_SECONDS, fps, rng)) for name in (parts.first, parts.second)]
    filler = (str(rng.choice(FILLERS)), _frames(_FILLER_SECONDS, fps, rng))
    return [filler, *core] if rng.random() < 0.5 else [*core, filler]


def _by_extent(parts: Activity, fps: int, rng: np.random.Generator) -> list[tuple[str, int]]:
    long = [(parts.first, _frames(_TOTAL_SECONDS, fps, rng))]
    total = _frames(_TOTAL_SECONDS, fps, rng)
    least = min(round(_MIN_BOUT_SECONDS * fps), total // _N_SHORT_BOUTS)
    shares = rng.dirichlet(np.full(_N_SHORT_BOUTS, 4.0))
    cuts = np.floor(np.cumsum(shares)[:-1] * (total - _N_SHORT_BOUTS * least)).astype(int)
    extra = np.diff(cuts, prepend=0, append=total - _N_SHORT_BOUTS * least)
    short = [(parts.second, least + int(n)) for n in extra]
    return [*long, *short] if rng.random() < 0.5 else [*short, *long]


def _frames(span_seconds: tuple[float, float], fps: int, rng: np.random.Generator) -> int:
    return max(1, round(rng.uniform(*span_seconds) * fps))
