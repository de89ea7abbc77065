"""An articulated figure in a room, drawn frame by frame.

Coordinates of the body: the figure stands at x = 0 on the floor y = 0 and is 1 high; x to the
right, y up. Angles in degrees from straight down, turning to the right: 90 points right, 180 up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, radians, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

_TORSO, _UPPER_ARM, _FOREARM, _THIGH, _SHIN = 0.30, 0.17, 0.16, 0.24, 0.24
_HEAD_RADIUS, _SHOULDER, _HIP = 0.085, 0.10, 0.05  # half widths
_OVERSAMPLING = 2  # drawn larger, then reduced, for smooth edges


@dataclass(frozen=True)
class Pose:
    """Angles of torso and limbs (left: the viewer's), and how far the hips rise or sink."""

    torso: float = 180.0
    left_arm: tuple[float, float] = (-12.0, -6.0)
    right_arm: tuple[float, float] = (12.0, 6.0)
    left_leg: tuple[float, float] = (-6.0, -4.0)
    right_leg: tuple[float, float] = (6.0, 4.0)
    rise: float = 0.0


@dataclass(frozen=True)
class Look:
    """Properties that vary between videos but carry no information about the activity."""

    x: float
    floor: float
    height: float
    is_mirrored: bool
    pace: float
    skin: Colour
    shirt: Colour
    trousers: Colour
    thing: Colour
    trim: Colour


class Canvas:
    """A square image on which shapes are drawn in coordinates of the body."""

    def __init__(self, background: Image.Image, look: Look) -> None:
        self.image = background.copy()
        self._draw = ImageDraw.Draw(self.image)
        self._look = look
        self._unit = look.height * background.width

    def pixel(self, point: Point) -> Point:
        """Position of a point in pixels of the enlarged image."""
        side, look = self.image.width, self._look
        x = -point[0] if look.is_mirrored else point[0]
        return look.x * side + x * self._unit, look.floor * side - point[1] * self._unit

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A line with round ends and joints."""
        pixels = [self.pixel(point) for point in points]
        self._draw.line(pixels, fill=colour, width=max(1, round(width * self._unit)))
        for point in points:
            self.disc(point, width / 2, colour)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        (x, y), r = self.pixel(centre), radius * self._unit
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon([self.pixel(point) for point in points], fill=colour)

    def frame(self) -> NDArray[np.uint8]:
        """The finished frame, uint8 of shape (side, side, 3)."""
        return np.asarray(self.image.reduce(_OVERSAMPLING))


@dataclass(frozen=True)
class Joints:
    """Positions of the hands, feet, shoulders, hips and head."""

    left_arm: tuple[Point, Point, Point]
    right_arm: tuple[Point, Point, Point]
    left_leg: tuple[Point, Point, Point]
    right_leg: tuple[Point, Point, Point]
    hips: Point
    neck: Point
    head: Point

    @property
    def left_hand(self) -> Point:
        """End of the left arm."""
        return self.left_arm[2]

    @property
    def right_hand(self) -> Point:
        """End of the right arm."""
        return self.right_arm[2]


def place(pose: Pose) -> Joints:
    """Forward kinematics: from angles to positions.

    Example:
        >>> head = place(Pose()).head
        >>> round(head[0], 3), round(head[1], 2)
        (0.0, 0.89)
    """
    hips = (0.0, _THIGH + _SHIN + pose.rise)
    neck = _along(hips, pose.torso, _TORSO)
    return Joints(
        _limb((neck[0] - _SHOULDER, neck[1]), pose.left_arm, (_UPPER_ARM, _FOREARM)),
        _limb((neck[0] + _SHOULDER, neck[1]), pose.right_arm, (_UPPER_ARM, _FOREARM)),
        _limb((hips[0] - _HIP, hips[1]), pose.left_leg, (_THIGH, _SHIN)),
        _limb((hips[0] + _HIP, hips[1]), pose.right_leg, (_THIGH, _SHIN)),
        hips,
        neck,
        _along(neck, pose.torso, 1.3 * _HEAD_RADIUS),
    )


def draw_body(canvas: Canvas, joints: Joints, look: Look) -> None:
    """Legs, torso, head and arms, back to front."""
    for leg in (joints.left_leg, joints.right_leg):
        canvas.line(leg, 0.075, look.trousers)
    corners = [joints.left_arm[0], joints.right_arm[0], joints.right_leg[0], joints.left_leg[0]]
    canvas.polygon(corners, look.shirt)
    canvas.line([joints.neck, joints.hips], 0.13, look.shirt)
    canvas.disc(joints.head, _HEAD_RADIUS, look.skin)
    for shoulder, elbow, hand in (joints.left_arm, joints.right_arm):
        canvas.line([shoulder, elbow], 0.06, look.shirt)
        canvas.line([elbow, hand], 0.05, look.skin)


def _along(start: Point, angle: float, length: float) -> Point:
    return start[0] + length * sin(radians(angle)), start[1] - length * cos(radians(angle))


def _limb(
    start: Point, angles: tuple[float, float], lengths: tuple[float, float]
) -> tuple[Point, Point, Point]:
    joint = _along(start, angles[0], lengths[0])
    return start, joint, _along(joint, angles[1], lengths[1])


def circle(centre: Point, radius: float, start: float = 0.0, stop: float = 360.0) -> list[Point]:
    """Points on an arc; for angles see the module's docstring."""
    return [_along(centre, angle, radius) for angle in np.linspace(start, stop, 25)]


def draw_background(side: int, rng: np.random.Generator, floor: float) -> Image.Image:
    """A room: wall, floor and two random panels, at the enlarged size."""
    size = side * _OVERSAMPLING
    wall, ground, *panels = rng.integers(90, 235, (4, 3)).tolist()
    image = Image.new("RGB", (size, size), tuple(wall))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, (floor - 0.08) * size, size, size), fill=tuple(ground))
    for colour in panels:
        x, y = rng.uniform(-0.1, 0.9), rng.uniform(0.0, 0.5)
        width, height = rng.uniform(0.1, 0.3, 2)
        box = tuple(float(v * size) for v in (x, y, x + width, y + height))
        draw.rectangle(box, fill=tuple(colour), outline=(70, 60, 50), width=size // 100)
    return image


def draw_look(rng: np.random.Generator) -> Look:
    """Choose a look at random."""
    skin = rng.uniform(0.45, 1.0) * np.array([235, 190, 160])
    colours = [tuple(rng.integers(20, 236, 3).tolist()) for _ in range(4)]
    return Look(
        rng.uniform(0.4, 0.6),
        rng.uniform(0.86, 0.92),
        rng.uniform(0.54, 0.66),
        bool(rng.random() < 0.5),
        rng.uniform(0.8, 1.25),
        tuple(skin.astype(int).tolist()),
        *colours,
    )


def swing(phase: float) -> float:
    """Go smoothly from -1 to 1 and back within one phase."""
    return -cos(2 * pi * phase)
