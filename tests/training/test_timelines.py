"""Localizers, trained on whole videos with a target for each timestep."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.training.small_runs import FRAMEWORK_WARNINGS, curve
from timeception.cli import main
from timeception.clips.timelines import read_timeline_data, step_targets
from timeception.datasets.records import Interval, TimedVideo
from timeception.evaluation.comparison import compare
from timeception.evaluation.timelines import evaluate_timelines, read_timelines
from timeception.features.bank import FeatureBank
from timeception.inference.saved_model import load_saved, load_timeline_model
from timeception.recipes.recipe import Recipe, build_recipe
from timeception.recipes.sections import TrainingSection
from timeception.torch import TimeceptionClassifier, TimeceptionLocalizer
from timeception.training.initialization import find_start
from timeception.training.torch.timelines import step_loss
from timeception.training.train import train

pytestmark = FRAMEWORK_WARNINGS
CHANNELS, CLASSES = 8, ("cut", "pour")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine videos of 20 to 36 steps a second apart, whose actions show in the features."""
    folder, rng = tmp_path_factory.mktemp("timelines"), np.random.default_rng(0)
    bank = FeatureBank(folder / "bank", mode="a", dtype="float32", settings={"made": "by hand"})
    rows = ["video,label,start,end,split"]
    for number in range(9):
        n_steps, split = 20 + 2 * number, ("train", "train", "test")[number % 3]
        features = rng.normal(0, 0.3, (n_steps, CHANNELS, 1, 1)).astype(np.float32)
        for label, first in (("cut", 3 + number % 4), ("pour", 12)):
            features[first : first + 5, CLASSES.index(label)] += 2
            rows.append(f"v{number},{label},{first},{first + 5},{split}")
        bank.write(f"v{number}", features, np.arange(n_steps), fps=1.0)
    (folder / "timed.csv").write_text("\n".join(rows) + "\n")
    return folder


def recipe_of(root: Path, **changes: object) -> Recipe:
    """A small recipe; ``section__field=value`` changes one field."""
    fields: dict = {
        "name": "small",
        "data": {
            "kind": "timed",
            "task": "timeline",
            "source": str(root / "timed.csv"),
            "bank": str(root / "bank"),
            "step_labels": "one",
            "background": "nothing",
        },
        "sampling": {"n_timesteps": None},
        "model": {"n_layers": 2, "n_groups": 1, "hidden": 8, "dropout": [0.0, 0.0]},
        "training": {"epochs": 25, "batch_size": 2, "optimizer": "adamw", "learning_rate": 0.01},
    }
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        fields[section] = {**fields.get(section, {}), leaf: value} if leaf else value
    return build_recipe(fields)


def several(root: Path, **changes: object) -> Recipe:
    labels = {"data__step_labels": "several", "data__background": None}
    return recipe_of(root, **labels, **changes)


def test_targets_are_those_of_the_middle_of_a_step() -> None:
    intervals = (Interval("cut", 0.4, 1.5), Interval("pour", 0.5, 0.6), Interval("cut", 1.5, 1.5))
    targets = step_targets(TimedVideo("v", intervals), CLASSES, np.arange(4.0))
    assert targets.tolist() == [[1, 1], [0, 0], [0, 0]]


def test_samples(root: Path) -> None:
    """Whole videos in order; every third step from a random one on; random parts."""
    data = read_timeline_data(recipe_of(root, sampling__stride_steps=3), is_augmented=True)
    assert data.classes == ("nothing", *CLASSES)
    sampler = data.train.sampler
    assert sampler.steps(0, None).tolist() == list(range(0, 20, 3))
    firsts = {int(sampler.steps(0, epoch)[0]) for epoch in range(20)}
    assert firsts == {0, 1, 2}
    features, targets = sampler.sample(0, None)
    assert features.shape == (7, CHANNELS, 1, 1)
    # cut from 3 to 8 seconds, pour from 12 to 17: at steps 0, 3, ..., 18
    assert targets.argmax(axis=1).tolist() == [0, 1, 1, 0, 2, 2, 0]
    part = read_timeline_data(recipe_of(root, sampling__n_timesteps=8), is_augmented=True)
    found = part.train.sampler.steps(1, 4)
    assert len(found) == 8
    assert (np.diff(found) == 1).all()
    assert len(part.split("test").sampler.steps(0, None)) == 24


