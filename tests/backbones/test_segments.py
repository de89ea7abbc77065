"""Isolated and continuous timesteps: chunks of any size give what one pass over the video gives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from timeception.backbones import (
    Backbone,
    WeightsRecord,
    continuous_features,
    create_backbone,
    isolated_features,
    plan_chunks,
)
from timeception.backbones.i3d import I3d
from timeception.backbones.resnet3d import ResNet3d, ResNet3dLayout
from timeception.video.transforms import PRESETS

INFLATED = ResNet3dLayout(((3,), (3,), (3,), (3,)))
FULL = ResNet3dLayout(((1,), (1,), (1,), (1,)), stem_kernel=7, is_full_3d=True)


def make(network, frames_per_segment, temporal_stride):
    return Backbone(
        "net",
        network,
        PRESETS["i3d"],
        WeightsRecord("made here", "none"),
        frames_per_segment=frames_per_segment,
        temporal_stride=temporal_stride,
    )


@pytest.fixture(scope="module")
def backbones():
    torch.manual_seed(0)
    return {
        "i3d": make(I3d(n_classes=1), 8, 8),
        "r3d": make(ResNet3d(INFLATED), 8, 2),
        "full": make(ResNet3d(FULL), 16, 16),
    }


def video(n_frames):
    rng = np.random.default_rng(n_frames)
    return rng.standard_normal((3, n_frames, 8, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "n_frames", "chunk_segments"),
    [("i3d", 131, 6), ("r3d", 64, 3), ("r3d", 71, 1), ("full", 101, 2)],
)
def test_chunks_equal_one_pass_over_the_whole_video(backbones, name, n_frames, chunk_segments):
    backbone, frames = backbones[name], video(n_frames)
    n_steps = n_frames // backbone.frames_per_segment
    whole = backbone(torch.from_numpy(frames[None, :, : n_steps * backbone.frames_per_segment]))
    whole = whole[0].unflatten(1, (n_steps, -1)).mean(2).transpose(0, 1)
    parts = list(continuous_features(backbone, lambda i: frames[:, i], n_frames, chunk_segments))
    assert len(parts) >= 3 and {len(part) for part in parts[:-1]} == {chunk_segments}
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-5)


def test_isolated_segments_see_nothing_else(backbones):
    backbone, frames = backbones["r3d"], video(24)
    segments = torch.from_numpy(frames).unflatten(1, (3, 8)).transpose(0, 1)
    together = isolated_features(backbone, segments)
    assert together.shape == (3, 2048, 1, 1)
    torch.testing.assert_close(isolated_features(backbone, segments[1:2]), together[1:2])
    continuous = torch.cat(list(continuous_features(backbone, lambda i: frames[:, i], 24)))
    assert continuous.shape == together.shape
    assert not torch.allclose(continuous, together, rtol=1e-2)


def test_segments_of_image_networks_are_frames():
    backbone = create_backbone("timm:resnet18", weights="random", endpoint="stage1")
    frames = video(5)
    alone = isolated_features(backbone, torch.from_numpy(frames).transpose(0, 1)[:, :, None])
    parts = list(continuous_features(backbone, lambda i: frames[:, i], 5, chunk_segments=2))
    assert [len(part) for part in parts] == [2, 2, 1]
    torch.testing.assert_close(torch.cat(parts), alone)


def test_a_video_shorter_than_a_segment_repeats_its_last_frame(backbones):
    backbone, frames = backbones["i3d"], video(5)
    (part,) = continuous_features(backbone, lambda indices: frames[:, indices], 5)
    repeated = frames[:, [0, 1, 2, 3, 4, 4, 4, 4]]
    expected = isolated_features(backbone, torch.from_numpy(repeated[None]))
    torch.testing.assert_close(part, expected)


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 40), st.sampled_from(["i3d", "r3d", "full"]))
def test_chunks_cover_every_timestep_once(backbones, n_frames, chunk_segments, name):
    backbone = backbones[name]
    segment, margin = backbone.frames_per_segment, backbone.network.temporal_margin
    chunks = plan_chunks(backbone, n_frames, chunk_segments)
    n_steps = max(1, n_frames // segment)
    steps = [step for c in chunks for step in range(c.first_step, c.first_step + c.n_steps)]
    assert steps == list(range(n_steps))
    for chunk in chunks:
        stop = chunk.start_frame + chunk.n_frames
        first, last = chunk.first_step * segment, (chunk.first_step + chunk.n_steps) * segment
        assert chunk.start_frame % backbone.temporal_stride == 0
        assert chunk.start_frame + chunk.skip_frames == first
        assert chunk.start_frame == max(0, first - margin)
        assert stop == min(n_steps * segment, last + margin)


def test_attention_over_time_has_no_bounded_reach():
    layout = ResNet3dLayout(((3,), (3,), (3,), (3,)), non_local=((), (0,), (), ()))
    with pytest.raises(ValueError, match=r"backbone must reach a bounded number.*isolated"):
        plan_chunks(make(ResNet3d(layout), 8, 2), 100)


def test_segments_are_whole_strides(backbones):
    with pytest.raises(ValueError, match=r"frames_per_segment must be a multiple .*\(16\); got 24"):
        plan_chunks(make(backbones["full"].network, 24, 16), 100)
    with pytest.raises(ValueError, match=r"segments must have the shape \(S, 3, 8, H, W\)"):
        isolated_features(backbones["i3d"], torch.zeros(1, 3, 9, 8, 8))
