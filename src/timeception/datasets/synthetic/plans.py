"""Timelines of synthetic complex activities, made of one-actions.

Six activities in three pairs. The two of a pair have the same one-actions for the same total times;
only the arrangement in time differs, so that no statistic of single frames (a mean, a maximum, a
histogram over time) distinguishes them:

- order: ``umbrella_then_guitar`` against ``guitar_then_umbrella``, ``barbell_then_broom`` against
  ``broom_then_barbell``. Three rounds of the two one-actions, the second directly after the first;
  one filler (``wave`` or ``star_jump``) before, between or after the rounds.
- extent: ``long_ball_short_reads`` against ``short_balls_long_read``. Both one-actions take the
  same total time, one of them in one bout and the other in four; either may come first.

Pauses of varying length separate rounds, fillers and bouts; both activities of a pair have the same
number of pauses.

Different pairs have different one-actions, so a model that ignores order can identify the pair, and
is right in half of the cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from timeception import checks

#: Fillers may occur in any activity of kind ``order`` and carry no information.
FILLERS = ("wave", "star_jump")
REST = "rest"

_N_ROUNDS = 3
_ROUND_SECONDS = (0.6, 1.1)  # of each one-action in each round, kind "order"
_FILLER_SECONDS = (0.6, 1.2)
_N_SHORT_BOUTS = 4
_TOTAL_SECONDS = (2.8, 3.6)  # of each one-action, kind "extent"
_MIN_BOUT_SECONDS = 0.5
_PAUSE_SECONDS = (0.25, 0.55)

Group = list[tuple[str, int]]  # one-actions and their numbers of frames, without pauses


@dataclass(frozen=True)
class Activity:
    """A complex activity: two relevant one-actions and their arrangement.

    Args:
        kind: In ``order``, ``first`` directly precedes ``second`` in every round. In ``extent``,
            ``first`` is one long bout and ``second`` is several short ones.
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
    """A one-action from frame ``start`` (inclusive) to frame ``stop`` (exclusive)."""

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


def make_plan(activity: str | Activity, fps: int, rng: np.random.Generator) -> Plan:
    """Generate a random plan of one video of an activity, by name in ``ACTIVITIES`` or as a record.

    Raises:
        ValueError: If the activity or one of its one-actions is unknown.
    """
    if isinstance(activity, Activity):
        parts = activity
    else:
        parts = ACTIVITIES[checks.one_of("activity", activity, tuple(ACTIVITIES))]
    for name in (parts.first, parts.second):
        checks.one_of("one-action", name, ONE_ACTIONS)
    checks.one_of("kind of activity", parts.kind, ("order", "extent"))
    arrange = _in_order if parts.kind == "order" else _by_extent
    bouts, frame = [], _frames(_PAUSE_SECONDS, fps, rng)
    for group in arrange(parts, fps, rng):
        for action, n_frames in group:
            bouts.append(Bout(action, frame, frame + n_frames))
            frame += n_frames
        frame += _frames(_PAUSE_SECONDS, fps, rng)
    return Plan(tuple(bouts), frame)


def _in_order(parts: Activity, fps: int, rng: np.random.Generator) -> list[Group]:
    names = (parts.first, parts.second)
    groups = [
        [(name, _frames(_ROUND_SECONDS, fps, rng)) for name in names] for _ in range(_N_ROUNDS)
    ]
    filler = (str(rng.choice(FILLERS)), _frames(_FILLER_SECONDS, fps, rng))
    groups.insert(int(rng.integers(_N_ROUNDS + 1)), [filler])
    return groups


def _by_extent(parts: Activity, fps: int, rng: np.random.Generator) -> list[Group]:
    long = [(parts.first, _frames(_TOTAL_SECONDS, fps, rng))]
    total = _frames(_TOTAL_SECONDS, fps, rng)
    least = max(1, min(round(_MIN_BOUT_SECONDS * fps), total // _N_SHORT_BOUTS))
    spare = total - _N_SHORT_BOUTS * least
    extra = rng.multinomial(max(0, spare), rng.dirichlet(np.full(_N_SHORT_BOUTS, 4.0)))
    short = [[(parts.second, least + int(n))] for n in extra]
    return [long, *short] if rng.random() < 0.5 else [*short, long]


def _frames(span_seconds: tuple[float, float], fps: int, rng: np.random.Generator) -> int:
    return max(1, round(rng.uniform(*span_seconds) * fps))
