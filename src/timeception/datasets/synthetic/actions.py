"""The one-actions: each has a cyclic pose and the object that the figure uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from timeception.datasets.synthetic.figure import (
    Canvas,
    Joints,
    Look,
    Pose,
    circle,
    draw_body,
    place,
    swing,
)
from timeception.datasets.synthetic.plans import ONE_ACTIONS, REST

_WOOD, _DARK, _WHITE = (150, 105, 60), (35, 35, 40), (245, 245, 240)

Draw = Callable[[Canvas, Joints, Look, float], None]


@dataclass(frozen=True)
class OneAction:
    """Appearance of a one-action.

    Args:
        pose: The pose at a phase in [0, 1) of the cycle.
        cycle_seconds: Length of a cycle at pace 1.
        behind: Draws objects behind the body.
        front: Draws objects in front of the body.
    """

    pose: Callable[[float], Pose]
    cycle_seconds: float
    behind: Draw = lambda *_: None
    front: Draw = lambda *_: None


def draw_figure(canvas: Canvas, action: str, seconds: float, look: Look) -> None:
    """Draw the figure at one moment of a one-action (or at rest)."""
    how = _HOW[action]
    phase = (seconds * look.pace / how.cycle_seconds) % 1.0
    joints = place(how.pose(phase))
    how.behind(canvas, joints, look, phase)
    draw_body(canvas, joints, look)
    how.front(canvas, joints, look, phase)


def _umbrella(canvas: Canvas, joints: Joints, look: Look, phase: float) -> None:
    x, y = joints.right_hand
    top = (x - 0.06, y + 0.32)
    canvas.line([(x, y - 0.05), top], 0.018, _DARK)
    canvas.polygon(circle((top[0], top[1] - 0.12), 0.36, 90, 270), look.thing)
    for side in (-1, 0, 1):
        centre = (top[0] + side * 0.24, top[1] - 0.12)
        canvas.polygon(circle(centre, 0.1, 90, 270), look.trim)


def _guitar(canvas: Canvas, joints: Joints, look: Look, phase: float) -> None:
    x, y = joints.hips[0] + 0.07, joints.hips[1] + 0.07
    canvas.line([(x, y), (x - 0.42, y + 0.2)], 0.04, _DARK)
    canvas.disc((x - 0.42, y + 0.2), 0.035, look.trim)
    canvas.disc((x + 0.05, y - 0.02), 0.125, look.thing)
    canvas.disc((x - 0.09, y + 0.05), 0.095, look.thing)
    canvas.disc((x - 0.02, y + 0.015), 0.045, _DARK)
    canvas.line([joints.right_arm[1], joints.right_hand], 0.05, look.skin)


def _barbell(canvas: Canvas, joints: Joints, look: Look, phase: float) -> None:
    y = (joints.left_hand[1] + joints.right_hand[1]) / 2
    canvas.line([(-0.48, y), (0.48, y)], 0.02, (170, 170, 175))
    for side in (-1, 1):
        canvas.line([(side * 0.38, y - 0.14), (side * 0.38, y + 0.14)], 0.055, _DARK)
        canvas.line([(side * 0.45, y - 0.09), (side * 0.45, y + 0.09)], 0.045, look.thing)


def _broom(canvas: Canvas, joints: Joints, look: Look, phase: float) -> None:
    top, foot = joints.left_hand, (0.34 + 0.09 * swing(phase), 0.1)
    canvas.line([top, foot], 0.025, _WOOD)
    brush = [(foot[0] - 0.05, 0.1), (foot[0] + 0.05, 0.1), (foot[0] + 0.13, -0.02)]
    canvas.polygon([*brush, (foot[0] - 0.13, -0.02)], look.thing)
    canvas.line([(foot[0] - 0.06, 0.1), (foot[0] + 0.06, 0.1)], 0.03, look.trim)


def _ball(canvas: Canvas, joints: Joints, look: Look, phase: float) -> None:
    foot = joints.right_leg[2]
    height = foot[1] + 0.12 + 0.45 * (1 - swing(phase) ** 2)
    centre = (foot[0] + 0.1, height)
    canvas.disc(centre, 0.115, _WHITE)
    canvas.disc(centre, 0.04, _DARK)
    for x, y in ((-0.08, 0.03), (0.08, 0.03), (0.0, -0.085), (-0.05, 0.08), (0.06, 0.08)):
        canvas.disc((centre[0] + x, centre[1] + y), 0.022, _DARK)


def _chair(canvas: Canvas, joints: Joints, look: Look, phase: float) -> None:
    seat = joints.hips[1] - 0.05
    for x in (-0.2, 0.17):
        canvas.line([(x, seat), (x, 0.0)], 0.03, _WOOD)
    top, bottom = seat + 0.03, seat - 0.04
    canvas.polygon([(-0.24, top), (0.21, top), (0.21, bottom), (-0.24, bottom)], look.trim)
    for x in (-0.2, -0.1, 0.0, 0.1, 0.17):
        canvas.line([(x, seat), (x, seat + 0.5)], 0.02, _WOOD)
    canvas.line([(-0.2, seat + 0.5), (0.17, seat + 0.5)], 0.045, _WOOD)


def _newspaper(canvas: Canvas, joints: Joints, look: Look, phase: float) -> None:
    x, y = joints.hips[0], (joints.left_hand[1] + joints.right_hand[1]) / 2
    corners = [(x - 0.2, y - 0.12), (x - 0.2, y + 0.13), (x + 0.2, y + 0.13), (x + 0.2, y - 0.12)]
    canvas.polygon(corners, _WHITE)
    for row in range(5):
        level = y + 0.09 - 0.045 * row
        canvas.line([(x - 0.17, level), (x - 0.02, level)], 0.012, (110, 110, 110))
        canvas.line([(x + 0.02, level), (x + 0.17, level)], 0.012, (110, 110, 110))


_HOW = {
    REST: OneAction(lambda p: Pose(torso=180 + 1.5 * swing(p)), 2.0),
    "wave": OneAction(
        lambda p: Pose(left_arm=(-150, -180 + 30 * swing(p)), right_arm=(150, 180 - 30 * swing(p))),
        0.7,
    ),
    "star_jump": OneAction(
        lambda p: Pose(
            left_arm=(-100 + 20 * swing(p), -105 + 20 * swing(p)),
            right_arm=(100 - 20 * swing(p), 105 - 20 * swing(p)),
            left_leg=(-32, -32),
            right_leg=(32, 32),
            rise=0.02 + 0.06 * swing(p),
        ),
        0.6,
    ),
    "umbrella": OneAction(
        lambda p: Pose(
            torso=180 + 4 * swing(p),
            right_arm=(40, 165),
            left_leg=(-6 - 10 * swing(p), -4),
            right_leg=(6 + 10 * swing(p), 4),
        ),
        1.2,
        behind=_umbrella,
    ),
    "guitar": OneAction(
        lambda p: Pose(left_arm=(-40, -80), right_arm=(35, -50 + 25 * swing(4 * p))),
        1.6,
        front=_guitar,
    ),
    "barbell": OneAction(
        lambda p: Pose(
            left_arm=(-95 - 40 * swing(p), 180 + 5 * swing(p)),
            right_arm=(95 + 40 * swing(p), 180 - 5 * swing(p)),
            left_leg=(-22, 0),
            right_leg=(22, 0),
            rise=-0.02,
        ),
        1.4,
        front=_barbell,
    ),
    "broom": OneAction(
        lambda p: Pose(
            torso=172,
            left_arm=(5 + 15 * swing(p), 70),
            right_arm=(20 + 20 * swing(p), 30 + 15 * swing(p)),
            left_leg=(-18, -8),
            right_leg=(16, 6),
            rise=-0.02,
        ),
        0.9,
        front=_broom,
    ),
    "ball": OneAction(
        lambda p: Pose(
            torso=184,
            left_arm=(-60, -75),
            right_arm=(60, 75),
            right_leg=(50 + 20 * swing(p), 20 + 25 * swing(p)),
        ),
        0.9,
        front=_ball,
    ),
    "read": OneAction(
        lambda p: Pose(
            torso=180 + 2 * swing(p),
            left_arm=(-25, 40),
            right_arm=(25, -40),
            left_leg=(-55, 0),
            right_leg=(55, 0),
            rise=-0.14,
        ),
        2.5,
        behind=_chair,
        front=_newspaper,
    ),
}
assert set(_HOW) == {*ONE_ACTIONS, REST}
