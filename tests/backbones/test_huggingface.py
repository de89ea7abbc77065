import json

import pytest
import torch

from timeception.backbones import create_backbone

pytest.importorskip("transformers", reason="transformers is not installed")

TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 16,
    "num_frames": 4,
}
TINY_VJEPA2 = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "crop_size": 32,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
}
PREPROCESSING = {
    "size": {"shortest_edge": 40},
    "crop_size": {"height": 32, "width": 32},
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.2, 0.2],
    "resample": 3,
    "rescale_factor": 1 / 255,
}


def clip(n_frames, side=32):
    return torch.randn(1, 3, n_frames, side, side, generator=torch.Generator().manual_seed(0))


def test_videomae_tokens_keep_their_places():
    backbone = create_backbone("hf:videomae", weights="random", **TINY)
    assert backbone.frames_per_segment == 4 and backbone.temporal_stride == 2
    assert backbone.output_shape(4, 32, 32) == (24, 2, 2, 2)
    frames = clip(4)
    with torch.no_grad():
        tokens = backbone.network.model(pixel_values=frames.transpose(1, 2)).last_hidden_state
    maps = backbone(frames)
    torch.testing.assert_close(maps[0, :, 1, 0, 1], tokens[0, 1 * 4 + 0 * 2 + 1])


def test_vjepa2_leaves_its_predictor_out():
    backbone = create_backbone("hf:vjepa2", weights="random", **TINY_VJEPA2)
    assert backbone.frames_per_segment == 16
    assert backbone(clip(6)).shape == (1, 24, 3, 2, 2)
    assert not any("predictor" in name for name in backbone.network.state_dict())
    assert backbone.transform.resize == 36 and backbone.transform.crop == 32


@pytest.fixture
def folder(tmp_path):
    made = create_backbone("hf:videomae", weights="random", seed=1, **TINY)
    made.network.model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING))
    return tmp_path, made


def test_a_saved_folder_brings_weights_and_preprocessing(folder):
    path, made = folder
    backbone = create_backbone(f"hf:{path}")
    assert backbone.weights_hash == made.weights_hash
    transform = backbone.transform
    assert (transform.resize, transform.crop, transform.interpolation) == (40, 32, "bicubic")
    assert transform.mean == (0.5, 0.4, 0.3) and transform.scale == pytest.approx(255)
    torch.testing.assert_close(backbone(clip(4)), made(clip(4)))


def test_a_folder_without_preprocessing_asks_for_it(folder):
    path, _ = folder
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=r"has no .*preprocessor_config.json.*transform="):
        create_backbone(f"hf:{path}")


def test_a_folder_that_lacks_weights_is_refused(folder):
    from safetensors.torch import load_file, save_file

    path, _ = folder
    state = load_file(path / "model.safetensors")
    del state["encoder.layer.0.attention.output.dense.weight"]
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"contain every tensor of the encoder.*layer.0.attention"):
        create_backbone(f"hf:{path}")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("hf:videomae", {}, "weights must be 'random' for 'hf:videomae'"),
        ("hf:videomae", {"weights": "x.pt"}, "weights must be 'random'"),
        ("hf:./absent", {"weights": "random"}, "'./absent' is neither a readable folder nor"),
    ],
)
def test_wrong_use_is_reported(name, options, words):
    with pytest.raises(ValueError, match=words):
        create_backbone(name, **options)


@pytest.mark.parametrize("shape", [(5, 32), (4, 48)])
def test_frames_of_other_sizes_are_refused(shape):
    backbone = create_backbone("hf:videomae", weights="random", **TINY)
    with pytest.raises(ValueError, match=r"frames must be of 32 x 32 pixels, 4 of them; got"):
        backbone(clip(*shape))


def test_other_model_types_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match=r"model type of .* must be one of 'videomae', 'vjepa2'"):
        create_backbone(f"hf:{tmp_path}", weights="random")
