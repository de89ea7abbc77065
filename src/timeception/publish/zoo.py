"""The zoo: costs, published results and commands of every packaged recipe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

from timeception import checks
from timeception.recipes.recipe import Recipe, load_recipe, packaged_recipes
from timeception.spec import ClassifierSpec
from timeception.training.build_head import head_spec
from timeception.training.runs import Run

#: Commands that make the videos of a recipe.
_MAKE_VIDEOS: dict[str, tuple[str, ...]] = {"demo": ("timeception data synthesize demo/videos",)}


@dataclass(frozen=True)
class ZooEntry:
    """One row of the table: a packaged recipe.

    Args:
        notes: The comment at the head of its file, with the origin of data and backbone weights.
        scheme: ``timeception_only`` or ``end_to_end``.
        backbone: Name of the backbone and, after a slash, the endpoint.
        backbone_weights: File or name of its weights; ``None`` is the backbone's default.
        n_frames: Frames in a clip: timesteps times frames per segment.
        feature_shape: Channels, height and width of a timestep.
        n_layer_parameters: Parameters of the Timeception layers.
        n_parameters: The same with the classifier; ``None`` if the classes are unknown.
        n_macs: Multiply-accumulates of layers and classifier for one clip, without the backbone.
        published: Metric, percent and source that others published for these settings.
        weights: Folder of a trained model, if found.
        commands: Commands that make the weights from the videos.
    """

    name: str
    about: str
    notes: str
    data: str
    scheme: str
    backbone: str
    backbone_weights: str | None
    n_layers: int
    n_frames: int
    n_timesteps: int
    feature_shape: tuple[int, int, int]
    n_layer_parameters: int
    n_parameters: int | None
    n_macs: int
    published: dict[str, Any] | None
    weights: str | None
    commands: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON."""
        return asdict(self)


def zoo_entries(
    runs: str | Path = "runs", names: Iterable[str] | None = None
) -> tuple[ZooEntry, ...]:
    """Return a row for each packaged recipe.

    ``runs`` is a folder with trained runs, ``RUNS/NAME``. Without ``names``, all are returned.

    Example:
        >>> entry, = zoo_entries(names=["charades_i3d_tc4_f1024"])
        >>> entry.n_frames, entry.n_layer_parameters, entry.published["percent"]
        (1024, 1494304, 37.2)
    """
    chosen = packaged_recipes() if names is None else names
    recipes = [load_recipe(name) for name in chosen]
    # what is not a classifier has no published weights or figures
    return tuple(_entry(recipe, Path(runs)) for recipe in recipes if not recipe.is_timeline)


def _entry(recipe: Recipe, runs: Path) -> ZooEntry:
    section = recipe.backbone
    if section is None or section.channels is None or section.map_size is None:
        must = "define the backbone with its channels and map size"
        raise ValueError(checks.problem(f"recipe {recipe.name}", must, section))
    height, width = recipe.sampling.map_size or section.map_size
    n_timesteps = recipe.sampling.clip_timesteps
    n_classes = recipe.data.n_classes
    head = head_spec(recipe, section.channels, n_classes or 1, (height, width))
    assert isinstance(head, ClassifierSpec)  # no packaged recipe has a pooling head
    layers, run = head.timeception, Run(runs / recipe.name)
    n_linear_macs = head.pooled_channels * head.hidden + head.hidden * head.n_classes
    return ZooEntry(
        name=recipe.name,
        about=recipe.about,
        notes=_notes(recipe.name),
        data=recipe.data.kind,
        scheme=recipe.training.scheme,
        backbone="/".join(filter(None, (section.name, section.endpoint))),
        backbone_weights=section.weights,
        n_layers=recipe.model.n_layers,
        n_frames=n_timesteps * section.frames_per_segment,
        n_timesteps=n_timesteps,
        feature_shape=(section.channels, height, width),
        n_layer_parameters=layers.n_parameters,
        n_parameters=head.n_parameters if n_classes else None,
        n_macs=layers.n_macs(n_timesteps, height, width) + (n_linear_macs if n_classes else 0),
        published=recipe.published.model_dump() if recipe.published else None,
        weights=str(run.model) if run.is_finished else None,
        commands=commands(recipe, run.root),
    )


def _notes(name: str) -> str:
    """The comment at the head of a packaged recipe."""
    file = resources.files("timeception.recipes") / "packaged" / f"{name}.yaml"
    lines = file.read_text("utf-8").splitlines()
    head = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in head)


def commands(recipe: Recipe, run: Path) -> tuple[str, ...]:
    """Return the commands that make the weights of a packaged recipe from its videos."""
    data, section = recipe.data, recipe.backbone
    first = _MAKE_VIDEOS.get(recipe.name, ())
    if section is not None and section.name == "imported":
        labels = f" --frame-labels LABELS --annotations {data.source}"
        labels = labels if data.kind == "timed" else ""
        first += (f"timeception bank import FEATURES --out {data.bank}{labels}",)
    elif not recipe.is_end_to_end:
        first += (f"timeception extract {data.videos} --out {data.bank} --recipe {recipe.name}",)
    return (
        *first,
        f"timeception train {recipe.name} --out {run}",
        f"timeception test {run}",
        f"timeception zoo pack {run} {recipe.name}_model",
    )
