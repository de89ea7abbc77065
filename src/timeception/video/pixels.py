"""From a decoded frame to an upright 8-bit RGB array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

# Full chroma makes deep colour exact at no cost. It leaves FFmpeg's fast path for 8-bit 4:2:0 as it
# is, which exact rounding would make six times slower.
SCALER = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class Orientation:
    """How stored frames are turned to be upright: a transposition, then flips.

    Attributes:
        is_transposed: rows become columns.
        flips_columns: mirrored left to right, after the transposition.
        flips_rows: mirrored top to bottom, after the transposition.
    """

    is_transposed: bool = False
    flips_columns: bool = False
    flips_rows: bool = False

    @classmethod
    def of_frame(cls, frame: av.VideoFrame) -> Orientation:
        """Read the display matrix of a frame, rounded to the nearest quarter turn.

        The matrix sends the stored point (x, y) to (a x + c y, b x + d y), y pointing down.
        """
        side_data = cast("SideDataContainer", frame.side_data)
        matrix = side_data.get(SideDataType.DISPLAYMATRIX)
        if matrix is None:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, flips_columns=a < 0, flips_rows=d < 0)
        return cls(True, flips_columns=c < 0, flips_rows=b < 0)

    @property
    def rotation_degrees(self) -> int:
        """Clockwise turn: 0, 90, 180 or 270; a mirroring from left to right may follow it."""
        return (90 if self.is_transposed else 0) + (180 if self.flips_rows else 0)

    def apply(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn an image (H, W, 3) upright; a view of it."""
        if self.is_transposed:
            image = image.swapaxes(0, 1)
        if self.flips_columns:
            image = image[:, ::-1]
        if self.flips_rows:
            image = image[::-1]
        return image


def rgb_array(
    frame: av.VideoFrame, reformatter: VideoReformatter | None = None
) -> npt.NDArray[np.uint8]:
    """Convert a stored frame to 8-bit RGB (H, W, 3).

    The frame's own colour matrix and range hold; one that names no matrix is taken as BT.601, as
    FFmpeg, OpenCV and torchcodec take it. Flat colours come out within 3 levels of exact arithmetic
    for 8-bit 4:2:0 (about 1 too dark, as in those libraries) and within 2 for other formats.

    Args:
        frame: as it was decoded.
        reformatter: kept from frame to frame of a video, so that it is set up once.
    """
    rgb = (reformatter or VideoReformatter()).reformat(
        frame, format="rgb24", dst_color_range=ColorRange.JPEG, interpolation=SCALER, threads=1
    )
    array = cast("npt.NDArray[np.uint8]", rgb.to_ndarray())
    return array.copy() if rgb is frame else array  # frames stored as RGB are not handed out
