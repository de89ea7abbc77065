"""Recipes: one YAML file names everything that a run needs.

Every field is typed and validated; an unknown key is an error that names the nearest known one.
Relative paths start at the current directory. ``key=value`` arguments override fields, with dots
for sections: ``training.epochs=10 sampling.map_size=[2,3]``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from timeception import checks
from timeception.datasets.groups import group_name
from timeception.datasets.registry import find_kind, recognise
from timeception.metrics.timeline_protocols import (
    default_timeline_protocol,
    is_timeline_protocol,
)
from timeception.recipes.keras_limits import check_keras
from timeception.recipes.recipe_2019 import fields_of_2019, is_2019
from timeception.recipes.sections import (
    AugmentationSection,
    BackboneSection,
    DataSection,
    EndToEndSection,
    ModelSection,
    PublishedSection,
    SamplingSection,
    Section,
    TestingSection,
    TrainingSection,
)

Framework = Literal["torch", "keras"]
logger = logging.getLogger(__name__)

_PACKAGED = resources.files("timeception.recipes") / "packaged"


class Recipe(Section):
    """Everything that a run needs."""

    name: str = Field(pattern=r"^[\w.-]+$", description="Name of the recipe and of its run folder.")
    about: str = Field("", description="One line for people: data, backbone, purpose.")
    framework: Framework = Field(
        "torch",
        description="Framework that trains the head. With `keras`, the environment variable "
        "`KERAS_BACKEND` names the backend.",
    )
    seed: int = Field(
        0, ge=0, description="Seed of initial values, clips, their order and dropout."
    )
    init_from: str | None = Field(
        None,
        description="What training starts from: a run, a saved-model folder, a hub id, or a "
        "weights file, including those of 2019.",
    )
    init_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 that the weights of `init_from` must have.",
    )
    data: DataSection
    backbone: BackboneSection | None = None
    sampling: SamplingSection = SamplingSection()
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    augmentation: AugmentationSection = AugmentationSection()
    end_to_end: EndToEndSection = EndToEndSection()
    testing: TestingSection = TestingSection()
    published: PublishedSection | None = None

    @field_validator("framework", mode="before")
    @classmethod
    def _trains(cls, framework: Any) -> Any:
        if framework in ("jax", "tensorflow"):
            raise ValueError(
                f"recipes train with torch or keras; for {framework}, set framework=keras and the "
                f"environment variable KERAS_BACKEND={framework}"
            )
        return framework

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        steps, layers = self.sampling.n_timesteps, self.model.n_layers
        if self.is_timeline:
            self._fits_timelines()
        elif steps is None:
            raise ValueError("sampling.n_timesteps=null requires data.task=timeline")
        elif self.sampling.stride_steps != 1:
            raise ValueError("sampling.stride_steps requires data.task=timeline")
        elif self.model.head == "timeception" and steps < 2**layers:
            raise ValueError(
                f"sampling.n_timesteps={steps} is too short for model.n_layers={layers}: "
                f"use at least {2**layers}"
            )
        if self.init_sha256 and not self.init_from:
            raise ValueError("init_sha256 requires init_from, whose hash it is")
        if self.is_end_to_end and (self.data.videos is None or self.backbone is None):
            raise ValueError("training.scheme=end_to_end requires data.videos and backbone")
        if self.is_end_to_end and self.sampling.center:
            raise ValueError("sampling.center=true requires training.scheme=timeception_only")
        if self.is_end_to_end and self.backbone is not None and self.backbone.precision:
            raise ValueError("backbone.precision requires training.scheme=timeception_only")
        if self.framework == "keras":
            check_keras(self.model.head, self.training)
        plain = TrainingSection.model_fields["step_smoothing"].default
        is_one = self.is_timeline and self.data.step_labels == "one"
        if self.training.step_smoothing != plain and not is_one:
            raise ValueError(
                "training.step_smoothing requires data.task=timeline and data.step_labels=one; got "
                f"{self.training.step_smoothing}"
            )
        named = self.testing.protocol
        if named is not None and is_timeline_protocol(named) != self.is_timeline:
            task = "other than timeline" if self.is_timeline else "timeline"
            raise ValueError(f"testing.protocol={named} is for a data.task {task}")
        n_processes = self.training.n_processes
        if self.training.batch_size < 2 * n_processes and not self.is_timeline:
            raise ValueError(
                f"training.batch_size={self.training.batch_size} is the batch of all devices "
                f"together: use at least 2 clips for each of the {n_processes}"
            )
        if self.is_end_to_end and self.training.mixup:
            raise ValueError(
                "training.mixup mixes features: it requires training.scheme=timeception_only"
            )
        if not self.is_end_to_end and self.data.bank is None:
            raise ValueError(
                "data.bank is missing: name a feature bank, made by `timeception extract`"
            )
        return self

    def _fits_timelines(self) -> None:
        """Check the fields that a timeline does not share with clips.

        Raises:
            ValueError: if one cannot be honoured.
        """
        wanted: tuple[tuple[str, Any, Any], ...] = (
            ("framework", self.framework, "torch"),
            ("training.scheme", self.training.scheme, "timeception_only"),
            ("model.head", self.model.head, "timeception"),
            ("model.keep_spatial", self.model.keep_spatial, False),
            ("sampling.center", self.sampling.center, False),
            ("sampling.order", self.sampling.order, "forward"),
            ("training.mixup", self.training.mixup, 0.0),
            ("training.devices", self.training.devices, 1),
            ("training.nodes", self.training.nodes, 1),
        )
        for name, given, value in wanted:
            if given != value:
                raise ValueError(f"data.task=timeline requires {name}={value}; got {given}")
        plain = "bce" if self.data.step_labels == "several" else "cross_entropy"
        if self.training.loss not in (None, plain):
            raise ValueError(
                f"data.task=timeline with step_labels={self.data.step_labels} requires "
                f"training.loss={plain}; got {self.training.loss}"
            )

    @property
    def is_timeline(self) -> bool:
        """Whether a score for each timestep is learned."""
        return self.data.task == "timeline"

    @property
    def is_end_to_end(self) -> bool:
        """Whether the backbone is trained with the head."""
        return self.training.scheme == "end_to_end"

    def require_one_process(self, what: str) -> None:
        """Check that the recipe trains in one process.

        Args:
            what: what requires it, such as ``"cross-validate"``.

        Raises:
            ValueError: if it names several devices or nodes.
        """
        names = [f"training.{name}" for name in ("devices", "nodes")]
        given = [self.training.devices, self.training.nodes]
        advice = "Several devices are for `timeception train RECIPE`."
        is_valid = self.training.n_processes == 1
        requirement = f"be 1 and 1 for {what}, which trains in one process"
        checks.require(is_valid, " and ".join(names), requirement, given, advice)

    def protocol(self, is_multilabel: bool) -> str:
        """Return the name of the protocol that the recipe is tested by.

        Args:
            is_multilabel: chooses between mAP and accuracy if nothing else does.
        """
        if self.is_timeline:
            return self.testing.protocol or default_timeline_protocol(is_multilabel)
        default = "map" if is_multilabel else "accuracy"
        return self.testing.protocol or find_kind(self.data.kind).protocol or default

    def with_absolute_paths(self) -> Recipe:
        """Return a copy that is valid in any directory."""
        data = {
            name: path.absolute()
            for name, path in (
                ("source", self.data.source),
                ("bank", self.data.bank),
                ("videos", self.data.videos),
            )
            if path is not None
        }
        changes: dict[str, Any] = {"data": self.data.model_copy(update=data)}
        if self.init_from and Path(self.init_from).exists():
            changes["init_from"] = str(Path(self.init_from).absolute())
        weights = self.backbone and self.backbone.weights
        if self.backbone and weights and Path(weights).is_file():
            path = {"weights": str(Path(weights).absolute())}
            changes["backbone"] = self.backbone.model_copy(update=path)
        return self.model_copy(update=changes)

    def with_group(self, name: str) -> Recipe:
        """Return a copy whose groups are those of ``name``.

        Args:
            name: the name in ``data.group``, a regular expression, or a column of the CSV file.
        """
        group = self.data.group
        if group is not None and name == group_name(group):
            return self
        return self.model_copy(update={"data": self.data.model_copy(update={"group": name})})

    def to_yaml(self) -> str:
        """Return the resolved recipe, with every field."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def packaged_recipes() -> list[str]:
    """Return the names of the recipes in this package."""
    names = (file.name for file in _PACKAGED.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def packaged_text(name: str) -> str:
    """Return the YAML text of a packaged recipe."""
    return (_PACKAGED / f"{name}.yaml").read_text("utf-8")


def load_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file, or a packaged recipe by name, and apply ``key=value`` overrides.

    A configuration file of 2019 is recognised by its content and read as by ``read_2019_yaml``.

    Raises:
        ValueError: if the recipe is unknown or not a YAML mapping, or if fields are wrong; the
            error lists every wrong field.
    """
    fields = _read_fields(source)
    for override in overrides:
        _apply(fields, override)
    return build_recipe(fields, str(source))


def apply_overrides(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """Return the recipe with ``key=value`` overrides.

    Raises:
        ValueError: if an override is malformed or a field is wrong.
    """
    fields = recipe.model_dump(mode="json")
    for override in overrides:
        _apply(fields, override)
    return build_recipe(fields, recipe.name)


def read_2019_yaml(path: str | Path) -> Recipe:
    """Read a configuration file of the 2019 code as a recipe.

    Fields that such a file lacks (folders of annotations and features) get defaults, which can be
    overridden; keys without a meaning here (``NUM_GPUS``, ``LOG_PERIOD``) are ignored and logged.

    Raises:
        ValueError: if it is no file of 2019, or has unknown keys or invalid values.
    """
    fields = _read_yaml(Path(path).read_text(encoding="utf-8"), path)
    checks.require(is_2019(fields), f"{path}", "have sections MODEL, TRAIN, SOLVER", list(fields))
    return build_recipe(fields_of_2019(fields, Path(path).stem), str(path))


def build_recipe(fields: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Validate ``fields``; the error lists every wrong field by its dotted name.

    Without ``data.kind``, the kind is recognised from ``data.source``, and logged.
    """
    try:
        return Recipe.model_validate(_with_kind(fields))
    except ValidationError as error:
        lines = [f"{origin}: {len(error.errors())} field(s) are wrong."]
        lines += [f"  {_explain(problem)}" for problem in error.errors()]
        raise ValueError("\n".join(lines)) from None


def _with_kind(fields: dict[str, Any]) -> dict[str, Any]:
    """Add ``data.kind`` if it is missing and ``data.source`` shows it.

    Raises:
        ValueError: if the source exists, but its kind cannot be recognised.
    """
    data = fields.get("data")
    if not isinstance(data, dict) or data.get("kind") or not data.get("source"):
        return fields
    if data.get("pattern"):
        return {**fields, "data": {**data, "kind": "names"}}
    source = Path(str(data["source"]))
    try:
        kind, place = recognise(source)
    except ValueError as error:
        raise ValueError(
            f"data.kind is not given, and data.source does not show it: {error}"
        ) from None
    logger.warning(
        "data.kind is not given; %s looks like kind %s (%s)", source, kind.name, kind.title
    )
    return {**fields, "data": {**data, "kind": kind.name, "source": str(place)}}


def _read_fields(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif str(source) in packaged_recipes():
        text = (resources.files("timeception.recipes") / "packaged" / f"{source}.yaml").read_text(
            "utf-8"
        )
    else:
        known = packaged_recipes()
        hint = checks.did_you_mean(str(source), known)
        raise ValueError(
            f"recipe {str(source)!r} is neither a file nor a packaged recipe. {hint}".rstrip()
            + f" Packaged recipes: {', '.join(known)}."
        )
    fields = _read_yaml(text, source)
    return fields_of_2019(fields, path.stem) if is_2019(fields) else fields


def _read_yaml(text: str, source: str | Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"recipe {str(source)!r} is not valid YAML: {error}") from None
    checks.require(isinstance(fields, dict), f"recipe {str(source)!r}", "hold a mapping", fields)
    return dict(fields)


def _apply(fields: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    checks.require(bool(equals and key), "override", "have the form key=value", override)
    *sections, leaf = key.split(".")
    for section in sections:
        inner = fields.setdefault(section, {})
        if not isinstance(inner, dict):
            inner = fields[section] = {}
        fields = inner
    try:
        fields[leaf] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(checks.problem(f"override {key}", "have a YAML value", text)) from None


def _explain(problem: Any) -> str:
    location = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        hint = checks.did_you_mean(str(problem["loc"][-1]), _known_keys(problem["loc"][:-1]))
        return f"{location}: unknown key. {hint}".rstrip()
    message = problem["msg"].removeprefix("Value error, ")
    if isinstance(problem["input"], dict):
        return f"{location}: {message}" if location else message
    return f"{location}: {message}; got {problem['input']!r}"


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    model: Any = Recipe
    for part in location:
        annotation = model.model_fields[part].annotation
        options = [annotation, *get_args(annotation)]
        model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return list(model.model_fields)
