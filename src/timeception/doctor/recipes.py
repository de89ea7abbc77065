"""Checks of a recipe with its annotations and its bank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from timeception.clips.task_data import TaskData, check_bank, read_task_data
from timeception.clips.timelines import read_timeline_data
from timeception.datasets.groups import find_groups, group_name, suggest_group
from timeception.doctor.advice import Advice, Track, examples
from timeception.doctor.banks import VideoSummary, check_bank_files, find_copies, summarise
from timeception.features.bank import FeatureBank
from timeception.recipes.recipe import Recipe, load_recipe
from timeception.spec import ClassifierSpec
from timeception.training.build_head import head_spec


def check_recipe_file(path: Path, track: Track = iter) -> Iterator[Advice]:
    """Check a recipe file, its annotations and its bank."""
    try:
        recipe = load_recipe(path)
    except ValueError as error:
        cure = f"Correct it; timeception recipe validate {path} checks it again."
        yield Advice("recipe", f"recipe {path}", str(error), cure)
        return
    yield from check_recipe(recipe, f"recipe {path}", track)


def check_recipe(recipe: Recipe, place: str, track: Track = iter) -> Iterator[Advice]:
    """Check the data that a recipe names, and how well it fits them."""
    if recipe.is_end_to_end:
        return  # it has no bank; its videos are checked by their folder
    if recipe.data.bank is None:
        yield Advice("no-bank", place, "names no feature bank", "Set data.bank.")
        return
    try:
        bank = FeatureBank(recipe.data.bank)
    except ValueError as error:
        yield Advice("no-bank", place, str(error), "Extract features, or correct data.bank.")
        return
    summaries = summarise(bank, track)
    yield from check_bank_files(bank, summaries, track)
    yield from _about_windows(recipe, place, summaries)
    try:
        data = (read_timeline_data if recipe.is_timeline else read_task_data)(recipe)
    except (ValueError, OSError) as error:
        yield Advice("data", place, str(error), "Correct the data section of the recipe.")
        return
    try:
        check_bank(recipe, data)
    except ValueError as error:
        cure = "Extract again as the recipe says, or change backbone.*."
        yield Advice("recipe-bank", place, str(error), cure)
    if data.left_out:
        what = f"videos have no features and are left out ({examples(data.left_out)})"
        yield Advice("left-out", place, what, "Extract them, or remove them from the annotations.")
    splits = _splits(data)
    yield from _about_classes(data, place)
    yield from _about_leaks(splits, summaries, place)
    yield from _about_groups(recipe, splits, place)
    yield from _about_lengths(recipe, data, summaries, place)


def _splits(data: TaskData) -> dict[str, set[str]]:
    """Splits of each video."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, split in data.splits.items():
        for video_id in split.sampler.video_ids:
            found[video_id].add(name)
    return found


def _about_classes(data: TaskData, place: str) -> Iterator[Advice]:
    for name in ("train", "test"):
        if name not in data.splits:
            continue
        counts = data.splits[name].targets.sum(axis=0)
        empty = [c for c, count in zip(data.classes, counts, strict=True) if not count]
        if empty:
            use = "cannot be learned" if name == "train" else "are excluded from the mean"
            what = f"classes without positives in {name} {use} ({examples(empty)})"
            cure = "Split so that each class is on both sides, or set data.exclude_classes."
            yield Advice("empty-class", place, what, cure)


def _about_leaks(
    splits: Mapping[str, set[str]], summaries: Mapping[str, VideoSummary], place: str
) -> Iterator[Advice]:
    """The same content on both sides of a split, or twice on one side."""
    groups, alike = find_copies(summaries)
    for code, how, found in (
        ("duplicate", "are files of equal content", groups),
        ("near-duplicate", "have near-identical features", alike),
    ):
        used = [[video for video in group if video in splits] for group in found]
        apart = [g for g in used if len(set().union(*(splits[v] for v in g))) > 1]
        same = [g for g in used if len(g) > 1 and g not in apart]
        if apart:
            what = f"videos on both sides of a split {how} ({examples(_words(apart))})"
            cure = "Keep one of each, or keep them in one split (data.group): the test is too easy."
            yield Advice(f"{code}-leak", place, what, cure)
        if same:
            what = f"videos of one split {how} ({examples(_words(same))})"
            yield Advice(code, place, what, "Keep one of each.")


def _words(groups: list[list[str]]) -> list[str]:
    return [" = ".join(group) for group in groups]


def _about_groups(recipe: Recipe, splits: Mapping[str, set[str]], place: str) -> Iterator[Advice]:
    group = recipe.data.group or suggest_group(splits)
    if group is None:
        return
    try:
        groups = find_groups(group, splits, recipe.data.source)
    except ValueError as error:
        yield Advice("group", place, str(error), "Correct data.group.")
        return
    sides: dict[str, set[str]] = defaultdict(set)
    for video, found in splits.items():
        sides[groups[video]] |= found
    apart = sorted(name for name, found in sides.items() if len(found) > 1)
    if apart:
        title = group_name(group)
        what = f"groups ({title}) are on both sides of a split ({examples(apart)})"
        cure = (
            f"Split by group, data.group={group!r} with data.split.test_fraction, or name whole "
            "groups in the annotations' splits."
        )
        yield Advice("group-leak", place, what, cure)


def _about_windows(
    recipe: Recipe, place: str, summaries: Mapping[str, VideoSummary]
) -> Iterator[Advice]:
    windows = recipe.data.windows
    if windows is None:
        return
    short = [name for name, s in summaries.items() if s.n_steps < windows.length_steps]
    if short:
        what = f"windows of {windows.length_steps} steps are longer than videos ({examples(short)})"
        cure = "Shorten data.windows.length_steps, or extract with a smaller stride."
        yield Advice("window", place, what, cure)


def _about_lengths(
    recipe: Recipe, data: TaskData, summaries: Mapping[str, VideoSummary], place: str
) -> Iterator[Advice]:
    n_timesteps = recipe.sampling.n_timesteps
    if recipe.is_timeline or n_timesteps is None:
        return
    used = set(_splits(data))
    short = sorted(n for n in used if n in summaries and summaries[n].n_steps < n_timesteps / 2)
    if recipe.data.windows is None and len(short) > len(used) / 2:
        what = f"clips of {n_timesteps} timesteps repeat most steps of videos ({examples(short)})"
        cure = "Reduce sampling.n_timesteps, or extract with a smaller stride."
        yield Advice("short-videos", place, what, cure)
    _, channels, height, width = data.train.sampler.shape()
    try:
        spec = head_spec(recipe, channels, len(data.classes), (height, width))
        if isinstance(spec, ClassifierSpec):
            spec.timeception.check_input((1, channels, n_timesteps, height, width))
    except ValueError as error:
        cure = "Change model.n_layers, model.n_groups or sampling.n_timesteps."
        yield Advice("model", place, str(error), cure)
