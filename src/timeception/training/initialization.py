"""Initial values of a model: new ones, or those of an earlier model, array by array.

Fine-tuning keeps the layers and creates a new last layer if the classes differ. The run records
which arrays were loaded, skipped and created.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timeception import checks
from timeception.files import sha256_of_file
from timeception.recipes.recipe import Recipe
from timeception.spec import ClassifierSpec, LocalizerSpec, TimeceptionSpec
from timeception.spec.heads import head_name
from timeception.training.backbone_file import BACKBONE_PREFIX, read_tensors
from timeception.training.runs import model_folder
from timeception.weights import read_checkpoint, read_folder
from timeception.weights.folder import BACKBONE_FILE, WEIGHTS_FILE, ModelSpec

Arrays = dict[str, NDArray[Any]]
Source = ModelSpec | TimeceptionSpec
_LAYERED = (ClassifierSpec, LocalizerSpec)

#: Fields of the layers that change what they compute; ``bn_momentum`` matters in training alone.
_FUNCTION = {
    "timeception": (
        "n_layers",
        "n_groups",
        "is_dilated",
        "expansion",
        "pool_lookahead",
        "bn_eps",
    ),
    "pooling": ("bn_eps",),
}


@dataclass(frozen=True)
class Start:
    """Initial values of a model's arrays.

    Args:
        arrays: arrays to load, by canonical name; names of the backbone start with ``backbone.``.
        source: model that the arrays come from; ``None`` for a new model.
        sha256: hash of the source's weights file.
        skipped: reason for each array of the source that is not used.
        new: names of arrays with new values.
        frozen: names of arrays that training does not change.
    """

    arrays: Arrays
    source: str | None
    sha256: str | None
    skipped: dict[str, str]
    new: tuple[str, ...]
    frozen: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the names of loaded, skipped, new and frozen arrays, for JSON."""
        return {
            "init_from": self.source,
            "sha256": self.sha256,
            "loaded": sorted(self.arrays),
            "skipped": self.skipped,
            "new": list(self.new),
            "frozen": list(self.frozen),
        }

    def lines(self) -> list[str]:
        """Return the same as lines of text, names grouped; empty if there is nothing to report."""
        lines = []
        if self.source is not None:
            lines += [f"init_from {self.source} (sha256 {(self.sha256 or '')[:12]})"]
            lines += [f"  loaded: {grouped(self.arrays)}"]
            for reason in dict.fromkeys(self.skipped.values()):
                names = [name for name, why in self.skipped.items() if why == reason]
                lines += [f"  skipped: {grouped(names)}: {reason}"]
            lines += [f"  new: {grouped(self.new)}"] if self.new else []
        return lines + ([f"  frozen: {grouped(self.frozen)}"] if self.frozen else [])


