"""Small videos and small backbones for the tests of extraction."""

import av
import numpy as np
import torch
from torch import nn

from timeception.backbones import Backbone, FeatureNetwork, WeightsRecord, register
from timeception.video import Transform

TRANSFORM = Transform(resize=20, crop=16, mean=(0.5,) * 3, std=(0.25,) * 3)


def make_video(path, n_frames=20, width=32, height=24, seed=0, fps=12):
    """A short MPEG-4 video of drifting noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    picture = coarse.repeat(4, 0).repeat(4, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as file:
        stream = file.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(n_frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 2 * index, 1), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


#: Ids of the videos of ``make_folder``.
IDS = ["milk", "short", "tea/P03", "tea/P04.v2"]


def make_folder(root):
    """Four videos of 3 to 40 frames, one of another size, in folders."""
    make_video(root / "tea" / "P03.mp4", 40, seed=1)
    make_video(root / "tea" / "P04.v2.mkv", 17, seed=2)
    make_video(root / "milk.avi", 26, width=48, height=32, seed=3)
    make_video(root / "short.mp4", 3, seed=4)
    (root / "notes.txt.bak").write_text("no video")
    return root


def files(root):
    """Every file of a bank with its bytes."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


class TinyImages(FeatureNetwork):
    default_endpoint = "maps"
    endpoints = ("maps",)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=4)

    def forward(self, frames, endpoint):
        return self.conv(frames).relu()


class TinyVideos(FeatureNetwork):
    is_video = True
    default_endpoint = "maps"
    endpoints = ("maps",)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 6, (3, 3, 3), stride=(2, 4, 4), padding=(1, 0, 0))

    def forward(self, frames, endpoint):
        return self.conv(frames).relu()


def _backbone(name, network, frames_per_segment, endpoint, seed, transform):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = network()
    record = WeightsRecord(f"random (seed {seed})", "random")
    return Backbone(
        name,
        made,
        transform or TRANSFORM,
        record,
        endpoint=endpoint,
        frames_per_segment=frames_per_segment,
    )


@register("tiny_images")
def tiny_images(name, weights, endpoint, *, seed=0, transform=None):
    return _backbone(name, TinyImages, 1, endpoint, seed, transform)


@register("tiny_videos")
def tiny_videos(name, weights, endpoint, *, seed=0, transform=None):
    return _backbone(name, TinyVideos, 8, endpoint, seed, transform)
