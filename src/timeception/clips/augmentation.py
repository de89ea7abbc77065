"""Random augmentation of training clips; all frames of a clip change alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks

Frames = NDArray[np.uint8]

#: Weights of red, green and blue in brightness (ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Augmentation:
    """Random crop, mirror image and colour, chosen once per clip.

    Args:
        has_random_crop: crop at a random place instead of the middle.
        flip: probability of a horizontal mirror image.
        colour: brightness, contrast and saturation are each multiplied by a factor from
            [1 - colour, 1 + colour].

    Example:
        >>> clip = np.zeros((4, 40, 60, 3), dtype=np.uint8)
        >>> Augmentation(has_random_crop=True)(clip, 32, np.random.default_rng(0)).shape
        (4, 32, 32, 3)
    """

    has_random_crop: bool = False
    flip: float = 0.0
    colour: float = 0.0

    def __call__(self, frames: Frames, crop: int | None, rng: np.random.Generator) -> Frames:
        """Augment a clip.

        Args:
            frames: 8-bit RGB, (T, H, W, 3).
            crop: side of the square in pixels; ``None`` keeps the whole frame.
            rng: random generator of all choices.

        Returns:
            (T, crop, crop, 3), or the input size if nothing is cropped.

        Raises:
            ValueError: if the frames are smaller than the crop.
        """
        if self.has_random_crop and crop is not None:
            frames = random_crop(frames, crop, rng)
        if self.flip and rng.random() < self.flip:
            frames = frames[:, :, ::-1]
        if self.colour:
            factors = rng.uniform(1 - self.colour, 1 + self.colour, 3)
            frames = change_colour(frames, *factors.tolist())
        return frames


NO_AUGMENTATION = Augmentation()


def random_crop(frames: Frames, side: int, rng: np.random.Generator) -> Frames:
    """Crop the same random square from every frame, (T, H, W, 3)."""
    height, width = frames.shape[1:3]
    checks.require(side <= min(height, width), "crop", f"fit in {height} x {width} frames", side)
    top = int(rng.integers(0, height - side, endpoint=True))
    left = int(rng.integers(0, width - side, endpoint=True))
    return frames[:, top : top + side, left : left + side]


def change_colour(frames: Frames, brightness: float, contrast: float, saturation: float) -> Frames:
    """Scale brightness, contrast (around the clip's mean grey) and saturation of a clip.

    Example:
        >>> grey = np.full((1, 2, 2, 3), 100, dtype=np.uint8)
        >>> change_colour(grey, 1.5, 2.0, 0.0)[0, 0, 0].tolist()
        [150, 150, 150]
    """
    pixels: NDArray[Any] = frames.astype(np.float32) * np.float32(brightness)
    middle = (pixels @ LUMA).mean()
    pixels = (pixels - middle) * np.float32(contrast) + middle
    grey = (pixels @ LUMA)[..., None]
    pixels = (pixels - grey) * np.float32(saturation) + grey
    return pixels.round().clip(0, 255).astype(np.uint8)
