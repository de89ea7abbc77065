"""Random changes of clips: what they reach, how often, and that training alone has them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.inference.saved_models import tiny_backbone
from tests.training.small_runs import finished_run
from timeception.clips.augmentation import Augmentation
from timeception.clips.task_data import TaskData, read_video_task_data
from timeception.evaluation.evaluate import evaluate
from timeception.features.extraction.settings import extraction_settings
from timeception.recipes.recipe import Recipe, build_recipe
from timeception.video import Transform

#: A frame whose red channel tells the row and whose green channel tells the column.
ROWS, COLUMNS = 7, 9
PLACES = np.stack([*np.mgrid[:ROWS, :COLUMNS], np.zeros((ROWS, COLUMNS))], axis=-1)
CLIP = np.tile(PLACES.astype(np.uint8), (3, 1, 1, 1))


def places_of_crops(side: int, n_crops: int = 300) -> Counter[tuple[int, int]]:
    """(top, left) of many crops; each is a square of neighbouring pixels."""
    rng, found = np.random.default_rng(0), Counter[tuple[int, int]]()
    for _ in range(n_crops):
        crop = Augmentation(has_random_crop=True)(CLIP, side, rng)
        assert crop.shape == (3, side, side, 3)
        top, left = int(crop[0, 0, 0, 0]), int(crop[0, 0, 0, 1])
        np.testing.assert_array_equal(crop, CLIP[:, top : top + side, left : left + side])
        found[top, left] += 1
    return found


@pytest.mark.parametrize("side", [3, 5, 6, 7])
def test_crops_reach_every_place_and_both_ends(side: int) -> None:
    found = places_of_crops(side)
    tops, lefts = range(ROWS - side + 1), range(COLUMNS - side + 1)
    assert {top for top, _ in found} == set(tops)
    assert {left for _, left in found} == set(lefts)
    assert found.total() == 300
    for axis, choices in ((0, tops), (1, lefts)):  # none is rare
        counts = Counter(place[axis] for place in found.elements())
        assert min(counts.values()) > 0.4 * 300 / len(choices)


def test_a_crop_of_the_whole_frame_is_the_frame() -> None:
    square, augment = CLIP[:, :, :ROWS], Augmentation(has_random_crop=True)
    np.testing.assert_array_equal(augment(square, ROWS, np.random.default_rng(0)), square)
    with pytest.raises(ValueError, match="crop must fit in 7 x 7 frames; got 8"):
        augment(square, 8, np.random.default_rng(0))


def test_all_frames_of_a_clip_change_alike() -> None:
    """Of a clip of equal frames, every frame is the first one after the change."""
    augment = Augmentation(has_random_crop=True, flip=0.5, colour=0.5)
    for seed in range(20):
        changed = augment(CLIP * 20, 5, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed, np.broadcast_to(changed[:1], changed.shape))


def test_a_clip_depends_on_its_generator_alone() -> None:
    """Equal generators change alike; PyTorch's generator is left as it was."""
    augment = Augmentation(has_random_crop=True, flip=0.5, colour=0.5)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = augment(CLIP * 20, 5, np.random.default_rng(3))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    np.testing.assert_array_equal(augment(CLIP * 20, 5, np.random.default_rng(3)), first)


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_mirror_images_at_their_probability(probability: float) -> None:
    rng, n_mirrored = np.random.default_rng(0), 0
    for _ in range(400):
        changed = Augmentation(flip=probability)(CLIP, None, rng)
        is_mirrored = bool((changed == CLIP[:, :, ::-1]).all())
        assert is_mirrored or (changed == CLIP).all()
        n_mirrored += is_mirrored
    assert abs(n_mirrored / 400 - probability) < 0.08
    assert probability not in (0.0, 1.0) or n_mirrored == 400 * probability


def test_colour_factors_lie_in_their_range() -> None:
    grey = np.full((1, 2, 2, 3), 100, np.uint8)  # without contrast or saturation to change
    rng = np.random.default_rng(0)
    values = [int(Augmentation(colour=0.3)(grey, None, rng)[0, 0, 0, 0]) for _ in range(300)]
    assert 68 <= min(values) < 75 and 125 < max(values) <= 132  # torchvision rounds the mean grey
    pixels = np.array([[[[200, 100, 0], [50, 50, 50]]]], np.uint8)
    changed = [Augmentation(colour=0.3)(pixels, None, rng) for _ in range(100)]
    ratios = [
        (c[0, 0, 0, 0] - c[0, 0, 0, 2]) / max(1, c[0, 0, 1, 0]) for c in map(np.int64, changed)
    ]
    assert np.std(ratios) > 0.3  # brightness alone would keep the ratio of red to grey


