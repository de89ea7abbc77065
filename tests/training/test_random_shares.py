"""Random shares: the test share is drawn first, the validation share of what is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.small_runs import small_recipe, write_data
from timeception.clips.task_data import read_task_data

VIDEOS = tuple(f"v{number:02d}" for number in range(12))


def members(root: Path, task: str | None = "multi-label", **split: object) -> dict[str, list[str]]:
    """Video ids by split, sorted."""
    problem = read_task_data(small_recipe(root, data__split=split, data__task=task))
    return {
        name: sorted(record.video_id for record in subset.sampler.records)
        for name, subset in problem.splits.items()
    }


@pytest.fixture
def unsplit(tmp_path: Path) -> Path:
    """Twelve videos in no split, of two classes in turn."""
    return write_data(
        tmp_path, [(name, ("cut", "pour")[i % 2], "") for i, name in enumerate(VIDEOS)]
    )


def drawn(names: tuple[str, ...], count: int, seed: int) -> list[str]:
    return sorted(np.random.default_rng(seed).permutation(names)[:count].tolist())


@pytest.mark.parametrize("seed", [0, 3])
def test_the_members_of_every_share(unsplit: Path, seed: int) -> None:
    found = members(unsplit, test_fraction=0.25, validation_fraction=1 / 3, seed=seed)
    test = drawn(VIDEOS, 3, seed)
    rest = tuple(name for name in VIDEOS if name not in test)
    validation = drawn(rest, 3, seed)  # a third of the nine that are left
    train = sorted(set(rest) - set(validation))
    assert found == {"test": test, "validation": validation, "train": train}


def test_asking_for_validation_leaves_the_test_share_as_it_is(unsplit: Path) -> None:
    alone = members(unsplit, test_fraction=0.25)
    both = members(unsplit, test_fraction=0.25, validation_fraction=0.25)
    assert both["test"] == alone["test"] == drawn(VIDEOS, 3, 0)
    assert set(both["validation"]) < set(alone["train"])
    assert set(both["train"]) == set(alone["train"]) - set(both["validation"])
    assert members(unsplit, test_fraction=0.25, seed=1)["test"] != alone["test"]


def test_a_validation_share_alone(unsplit: Path) -> None:
    found = members(unsplit, validation_fraction=0.25)
    validation = drawn(VIDEOS, 3, 0)
    assert found == {"validation": validation, "train": sorted(set(VIDEOS) - set(validation))}


def test_single_label_shares_have_every_class(unsplit: Path) -> None:
    found = members(unsplit, None, test_fraction=1 / 3, validation_fraction=0.25)
    rng, test = np.random.default_rng(0), []
    for parity in (0, 1):  # class by class: two of six
        test += rng.permutation(VIDEOS[parity::2])[:2].tolist()
    assert found["test"] == sorted(test)
    rng, validation = np.random.default_rng(0), []
    for parity in (0, 1):  # one of the four that are left
        rest = [name for name in VIDEOS[parity::2] if name not in test]
        validation += rng.permutation(rest)[:1].tolist()
    assert found["validation"] == sorted(validation)
    assert len(found["train"]) == 6


def test_shares_are_of_the_videos_in_no_split_or_in_train(tmp_path: Path) -> None:
    """Splits named in the data stay as they are."""
    splits = ["test", "validation", "train", ""] * 3
    rows = [(name, ("cut", "pour")[i // 6], splits[i]) for i, name in enumerate(VIDEOS)]
    root = write_data(tmp_path, rows)
    found = members(root, validation_fraction=1 / 3)
    free = tuple(name for name, split in zip(VIDEOS, splits, strict=True) if split in ("", "train"))
    validation = drawn(free, 2, 0)
    assert found["test"] == list(VIDEOS[::4])
    assert found["validation"] == sorted([*VIDEOS[1::4], *validation])
    assert found["train"] == sorted(set(free) - set(validation))


def test_globs_and_a_share(unsplit: Path) -> None:
    """Videos that a glob takes are out of the draw."""
    found = members(unsplit, test=["v0[0-3]"], validation_fraction=0.25)
    assert found["test"] == list(VIDEOS[:4])
    assert found["validation"] == drawn(VIDEOS[4:], 2, 0)