def find_start(
    recipe: Recipe,
    spec: ModelSpec,
    classes: Sequence[str],
    backbone_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Start:
    """Read the model that a recipe starts from, and match its arrays with the new model.

    Args:
        recipe: a recipe with or without ``init_from``.
        spec: spec of the head.
        classes: names, in the order of the scores.
        backbone_shapes: shapes by name of a backbone that is trained too.

    Raises:
        ValueError: if the source is not a model, if its hash or its layers differ from the
            recipe's, or if a ``freeze`` pattern matches nothing.
    """
    backbone = {f"{BACKBONE_PREFIX}{k}": v for k, v in (backbone_shapes or {}).items()}
    head = spec.parameter_shapes()
    frozen = matching(recipe.training.freeze, [*head, *backbone])
    is_any_left = len(frozen) < len(head) + len(backbone)
    checks.require(is_any_left, "training.freeze", "leave something to train", "all frozen")
    if recipe.init_from is None:
        return Start({}, None, None, {}, tuple(head), frozen)
    found = _read(recipe.init_from)
    checks.require(
        recipe.init_sha256 in (None, found.sha256),
        f"SHA-256 of {recipe.init_from}",
        f"be init_sha256 ({recipe.init_sha256})",
        found.sha256,
    )
    _check_layers(recipe.init_from, found.spec, spec)
    if isinstance(found.spec, LocalizerSpec) and isinstance(spec, ClassifierSpec):
        found = replace(found, arrays=without_input_norm(found.arrays, found.spec))
    skipped = _skipped(found, spec, classes, backbone)
    wanted = {name: array for name, array in found.arrays.items() if name not in skipped}
    new = tuple(name for name in head if name not in wanted)
    return Start(wanted, recipe.init_from, found.sha256, skipped, new, frozen)


def without_input_norm(arrays: Arrays, spec: LocalizerSpec) -> Arrays:
    """Return a localizer's arrays with its input normalisation folded into the first layer.

    The layers then compute the same from features as they are: a classifier does not normalise.
    """
    mean, std = (
        arrays[f"input_norm.running_{name}"].astype(np.float64) for name in ("mean", "std")
    )
    weight, bias = (f"timeception.layers.0.pointwise.{name}" for name in ("weight", "bias"))
    n_groups = spec.timeception.n_groups
    columns = [values.reshape(n_groups, 1, -1) for values in (mean, std)]
    kernels = arrays[weight].astype(np.float64).reshape(n_groups, -1, columns[0].shape[2])
    kernels = kernels / columns[1]
    shift = (kernels * columns[0]).sum(axis=2).reshape(-1)
    return {
        **{name: array for name, array in arrays.items() if not name.startswith("input_norm.")},
        weight: kernels.reshape(arrays[weight].shape).astype(np.float32),
        bias: (arrays[bias] - shift).astype(np.float32),
    }


@dataclass(frozen=True)
class _Found:
    spec: Source
    arrays: Arrays
    classes: list[str] | None
    sha256: str


def _read(source: str) -> _Found:
    """Read a weights file, a run, a saved-model folder, or a hub id, in this order."""
    path = Path(source)
    if path.is_file():
        checkpoint = read_checkpoint(path)
        arrays: Arrays = dict(checkpoint.arrays)
        if isinstance(checkpoint.spec, TimeceptionSpec):
            arrays = {f"timeception.{name}": array for name, array in arrays.items()}
        return _Found(checkpoint.spec, arrays, None, checkpoint.provenance["sha256"])
    folder = model_folder(source)
    spec, head, pipeline = read_folder(folder)
    arrays = dict(head)
    if (folder / BACKBONE_FILE).is_file():
        tensors = read_tensors(folder)
        arrays |= {f"{BACKBONE_PREFIX}{name}": array for name, array in tensors.items()}
    classes = (pipeline or {}).get("classes")
    return _Found(spec, arrays, classes, sha256_of_file(folder / WEIGHTS_FILE))


def _check_layers(source: str, theirs: Source, ours: ModelSpec) -> None:
    """Require layers that compute the same function; the error says what to override."""
    theirs = theirs.timeception if isinstance(theirs, _LAYERED) else theirs
    layers = ours.timeception if isinstance(ours, _LAYERED) else ours
    given, wanted = _head_of(theirs), _head_of(layers)
    must = f"hold a {wanted} head, as model.head says"
    checks.require(given == wanted, f"init_from {source}", must, given)
    checks.require(
        theirs.in_channels == layers.in_channels,
        f"init_from {source}",
        f"take features with {layers.in_channels} channels",
        theirs.in_channels,
        "Use features of the same backbone and endpoint.",
    )
    names = _FUNCTION.get(wanted, ("hidden", "n_layers", "map_size"))
    both = [(name, getattr(theirs, name), getattr(layers, name)) for name in names]
    differing = [(name, old, new) for name, old, new in both if old != new]
    if differing:
        lines = [f"the layers of init_from {source} differ from the recipe's:"]
        lines += [f"  model.{n}: {old!r} in the source, {new!r} here" for n, old, new in differing]
        words = " ".join(f"model.{n}={str(old).lower()}" for n, old, _ in differing)
        raise ValueError("\n".join([*lines, f"To use the source's: {words}"]))


def _head_of(spec: Source) -> str:
    return "timeception" if isinstance(spec, TimeceptionSpec) else head_name(spec)


def _skipped(
    found: _Found, spec: ModelSpec, classes: Sequence[str], backbone: Mapping[str, tuple[int, ...]]
) -> dict[str, str]:
    """Return the reason for each array of the source that cannot be used."""
    reasons = {}
    shapes = spec.parameter_shapes()
    readout = _readout_differs(found, spec)
    for name, array in found.arrays.items():
        if name.startswith(BACKBONE_PREFIX):
            if not backbone:
                reasons[name] = "no backbone is trained here"
            elif backbone.get(name) != array.shape:
                reasons[name] = "belongs to another backbone"
        elif readout and not name.startswith("timeception."):
            reasons[name] = readout
        elif shapes.get(name) != array.shape and name.startswith("refinements."):
            reasons[name] = "other classes or another width"
        elif name.startswith(("output.", "refinements.")):
            if array.shape != shapes[name]:
                reasons[name] = f"{len(array)} classes there, {len(classes)} here"
            elif found.classes is not None and found.classes != list(classes):
                reasons[name] = "the classes differ"
    return reasons


def _readout_differs(found: _Found, spec: ModelSpec) -> str:
    """Return how the inputs of the linear layers differ; empty if they do not."""
    theirs = found.spec
    if isinstance(theirs, TimeceptionSpec):
        return ""
    kinds = ["localizer" if isinstance(s, LocalizerSpec) else "classifier" for s in (theirs, spec)]
    if kinds[0] != kinds[1]:
        return "of a {}, and this is a {}".format(*kinds)
    if theirs.hidden != spec.hidden:
        return f"{theirs.hidden} hidden units there, {spec.hidden} here"
    positions = [getattr(one, "map_size", None) for one in (theirs, spec)]
    return "" if positions[0] == positions[1] else "maps kept: {} there, {} here".format(*positions)


def matching(globs: Iterable[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that match a pattern, in their order.

    Raises:
        ValueError: if a pattern matches no name.

    Example:
        >>> matching(["*.0.*"], ["layers.0.norm.weight", "layers.1.norm.weight"])
        ('layers.0.norm.weight',)
    """
    taken: set[str] = set()
    for glob in globs:
        found = {name for name in names if fnmatchcase(name, glob)}
        advice = f"Names look like {', '.join(list(names)[:3])}, ..., {names[-1]}."
        checks.require(bool(found), "training.freeze", "match parameter names", glob, advice)
        taken |= found
    return tuple(name for name in names if name in taken)


def grouped(names: Iterable[str]) -> str:
    """Group names by layer, with the number of arrays, for people.

    Example:
        >>> grouped(["timeception.layers.0.norm.weight", "output.weight", "output.bias"])
        'timeception.layers.0 (1), output (2)'
    """
    counts = Counter(
        ".".join(name.split(".")[: 3 if name.startswith("timeception.") else 1]) for name in names
    )
    return ", ".join(f"{group} ({count})" for group, count in counts.items()) or "nothing"
