"""Preprocess decoded frames for a backbone: resize, crop, normalise.

A ``Transform`` is a record, so feature banks can store their preprocessing and refuse another one.
PyTorch is imported only when a transform is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from timeception import checks

INTERPOLATIONS = ("bilinear", "bicubic")
CHANNEL_ORDERS = ("rgb", "bgr")
CHUNK_FRAMES = 32  # resized at once, to limit the memory needed beyond the result


@dataclass(frozen=True)
class Transform:
    """Resize, centre crop and normalise the frames of a clip.

    Values are ``(frame / scale - mean) / std`` per channel. Resizing is antialiased and rounds to
    8-bit levels; it equals torchvision's on 8-bit tensors, and is within 2 levels of PIL's.

    Args:
        resize: short side in pixels after resizing (the long side keeps the aspect ratio, rounded
            down); ``None`` keeps the size.
        crop: side of the central square; ``None`` keeps the full frame. The offset is
            ``round(margin / 2)``.
        interpolation: ``"bilinear"`` or ``"bicubic"``.
        mean: per channel, in ``channel_order``, after division by ``scale``.
        std: per channel, in ``channel_order``, after division by ``scale``.
        scale: divides the 8-bit levels; 1 keeps 0..255.
        channel_order: of the result; input frames are RGB.
        resize_only_up: do not resize frames whose short side is at least ``resize``.

    Raises:
        ValueError: if a field is out of range, or ``crop`` exceeds ``resize``.

    Example:
        >>> import numpy as np
        >>> frames = np.zeros((2, 120, 160, 3), dtype=np.uint8)
        >>> PRESETS["imagenet"](frames).shape
        (3, 2, 224, 224)
    """

    resize: int | None = 256
    crop: int | None = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    scale: float = 255.0
    channel_order: str = "rgb"
    resize_only_up: bool = False

    def __post_init__(self) -> None:
        for name in ("resize", "crop"):
            if getattr(self, name) is not None:
                size = checks.positive_int(name, getattr(self, name), "None disables it.")
                object.__setattr__(self, name, size)
        if self.resize is not None and self.crop is not None:
            fits, must = self.crop <= self.resize, f"fit in resize ({self.resize})"
            checks.require(fits, "crop", must, self.crop)
        checks.one_of("interpolation", self.interpolation, INTERPOLATIONS)
        checks.one_of("channel_order", self.channel_order, CHANNEL_ORDERS)
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            checks.require(len(values) == 3, name, "be three numbers, one per channel", values)
            object.__setattr__(self, name, values)
        checks.require(min(self.std) > 0, "std", "be positive", self.std)
        checks.require(self.scale > 0, "scale", "be positive", self.scale)
        object.__setattr__(self, "scale", float(self.scale))

    def __call__(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Apply the transform to 8-bit RGB frames of one size.

        Shape:
            (T, H, W, 3) -> (3, T, H', W'), a new, contiguous array.

        Raises:
            ValueError: if ``frames`` has another dtype or shape, or is smaller than the crop.
        """
        levels = self.levels(frames)
        multiplier, offset = self.affine()
        result = np.empty((3, *levels.shape[:3]), dtype=np.float32)
        np.multiply(levels.transpose(3, 0, 1, 2), multiplier[:, None, None, None], out=result)
        result += offset[:, None, None, None]
        return result

    def levels(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Only resize and crop 8-bit RGB frames: a quarter of the bytes of the whole transform.

        Shape:
            (T, H, W, 3) -> (T, H', W', 3), a new, contiguous array in ``channel_order``.

        Raises:
            ValueError: if ``frames`` has another dtype or shape, or is smaller than the crop.
        """
        is_clip = frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[-1] == 3
        received = f"{frames.dtype} of shape {frames.shape}"
        checks.require(is_clip, "frames", "be uint8 of shape (T, H, W, 3)", received)
        n_frames, height, width = frames.shape[:3]
        top, left, out_height, out_width = self._crop_box(*self.resized_size(height, width))
        result = np.empty((n_frames, out_height, out_width, 3), dtype=np.uint8)
        for start in range(0, n_frames, CHUNK_FRAMES):
            part = slice(start, start + CHUNK_FRAMES)
            sized = self._resized(frames[part])
            cropped = sized[:, top : top + out_height, left : left + out_width]
            result[part] = cropped[..., ::-1] if self.channel_order == "bgr" else cropped
        return result

    def affine(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Multiplier and offset per channel, (3,) each, that normalise the levels."""
        mean, std = np.array(self.mean), np.array(self.std)
        return (1 / (self.scale * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels of a frame after resizing, before the crop.

        Example:
            >>> Transform(resize=256).resized_size(240, 320)
            (256, 341)
        """
        short = min(height, width)
        if self.resize is None or (self.resize_only_up and short > self.resize):
            return height, width
        return self.resize * height // short, self.resize * width // short

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels of the result for frames of the given size.

        Example:
            >>> Transform(crop=None).output_size(240, 320), Transform().output_size(240, 320)
            ((256, 341), (224, 224))
        """
        return self._crop_box(*self.resized_size(height, width))[2:]

    def to_dict(self) -> dict[str, Any]:
        """The fields in JSON form."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Transform:
        """Build a transform from the fields of ``to_dict``; unknown fields are errors."""
        known = [field.name for field in fields(cls)]
        for name in values:
            checks.one_of("field", name, known)
        return cls(**values)

    def replace(self, **changes: Any) -> Transform:
        """A copy with changed fields."""
        return replace(self, **changes)

    def _crop_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the crop in a resized frame."""
        if self.crop is None:
            return 0, 0, height, width
        must = f"have sides of at least the crop ({self.crop}) after resizing"
        advice = "Set resize, or use a smaller crop."
        fits = min(height, width) >= self.crop
        checks.require(fits, "frames", must, f"{height} x {width}", advice)
        top, left = round((height - self.crop) / 2), round((width - self.crop) / 2)
        return top, left, self.crop, self.crop

    def _resized(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resized frames (T, H, W, 3); the same array if the size is right already."""
        size = self.resized_size(*frames.shape[1:3])
        if size == frames.shape[1:3]:
            return frames
        import torch

        # A contiguous clip viewed as (T, 3, H, W) is channels-last, for which PyTorch has a fast
        # 8-bit kernel; torch.from_numpy requires a writeable array.
        owned = np.require(frames, requirements=("C_CONTIGUOUS", "WRITEABLE"))
        images = torch.from_numpy(owned).permute(0, 3, 1, 2)
        resize = torch.nn.functional.interpolate
        sized = resize(images, size, mode=self.interpolation, antialias=True)
        array: npt.NDArray[np.uint8] = sized.permute(0, 2, 3, 1).numpy()
        return array


#: Preprocessing of families of checkpoints by name.
PRESETS: dict[str, Transform] = {
    # torchvision, timm and most image networks
    "imagenet": Transform(),
    # I3D of 2017: [-1, 1]; only a short side below 226 is scaled up
    "i3d": Transform(resize=226, mean=(0.5,) * 3, std=(0.5,) * 3, resize_only_up=True),
    # PyTorchVideo and PySlowFast
    "kinetics_045": Transform(mean=(0.45,) * 3, std=(0.225,) * 3),
    # Caffe2 files of the video non-local networks and long-term feature banks: levels 0..255
    "caffe2": Transform(mean=(114.75,) * 3, std=(57.375,) * 3, scale=1.0),
    # kenshohara's 3D-ResNets
    "kenshohara": Transform(
        resize=112, crop=112, mean=(0.4345, 0.4051, 0.3775), std=(0.2768, 0.2713, 0.2737)
    ),
}
