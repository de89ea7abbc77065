"""What the network sees, and its precision and compilation."""

import copy
import shutil

import numpy as np
import pytest
import torch

from tests.features.videos import IDS, files
from timeception.backbones import create_backbone
from timeception.features import FeatureBank
from timeception.features.bank.store import MismatchError
from timeception.features.extraction.extract import extract, extract_features
from timeception.video import VideoReader


@pytest.mark.parametrize("name", ["tiny_images", "tiny_videos"])
def test_networks_see_what_the_transform_makes(folder, name):
    backbone, seen = create_backbone(name), []
    path = folder / "milk.avi"
    hook = backbone.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with VideoReader(path) as video:
        expected = backbone.transform(video.read(range(8)))
    extract_features(path, backbone, stride=8 if backbone.is_video else 1, batch_size=8)
    hook.remove()
    found = seen[-1] if backbone.is_video else torch.cat(seen[-4:])
    frames = [x for x in seen if x.device.type == "cpu"]
    first = frames[0][0] if backbone.is_video else frames[0].transpose(0, 1)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(first.numpy(), expected)


@pytest.mark.parametrize("name", ["tiny_images", "tiny_videos"])
def test_bf16_is_named_in_the_settings_and_mixes_with_nothing(folder, tmp_path, name):
    backbone = create_backbone(name)
    extract([folder], tmp_path / "fp32", backbone, dtype="float32")
    extract([folder], tmp_path / "bf16", backbone, dtype="float32", precision="bf16")
    whole, halved = FeatureBank(tmp_path / "fp32"), FeatureBank(tmp_path / "bf16")
    assert (whole.settings["precision"], halved.settings["precision"]) == ("fp32", "bf16")
    assert halved["milk"].provenance["precision"] == "bf16"
    for video_id in IDS:
        one, other = whole[video_id].features, halved[video_id].features
        assert 0 < np.abs(one - other).max() < 0.02 * np.abs(one).max()
    words = 'precision: "bf16" in the bank, "fp32" asked for'
    with pytest.raises(MismatchError, match=words):
        extract([folder], tmp_path / "bf16", backbone, dtype="float32")
    path = folder / "milk.avi"
    alone = extract_features(path, backbone, precision="bf16").features
    np.testing.assert_array_equal(alone, halved["milk"].features)


def test_bf16_in_parts_equals_one_run(folder, tmp_path, images):
    parts = tmp_path / "videos"
    parts.mkdir()
    shutil.copy(folder / "milk.avi", parts)
    options = {"stride": 2, "precision": "bf16", "batch_size": 3}
    extract([parts], tmp_path / "parts", images, **options)
    report = extract([folder], tmp_path / "parts", images, n_workers=1, **options)
    assert report.skipped == ["milk"]
    extract([folder], tmp_path / "whole", images, **options)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_a_network_that_bf16_changes_much_is_reported(folder, images, caplog):
    extract_features(folder / "short.mp4", images, precision="bf16")
    assert "changes the features" not in caplog.text
    with torch.no_grad():  # bf16 has no number between 1000 and 1004
        images.network.conv.weight[:] = 0
        images.network.conv.weight[..., 0, 0] = 1001
        images.network.conv.weight[..., 0, 1] = -1000
    extract_features(folder / "short.mp4", images, precision="bf16")
    assert "bf16 changes the features of tiny_images by " in caplog.text
    assert "more than 0.01: use fp32" in caplog.text


def test_a_processor_without_bf16_is_reported(folder, images, caplog, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    extract_features(folder / "short.mp4", images, precision="bf16")
    assert "this processor has no bf16 multiplication" in caplog.text
    caplog.clear()
    extract_features(folder / "short.mp4", images)
    assert not caplog.records


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_features(folder, tmp_path, monkeypatch):
    backbone = create_backbone("timm:test_resnet", "random")
    compiled = []
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: compiled.append(a) or compile_(*a, **k))
    extract([folder], tmp_path / "plain", backbone, dtype="float32")
    assert not compiled
    extract([folder], tmp_path / "compiled", backbone, dtype="float32", is_compiled=True)
    assert len(compiled) == 1
    plain, found = FeatureBank(tmp_path / "plain"), FeatureBank(tmp_path / "compiled")
    assert plain.settings == found.settings
    for video_id in IDS:
        expected = plain[video_id].features
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(found[video_id].features, expected, rtol=0, atol=atol)
    assert extract([folder], tmp_path / "plain", backbone, dtype="float32").skipped == IDS


def test_what_cannot_be_compiled_is_reported(folder, tmp_path, images, monkeypatch):
    from torch._inductor.exc import InvalidCxxCompiler

    path, n_threads = folder / "short.mp4", torch.get_num_threads()
    with pytest.raises(ValueError, match="precision must be fp32 where the network is compiled"):
        extract([path], tmp_path / "a", images, precision="bf16", is_compiled=True)

    def refuse(network, **options):
        def call(frames, endpoint):
            raise InvalidCxxCompiler("No working C++ compiler found in torch._inductor.config")

        other = copy.deepcopy(network)
        other.forward = call
        return other

    monkeypatch.setattr(torch, "compile", refuse)
    words = (
        r"tiny_images cannot be compiled here: .*Install a C\+\+ compiler \(g\+\+\), or leave out"
    )
    with pytest.raises(ValueError, match=words):
        extract([path], tmp_path / "b", images, is_compiled=True)
    assert torch.get_num_threads() == n_threads
    images.transform = images.transform.replace(crop=None)
    with pytest.raises(ValueError, match="transform must crop frames to one size"):
        extract([path], tmp_path / "c", images, is_compiled=True)