def test_augmentation_moves_targets_with_their_steps(root: Path) -> None:
    recipe = recipe_of(root, augmentation={"speed": 0.5})
    sampler = read_timeline_data(recipe, is_augmented=True).train.sampler
    steps = sampler.steps(0, 1)
    assert steps.tolist() != list(range(20))
    np.testing.assert_array_equal(sampler.sample(0, 1)[1], sampler.targets(0)[steps])
    plain = read_timeline_data(recipe).train.sampler
    assert plain.steps(0, 1).tolist() == list(range(20))


def test_steps_without_a_class(root: Path) -> None:
    with pytest.raises(ValueError, match=r"step 0 of v2 \(0.00 s\) must have one class; got \[\]"):
        read_timeline_data(recipe_of(root, data__background=None))


def numpy_loss(
    logits: np.ndarray, labels: np.ndarray, smoothing: float, weights: np.ndarray
) -> float:
    """MS-TCN's loss of one video (T, n_classes), in float64."""
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    rows = np.arange(len(labels))
    entropy = -(weights[labels] * log_p[rows, labels]).mean()
    jumps = np.minimum(np.square(np.diff(log_p, axis=0)), 16)
    return entropy + smoothing * jumps.mean()


def test_the_loss_of_one_class_per_step() -> None:
    """A padded batch: the mean over videos of each video's loss, in which 16 is the most."""
    rng = np.random.default_rng(0)
    videos = [(rng.normal(0, 6, (n, 3)), rng.integers(0, 3, n)) for n in (7, 4)]
    weights = np.array([1.0, 2.0, 0.5])
    expected = np.mean([numpy_loss(x, y, 0.15, weights) for x, y in videos])
    logits, targets = torch.full((2, 3, 7), 9.0), torch.zeros(2, 7, 3)
    for index, (x, y) in enumerate(videos):
        logits[index, :, : len(y)] = torch.from_numpy(x).T
        targets[index, : len(y)] = torch.from_numpy(np.eye(3)[y])
    lengths = torch.tensor([7, 4])
    settings = TrainingSection(step_smoothing=0.15)
    given = torch.tensor(weights, dtype=torch.float32)
    loss = step_loss(logits, targets, lengths, settings, False, given)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    without = step_loss(logits, targets, lengths, TrainingSection(step_smoothing=0), False, given)
    assert loss.item() - without.item() > 0.1


def test_the_loss_of_several_classes_per_step() -> None:
    logits, targets = torch.zeros(1, 2, 3), torch.zeros(1, 3, 2)
    logits[0, :, 0], targets[0, 0] = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0])
    p = 1 / (1 + np.exp(-np.array([2.0, -1.0])))
    losses = np.array([-np.log(p[0]), -np.log(1 - p[1]), np.log(2), np.log(2)])
    settings = TrainingSection()
    loss = step_loss(logits, targets, torch.tensor([2]), settings, True)
    assert loss.item() == pytest.approx(losses.mean(), rel=1e-5)
    loss = step_loss(logits, targets, torch.tensor([2]), settings, True, torch.tensor([3.0, 1.0]))
    assert loss.item() == pytest.approx((losses.sum() + 2 * losses[0]) / 4, rel=1e-5)


@pytest.fixture(scope="module")
def run(root: Path) -> Path:
    """A trained and tested run."""
    folder = root / "run"
    evaluate_timelines(train(recipe_of(root), folder))
    return folder


