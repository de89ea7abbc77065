"""Training of the backbone with the layers, from video files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from timeception.backbones import create_backbone
from timeception.backbones.video_classifier import VideoClassifier
from timeception.clips.augmentation import Augmentation
from timeception.clips.sampler import ClipSampler, PrepareFrames
from timeception.clips.task_data import read_video_task_data
from timeception.clips.video_store import VideoStore
from timeception.evaluation.evaluate import evaluate
from timeception.features.extraction.extract import extract_features
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import load_saved
from timeception.recipes.recipe import Recipe, build_recipe
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.training.build_head import build_head
from timeception.training.runs import Run
from timeception.training.torch import module as torch_module
from timeception.training.train import train

pytestmark = [
    pytest.mark.slow,  # it trains
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning:lightning",
        "ignore::DeprecationWarning:tensorboard",
        "ignore::DeprecationWarning:torch",
    ),
]

BACKBONE = {"name": "timm:test_resnet", "weights": "random", "stride_frames": 2}
SIZES = {"resize": 40, "crop": 32}


def recipe_for(clips: Path, **changes: object) -> Recipe:
    fields: dict[str, object] = {
        "name": "pixels",
        "data": {"kind": "folder", "source": str(clips), "videos": str(clips)},
        "backbone": {**BACKBONE, **SIZES},
        "sampling": {"n_timesteps": 8},
        "model": {"n_layers": 2, "n_groups": 1, "hidden": 32, "dropout": [0, 0]},
        "training": {"scheme": "end_to_end", "epochs": 2, "batch_size": 8, "learning_rate": 0.01},
        "end_to_end": {"backbone_learning_rate": 0.002, "colour": 0.1},
        "testing": {"draws": 2},
    }
    fields["data"]["split"] = {"train": ["*"]}
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        fields[section] = {**fields.get(section, {}), leaf: value} if leaf else value
    return build_recipe(fields)


@pytest.fixture(scope="module")
def run(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    fields = {"epochs": 25, "batch_size": 4, "schedule": "cosine", "learning_rate": 0.01}
    training = {"scheme": "end_to_end", "optimizer": "adamw", **fields}
    recipe = recipe_for(clips, training=training, model__bn_momentum=0.3)
    return train(recipe, tmp_path_factory.mktemp("runs") / "pixels")


def test_it_overfits_eight_clips(run: Run) -> None:
    report = evaluate(run, n_draws=2, split="train")
    assert report.n_videos == 8
    assert report.equidistant.accuracy == 1.0
    assert report.average_of_draws.accuracy == 1.0
    curve = csv.DictReader((run.logs / "part_1" / "metrics.csv").read_text().splitlines())
    losses = [float(row["train_loss"]) for row in curve]
    assert len(losses) == 25
    assert losses[-1] < 0.1 < losses[0]


def test_prediction_goes_through_the_trained_backbone(run: Run, clips: Path) -> None:
    evaluate(run, n_draws=1, split="train")
    with (run.results / "train_scores.csv").open() as file:
        names = [row["record"] for row in csv.DictReader(file)]
    model = Predictor.load(run.root)
    problem = read_video_task_data(run.recipe(), model.backbone.transform, is_augmented=False)
    classifier = VideoClassifier(model.backbone, model.model.head).eval()
    for index, name in enumerate(names[:2]):
        frames = torch.from_numpy(problem.train.sampler.sample(index, None)).transpose(0, 1)[None]
        with torch.no_grad():
            expected = classifier(frames).softmax(dim=1)[0].numpy()
        assert model(clips / f"{name}.mp4").scores == pytest.approx(expected, abs=1e-4)


def test_the_saved_backbone_is_the_trained_one(run: Run) -> None:
    fresh = create_backbone("timm:test_resnet", "random").network.state_dict()
    saved = load_file(run.model / "backbone.safetensors")
    assert "model.fc.weight" in fresh and "model.fc.weight" not in saved  # after the endpoint
    changed = {name for name, array in saved.items() if not np.array_equal(array, fresh[name])}
    assert "model.conv1.weight" in changed or len(changed) > 5
    norms = {name for name in saved if "running" in name or ".bn" in name}
    assert norms and not norms & changed  # batch norms were frozen
    config = json.loads((run.model / "config.json").read_text())
    assert config["pipeline"]["timestep_seconds"] == pytest.approx(0.25)  # 8 in clips of 2 s
    record = config["pipeline"]["features"]["backbone"]["weights"]
    assert record["source"] == "backbone.safetensors"
    loaded = load_saved(run.root).backbone()
    for name, array in saved.items():
        np.testing.assert_array_equal(loaded.network.state_dict()[name].numpy(), array)


def test_resuming_gives_the_same_weights(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(clips, training__epochs=3, training__checkpoint_every=1)
    whole = train(recipe, tmp_path / "whole")
    step = torch_module.Training.training_step

    def stop_in_last_epoch(self: torch_module.Training, *batch: object) -> object:
        if self.current_epoch == 2:
            raise RuntimeError("the power went out")
        return step(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(torch_module.Training, "training_step", stop_in_last_epoch)
        with pytest.raises(RuntimeError, match="power"):
            train(recipe, tmp_path / "cut")
    resumed = train(recipe, tmp_path / "cut", resume=True)
    for file in ("model.safetensors", "backbone.safetensors"):
        expected = load_file(whole.model / file)
        for name, array in load_file(resumed.model / file).items():
            np.testing.assert_allclose(array, expected[name], atol=1e-6, err_msg=name)


def classifier(**options: object) -> VideoClassifier:
    torch.manual_seed(0)
    backbone = create_backbone("timm:test_resnet", "random").unfreeze()
    spec = ClassifierSpec(TimeceptionSpec(backbone.out_channels, 1, 1), 2, dropout=(0.0, 0.0))
    return VideoClassifier(backbone, build_head(spec), **options).train()


def test_gradient_checkpointing_changes_no_gradient() -> None:
    frames = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    gradients = []
    for is_checkpointed in (False, True):
        model = classifier(segments_per_pass=3, is_checkpointed=is_checkpointed)
        model(frames).square().sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert any("conv1" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_passes_of_any_size_give_the_same_features() -> None:
    frames = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        whole = classifier(segments_per_pass=8).eval().features(frames)
        parts = classifier(segments_per_pass=3).eval().features(frames)
    assert whole.shape[:3] == (2, whole.shape[1], 4)
    torch.testing.assert_close(parts, whole)


def test_backbone_and_head_learn_at_rates_of_their_own(clips: Path) -> None:
    recipe = recipe_for(clips)
    problem = read_video_task_data(recipe, create_backbone("timm:test_resnet", "random").transform)
    model = classifier()
    module = torch_module.Training(model, problem, recipe)
    groups = module.configure_optimizers()["optimizer"].param_groups
    rates = {group["lr"]: len(group["params"]) for group in groups}
    n_head = len(list(model.head.parameters()))
    n_trained = len([p for p in model.backbone.parameters() if p.requires_grad])
    assert rates == {0.01: n_head, 0.002: n_trained}
    default = recipe_for(clips, end_to_end={})
    assert torch_module.backbone_learning_rate(default) == pytest.approx(0.001)


def store_of(clips: Path, cache_bytes: int = 0, frames_per_segment: int = 1) -> VideoStore:
    paths = {f"{p.parent.name}/{p.stem}": p for p in sorted(clips.glob("*/*.mp4"))}
    transform = create_backbone("timm:test_resnet", "random").transform.replace(**SIZES)
    return VideoStore(clips, paths, frames_per_segment, 2, transform, cache_bytes)


@pytest.mark.parametrize("frames_per_segment", [1, 3])
def test_draws_are_the_same_with_and_without_memory(clips: Path, frames_per_segment: int) -> None:
    kept = store_of(clips, 10**9, frames_per_segment)
    read = store_of(clips, 0, frames_per_segment)
    for seed in (None, 3):
        rngs = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
        first, second = (s.draw("left/0", 5, r) for s, r in zip((kept, read), rngs, strict=True))
        assert first.shape == (5, frames_per_segment, 40, 66, 3)
        np.testing.assert_array_equal(first, second)
    assert kept._cached_bytes > 0 and read._cached_bytes == 0


def test_training_sees_the_features_that_extraction_makes(clips: Path) -> None:
    """The equidistant draw of frames, through the backbone, is that of extracted features."""
    from timeception.datasets.records import VideoRecord
    from timeception.video.sampling import sample_indices

    backbone = create_backbone("timm:test_resnet", "random")
    backbone.transform = backbone.transform.replace(**SIZES)
    store, records = store_of(clips), (VideoRecord("right/1", ("right",)),)
    sampler = ClipSampler(store, records, 4, PrepareFrames(store.transform))
    clip = torch.from_numpy(sampler.sample(0, None)).transpose(0, 1)[None]
    with torch.no_grad():
        ours = VideoClassifier(backbone, torch.nn.Identity()).features(clip)[0]
    extracted = extract_features(clips / "right" / "1.mp4", backbone, stride=2).features
    expected = extracted[sample_indices(len(extracted), 4)]
    np.testing.assert_allclose(ours.transpose(0, 1).numpy(), expected, atol=1e-4)


def test_timesteps_sampled_by_time(clips: Path, tmp_path: Path) -> None:
    """Training, the saved model and prediction follow ``backbone.fps``."""
    spacing = {"name": "timm:test_resnet", "weights": "random", "fps": 5}
    recipe = recipe_for(clips, backbone={**spacing, **SIZES}, training__epochs=1)
    run = train(recipe, tmp_path / "run")
    assert run.recipe().backbone == recipe.backbone
    model = load_saved(run.root)
    assert model.features["fps"] == 5.0 and "stride" not in model.features
    predictor, video = Predictor.load(run.root), clips / "left" / "0.mp4"
    features = extract_features(video, predictor.backbone, fps=5)
    assert model.timestep_seconds == pytest.approx(len(features.features) / 5 / 8)
    (window,) = predictor.score_windows(features, 1)
    np.testing.assert_allclose(predictor(video).scores, window.scores, atol=1e-6)


def test_every_frame_of_a_clip_is_changed_alike() -> None:
    still = np.random.default_rng(0).integers(0, 255, (1, 40, 60, 3), dtype=np.uint8)
    clip = np.repeat(still, 6, axis=0)
    change = Augmentation(has_random_crop=True, flip=0.5, colour=0.3)
    seen = set()
    for seed in range(8):
        changed = change(clip, 32, np.random.default_rng(seed))
        assert changed.shape == (6, 32, 32, 3)
        assert (changed == changed[:1]).all()
        seen.add(changed.tobytes())
    assert len(seen) == 8


def test_each_change_does_what_it_says() -> None:
    frames = np.random.default_rng(0).integers(30, 200, (2, 8, 10, 3), dtype=np.uint8)
    rng = np.random.default_rng(0)
    assert (Augmentation(flip=1.0)(frames, None, rng) == frames[:, :, ::-1]).all()
    assert (Augmentation()(frames, 8, rng) == frames).all()  # the transform crops the middle
    cropped = Augmentation(has_random_crop=True)(frames, 8, rng)
    assert any((cropped == frames[:, :, left : left + 8]).all() for left in range(3))
    with pytest.raises(ValueError, match="crop must fit in 8 x 10 frames; got 9"):
        Augmentation(has_random_crop=True)(frames, 9, rng)


def test_random_draws_differ_by_epoch_and_equidistant_ones_are_never_changed(clips: Path) -> None:
    from timeception.datasets.records import VideoRecord

    store, records = store_of(clips), (VideoRecord("left/0", ("left",)),)
    change = Augmentation(has_random_crop=True, colour=0.2)
    plain, changing = (
        ClipSampler(store, records, 6, PrepareFrames(store.transform, augmentation))
        for augmentation in (Augmentation(), change)
    )
    np.testing.assert_array_equal(changing.sample(0, 1), changing.sample(0, 1))
    assert not np.array_equal(changing.sample(0, 1), changing.sample(0, 2))
    np.testing.assert_array_equal(changing.sample(0, None), plain.sample(0, None))
    assert changing.sample(0, 1).shape == changing.shape() == (6, 3, 32, 32)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": None}, "requires data.videos and backbone"),
        ({"data__videos": None}, "requires data.videos and backbone"),
        ({"end_to_end__trains_batch_norm": True}, "gradient_checkpointing=false"),
        (
            {"backbone__channels": 7},
            r"backbone\.channels must be \d+, the value of timm:test_resnet at .*; got 7",
        ),
        ({"backbone__frames_per_segment": 8}, r"backbone\.frames_per_segment .* got 8"),
        ({"data__videos": "nowhere"}, "folder must be an existing folder; got .*nowhere"),
        ({"training__freeze": ["backbone.*", "*"]}, "leave something to train"),
        ({"training__freeze": ["backbon.*"]}, r"training\.freeze must match .* 'backbon\.\*'"),
    ],
)
def test_wrong_recipes_raise(
    clips: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        train(recipe_for(clips, **changes), tmp_path / "run")


def test_missing_and_broken_videos(clips: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for path in clips.glob("*/*.mp4"):
        (videos / path.parent.name).mkdir(parents=True, exist_ok=True)
        (videos / path.parent.name / path.name).write_bytes(path.read_bytes())
    (videos / "left" / "0.mp4").write_text("no video at all")
    (videos / "right" / "7.mp4").unlink()
    recipe = recipe_for(clips, data__videos=str(videos))
    transform = create_backbone("timm:test_resnet", "random").transform
    with pytest.raises(ValueError, match=r"lacks 1 of 8 videos: right/7\."):
        read_video_task_data(recipe, transform)
    allowed = recipe_for(clips, data__videos=str(videos), data__skip_missing=True)
    problem = read_video_task_data(allowed, transform)
    assert problem.left_out == ("left/0", "right/7")
    assert len(problem.train) == 6
