"""Recipes: one YAML file names everything that a run needs.

Every field is typed and validated; an unknown key is an error that names the nearest known one.
Relative paths are taken from the current directory. ``key=value`` words override fields, with
dots for sections: ``training.epochs=10 sampling.map_size=[2,3]``.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from timeception import checks

Fraction = Annotated[float, Field(ge=0, lt=1)]
Globs = tuple[str, ...]
DataKind = Literal["folder", "csv", "timed", "names"]


class Section(BaseModel):
    """A group of fields; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class SplitSection(Section):
    """Which videos train and which test: globs on the video id (``S1_*``), or a random share.

    Left empty, the split named by the data set itself is used. Where globs are told, a video that
    none of them takes is in ``train``, or in no split if ``train`` has globs of its own. Shares are
    of the videos in ``train`` or in no split; ``test`` is drawn first.
    """

    train: Globs = ()
    validation: Globs = ()
    test: Globs = ()
    test_fraction: Fraction = 0.0
    validation_fraction: Fraction = 0.0
    seed: int = 0


class WindowSection(Section):
    """Windows over each video, in bank steps, labelled by the timed annotations within."""

    length_steps: int = Field(ge=1)
    stride_steps: int = Field(ge=1)
    min_overlap_steps: float = Field(default=0.0, ge=0)


class DataSection(Section):
    """What to learn from.

    ``kind``: ``folder`` (a folder a class), ``csv`` (path,labels[,split]), ``timed``
    (video,label,start,end in seconds) or ``names`` (label from the video id by the named group
    ``label`` of ``pattern``). ``source`` is that folder or file, ``bank`` the features.
    """

    kind: DataKind
    source: Path
    bank: Path
    task: Literal["multi-label", "single-label"] | None = None
    pattern: str | None = None
    exclude_classes: tuple[str, ...] = ()
    split: SplitSection = SplitSection()
    windows: WindowSection | None = None

    @model_validator(mode="after")
    def _pattern_goes_with_names(self) -> DataSection:
        if (self.kind == "names") != (self.pattern is not None):
            raise ValueError("data.pattern goes with data.kind=names, and only with it")
        if self.windows is not None and self.kind != "timed":
            raise ValueError("data.windows needs timed annotations: data.kind=timed")
        return self


class SamplingSection(Section):
    """How a clip is drawn from a video's (or a window's) features.

    ``map_size`` averages the spatial maps down to (height, width); ``order="shuffled"`` permutes
    each clip's timesteps, the control that shows what the order of time is worth.
    """

    n_timesteps: int = Field(default=128, ge=1)
    map_size: tuple[int, int] | None = None
    order: Literal["forward", "shuffled"] = "forward"


class ModelSection(Section):
    """The head on the features. ``n_groups`` left out: channels / 128, at least 1."""

    head: Literal["timeception", "pooling"] = "timeception"
    n_layers: int = Field(default=4, ge=1)
    n_groups: int | None = Field(default=None, ge=1)
    is_dilated: bool = True
    expansion: float = Field(default=1.25, gt=0)
    pool_lookahead: bool = True
    bn_momentum: float = Field(default=0.1, gt=0, le=1)
    hidden: int = Field(default=512, ge=1)
    dropout: tuple[Fraction, Fraction] = (0.5, 0.25)
    keep_positions: bool = False


class TrainingSection(Section):
    """Optimisation. The defaults are those of 2019 but for the number of epochs."""

    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=16, ge=2)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(default=0.01, gt=0)
    epsilon: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: Fraction = 0.9
    nesterov: bool = False
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: int = Field(default=0, ge=0)
    label_smoothing: Fraction = 0.0
    workers: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=10, ge=1)


class TestingSection(Section):
    """Testing: the equidistant draw, and the average of ``draws`` random ones."""

    batch_size: int = Field(default=32, ge=1)
    draws: int = Field(default=10, ge=1)


class Recipe(Section):
    """Everything a run needs."""

    name: str = Field(pattern=r"^[\w.-]+$")
    framework: Literal["torch"] = "torch"
    seed: int = 0
    data: DataSection
    sampling: SamplingSection = SamplingSection()
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    testing: TestingSection = TestingSection()

    @field_validator("seed")
    @classmethod
    def _seed_is_natural(cls, seed: int) -> int:
        if seed < 0:
            raise ValueError("must be 0 or more")
        return seed

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        steps, layers = self.sampling.n_timesteps, self.model.n_layers
        if self.model.head == "timeception" and steps < 2**layers:
            raise ValueError(
                f"sampling.n_timesteps={steps} is too short for model.n_layers={layers}: "
                f"take at least {2**layers}"
            )
        return self

    def with_absolute_paths(self) -> Recipe:
        """A copy that can be read from any directory."""
        paths = {"source": self.data.source.absolute(), "bank": self.data.bank.absolute()}
        return self.model_copy(update={"data": self.data.model_copy(update=paths)})

    def to_yaml(self) -> str:
        """The resolved recipe, every field written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def packaged_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("timeception") / "configs"
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def load_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file, or a packaged recipe by name, and apply ``key=value`` overrides.

    Raises:
        ValueError: if the recipe is unknown, is no YAML mapping, or a field is wrong; every
            wrong field is listed.
    """
    fields = _read_fields(source)
    for override in overrides:
        _apply(fields, override)
    return build_recipe(fields, str(source))


def build_recipe(fields: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Validate ``fields``; the error lists every wrong field by its dotted name."""
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        lines = [f"{origin}: {len(error.errors())} field(s) are wrong."]
        lines += [f"  {_explain(problem)}" for problem in error.errors()]
        raise ValueError("\n".join(lines)) from None


def _read_fields(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif str(source) in packaged_recipes():
        text = (resources.files("timeception") / "configs" / f"{source}.yaml").read_text("utf-8")
    else:
        known = packaged_recipes()
        hint = checks.did_you_mean(str(source), known)
        raise ValueError(
            f"recipe {str(source)!r} is neither a file nor a packaged recipe "
            f"({', '.join(known)}). {hint}".rstrip()
        )
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