def test_training_learns_when(run: Path) -> None:
    report = json.loads((run / "results" / "test.json").read_text())
    assert report["n_videos"] == 3
    assert report["protocols"]["segments"]["frame_accuracy"] > 0.9
    timelines, protocol = read_timelines(run / "results" / "test_timelines.npz")
    assert protocol == "segments"
    assert timelines.classes == ("nothing", *CLASSES)
    assert [len(video.scores) for video in timelines.videos] == [24, 30, 36]
    assert timelines.videos[0].intervals == ((1, 5.0, 10.0), (2, 12.0, 17.0))


def test_the_saved_model_scores_whole_videos(run: Path, root: Path) -> None:
    model = load_timeline_model(run)
    features = np.float32(FeatureBank(root / "bank")["v2"].features)
    timelines, _ = read_timelines(run / "results" / "test_timelines.npz")
    np.testing.assert_allclose(model.score_video(features), timelines.videos[0].scores, atol=1e-6)
    assert model.pipeline["task"] == "timeline"
    with pytest.raises(ValueError, match="must hold a classifier; got 'LocalizerSpec'"):
        load_saved(run)


def test_the_commands(run: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(run), "--protocol", "per_frame_map", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["protocols"]["per_frame_map"]
    assert found["mean_average_precision"] > 0.9
    assert 0.1 < found["chance"] < 0.3
    assert main(["test", str(run)]) == 0
    assert "frame accuracy" in capsys.readouterr().out
    assert main(["test", str(run), "--draws", "3"]) == 2
    assert "--draws has no effect on scores over time" in capsys.readouterr().err


def test_a_resumed_training_is_an_unbroken_one(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"training__epochs": 4, "training__checkpoint_every": 1, "training__ema_decay": 0.9}
    recipe = recipe_of(root, model__dropout=[0.5, 0.3], **changes)
    whole = train(recipe, tmp_path / "whole")
    from timeception.clips.timelines import TimelineSampler

    sample, numbers = TimelineSampler.sample, iter(range(15))

    def broken(self: TimelineSampler, index: int, clip_index: int | None) -> object:
        if clip_index is not None and next(numbers, None) is None:
            raise RuntimeError("the power went out")
        return sample(self, index, clip_index)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power"):
        patch.setattr(TimelineSampler, "sample", broken)
        train(recipe, tmp_path / "broken")
    resumed = train(recipe, tmp_path / "broken", resume=True)
    for name in ("model.safetensors", "config.json"):
        assert (resumed.model / name).read_bytes() == (whole.model / name).read_bytes()


def test_the_best_epoch_is_chosen_by_the_main_metric(root: Path, tmp_path: Path) -> None:
    split = {"train": ["v[0134]"], "validation": ["v[67]"], "test": ["v[258]"]}
    recipe = several(root, data__split=split, training__epochs=6)
    run = train(recipe, tmp_path / "run")
    report = evaluate_timelines(run, split="validation")
    best = report.protocols["per_frame_map"]["mean_average_precision"]
    assert max(curve(run, "validation_map")) == pytest.approx(best, abs=1e-6)


def test_runs_are_compared_by_video(run: Path, root: Path, tmp_path: Path) -> None:
    weak = train(recipe_of(root, training__epochs=1), tmp_path / "weak")
    evaluate_timelines(weak)
    found = compare([run, weak.root])
    assert found.metric == "segments f1_50"
    ((_, difference),) = found.differences.items()
    assert difference.interval.value > 0.2
    assert difference.interval.low > 0


def test_cross_validation(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_of(root, training__epochs=1).to_yaml())
    words = ["cross-validate", str(path), "--folds", "3", "--workers", "1"]
    assert main([*words, "--out", str(tmp_path / "cv")]) == 0
    found = json.loads((tmp_path / "cv" / "cross_validation.json").read_text())
    assert found["metric"] == "segments f1_50"
    assert len(found["folds"]) == 3


def test_a_localizer_starts_from_a_classifier_and_back(root: Path, tmp_path: Path) -> None:
    """The layers are taken over; the classifier computes what the localizer's layers did."""
    classifier = TimeceptionClassifier(CHANNELS, 2, n_layers=2, n_groups=1, hidden=8).eval()
    classifier.save_pretrained(tmp_path / "classifier")
    run = train(recipe_of(root, init_from=str(tmp_path / "classifier")), tmp_path / "run")
    start = json.loads(run.start_file.read_text())
    assert "timeception.layers.0.pointwise.weight" in start["loaded"]
    assert start["skipped"]["output.weight"] == "of a classifier, and this is a localizer"
    arrays = load_file(run.model / "model.safetensors")
    assert (arrays["input_norm.running_mean"] == 0).all()  # the layers take features as they are

    localizer = TimeceptionLocalizer(CHANNELS, 3, n_layers=2, n_groups=2, hidden=8).eval()
    rng = np.random.default_rng(0)
    localizer.set_statistics(rng.normal(size=CHANNELS), rng.uniform(0.5, 2, CHANNELS))
    localizer.save_pretrained(tmp_path / "localizer")
    spec = TimeceptionClassifier(CHANNELS, 2, n_layers=2, n_groups=2, hidden=8).spec
    recipe = recipe_of(root, init_from=str(tmp_path / "localizer"))
    found = find_start(recipe, spec, CLASSES)
    again = TimeceptionClassifier.from_spec(spec).eval()
    tensors = again.state_dict()
    for name, array in found.arrays.items():
        tensors[name].copy_(torch.from_numpy(array))
    x = torch.randn(1, CHANNELS, 9, 2, 1)
    with torch.inference_mode():
        expected = localizer.timeception(localizer.input_norm(x))
        torch.testing.assert_close(again.timeception(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"framework": "keras"}, "requires framework=torch; got keras"),
        ({"model__head": "tcn"}, "requires model.head=timeception; got tcn"),
        ({"training__mixup": 0.2}, "requires training.mixup=0.0; got 0.2"),
        ({"training__devices": 2}, "requires training.devices=1; got 2"),
        ({"training__loss": "focal"}, "requires training.loss=cross_entropy; got focal"),
        ({"sampling__center": True}, "requires sampling.center=False"),
        ({"testing__protocol": "map"}, "is for a data.task other than timeline"),
        ({"data__task": "multi-label"}, "step_labels and data.background require data.task"),
    ],
)
def test_what_timelines_cannot_honour(root: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        recipe_of(root, **changes)


def test_clips_have_no_stride_and_no_whole_videos() -> None:
    clips = {"name": "x", "data": {"kind": "csv", "source": "a.csv", "bank": "b"}}
    with pytest.raises(ValueError, match="n_timesteps=null requires data"):
        build_recipe({**clips, "sampling": {"n_timesteps": None}})
    with pytest.raises(ValueError, match="stride_steps requires data"):
        build_recipe({**clips, "sampling": {"stride_steps": 2}})


def test_annotations_without_times(root: Path, tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text("path,labels,split\nv0.mp4,cut,train\nv1.mp4,cut,test\n")
    recipe = several(root, data__kind="csv", data__source=str(tmp_path / "videos.csv"))
    recipe = recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"skip_missing": True})}
    )
    with pytest.raises(ValueError, match=r"data\.kind must have timed actions; got 'csv'"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weak_supervision(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A classifier of windows, trained on labels without times, says when by its evidence."""
    labels = {"task": None, "step_labels": "several", "background": None}
    recipe = several(root, training__epochs=30, training__batch_size=8)
    fields = recipe.model_dump(mode="json")
    fields["data"] |= labels | {"windows": {"length_steps": 6, "stride_steps": 2}}
    fields["sampling"] = {"n_timesteps": 6}
    run = train(build_recipe(fields), tmp_path / "run")
    report = evaluate_timelines(run, protocols=["per_frame_map"])
    assert report.is_weakly_supervised
    found = report.protocols["per_frame_map"]
    assert found["mean_average_precision"] > 2 * found["chance"]
    assert main(["test", str(run.root), "--protocol", "per_frame_map"]) == 0
    assert "by the evidence of clip labels" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"protocol must be one of .*step_labels=several"):
        evaluate_timelines(run, protocols=["segments"])