TRANSFORM = Transform(resize=36, crop=24, mean=(0.5,) * 3, std=(0.5,) * 3)


def recipe_of(clips: Path, **end_to_end: object) -> Recipe:
    split = {"train": ["left/0", "right/1"], "validation": ["left/2"], "test": ["right/3"]}
    data = {"kind": "folder", "source": str(clips), "videos": str(clips), "split": split}
    return build_recipe(
        {
            "name": "pixels",
            "data": data,
            "backbone": {"name": "timm:test_resnet", "weights": "random", "stride_frames": 2},
            "sampling": {"n_timesteps": 4},
            "model": {"n_layers": 1},
            "training": {"scheme": "end_to_end"},
            "end_to_end": {"flip": 1.0, "colour": 0.3, **end_to_end},
        }
    )


def clip_of(problem: TaskData, split: str, number: int | None) -> np.ndarray:
    return problem.split(split).sampler.sample(0, number)


@pytest.fixture(scope="module")
def problems(clips: Path) -> tuple[TaskData, TaskData]:
    """With the recipe's changes, and without."""
    recipe = recipe_of(clips)
    plain = read_video_task_data(recipe, TRANSFORM, is_augmented=False)
    return read_video_task_data(recipe, TRANSFORM), plain


@pytest.mark.parametrize("number", [0, 1, 2])
def test_random_draws_of_training_are_changed(
    problems: tuple[TaskData, TaskData], number: int
) -> None:
    changed, plain = (clip_of(problem, "train", number) for problem in problems)
    assert changed.shape == plain.shape == (4, 3, 24, 24)
    assert np.abs(changed - plain).mean() > 0.05


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("number", [None, 0, 1])
def test_other_splits_are_never_changed(
    problems: tuple[TaskData, TaskData], split: str, number: int | None
) -> None:
    np.testing.assert_array_equal(*(clip_of(problem, split, number) for problem in problems))


def test_equidistant_draws_of_training_are_not_changed(
    problems: tuple[TaskData, TaskData],
) -> None:
    np.testing.assert_array_equal(*(clip_of(problem, "train", None) for problem in problems))


def test_each_setting_of_a_recipe_is_taken(clips: Path) -> None:
    """A mirror image alone, on crops of the middle."""
    recipe = recipe_of(clips, crop="center", colour=0.0)
    mirrored = clip_of(read_video_task_data(recipe, TRANSFORM), "train", 0)
    plain = clip_of(read_video_task_data(recipe, TRANSFORM, is_augmented=False), "train", 0)
    # the frames of 48 x 80 become 36 x 60: the middle 24 columns are symmetric
    np.testing.assert_array_equal(mirrored, plain[..., ::-1])
    recipe = recipe_of(clips, crop="center", colour=0.0, flip=0.0)
    none = clip_of(read_video_task_data(recipe, TRANSFORM), "train", 0)
    np.testing.assert_array_equal(none, plain)
    recipe = recipe_of(clips, crop="random", colour=0.0, flip=0.0)
    cropped = [clip_of(read_video_task_data(recipe, TRANSFORM), "train", n) for n in range(3)]
    assert any(not np.array_equal(a, plain) for a in cropped)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_test_changes_no_clip(clips: Path, tmp_path: Path, split: str) -> None:
    """Nor of the training split: its score is that of the clips as they are."""
    backbone, recipe = tiny_backbone(), recipe_of(clips)
    settings = extraction_settings(backbone, 2)
    run = finished_run(tmp_path / "run", recipe, ("left", "right"), "single-label", settings)
    seen: list[np.ndarray] = []

    def score(frames: np.ndarray) -> np.ndarray:
        seen.extend(frames)
        return np.full((len(frames), 2), 0.5, np.float32)

    evaluate(run, score, n_draws=1, split=split)
    plain = read_video_task_data(recipe, backbone.transform, is_augmented=False).split(split)
    numbers = [(index, number) for number in (None, 0) for index in range(len(plain))]
    for found, (index, number) in zip(seen, numbers, strict=True):
        np.testing.assert_array_equal(found, plain.sampler.sample(index, number))
