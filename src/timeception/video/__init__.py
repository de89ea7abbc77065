"""From video files to frames: decoding by exact index, index sampling, transforms."""

from timeception.video.decoding import VideoInfo, VideoReader, decoder_version, probe
from timeception.video.files import VideoError
from timeception.video.stream import FrameStream, StreamFrame, StreamSource
from timeception.video.transforms import PRESETS, Transform

__all__ = [
    "PRESETS",
    "FrameStream",
    "StreamFrame",
    "StreamSource",
    "Transform",
    "VideoError",
    "VideoInfo",
    "VideoReader",
    "decoder_version",
    "probe",
]
