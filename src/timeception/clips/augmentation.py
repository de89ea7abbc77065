"""Random augmentation of the frames of training clips; all frames of a clip change alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from timeception import checks

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Augmentation:
    """Random crop, mirror image and colour, chosen once per clip; by torchvision's transforms.

    Args:
        has_random_crop: crop at a random place instead of the middle.
        flip: probability of a horizontal mirror image.
        colour: brightness, contrast and saturation are each multiplied by a factor from
            [1 - colour, 1 + colour], in random order.

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
        import torch

        transforms = self._transforms(crop if self.has_random_crop else None, frames.shape)
        if not transforms:
            return frames
        clip = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
        with torch.random.fork_rng(devices=[]):  # the transforms take PyTorch's generator
            torch.manual_seed(int(rng.integers(2**63)))
            for transform in transforms:
                clip = transform(clip)
        return np.asarray(clip.numpy().transpose(0, 2, 3, 1))

    def _transforms(self, side: int | None, shape: tuple[int, ...]) -> list[Transform]:
        """The transforms of a clip, in order."""
        from torchvision.transforms import v2

        transforms: list[Transform] = []
        if side is not None:
            height, width = shape[1:3]
            is_valid = side <= min(height, width)
            checks.require(is_valid, "crop", f"fit in {height} x {width} frames", side)
            transforms.append(v2.RandomCrop(side))
        if self.flip:
            transforms.append(v2.RandomHorizontalFlip(self.flip))
        if self.colour:
            transforms.append(v2.ColorJitter(self.colour, self.colour, self.colour))
        return transforms


NO_AUGMENTATION = Augmentation()
