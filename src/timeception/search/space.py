"""The space of a search: the range or the choices of each field of the recipe that varies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from timeception import checks
from timeception.recipes.recipe import Recipe

_FORMS = "have the form low:high, low:high:log, or [choice, choice, ...]"
_INTEGER = re.compile(r"[+-]?\d+")
#: Fields that name the run or define what is measured.
_FIXED = ("name", "about", "seed", "published", "testing", "data", "training.loggers")


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included, with a uniform or log-uniform prior."""

    low: float
    high: float
    is_log: bool = False

    @property
    def is_integer(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Any, key: str) -> Any:
        """Return the value of an Optuna trial."""
        suggest = trial.suggest_int if self.is_integer else trial.suggest_float
        return suggest(key, self.low, self.high, log=self.is_log)

    def stored(self, value: Any) -> Any:
        """Return a value as Optuna stores it, or ``None`` if it is not in the range."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number and self.low <= value <= self.high else None

    def restored(self, stored: Any) -> Any:
        """Return the value that Optuna stored."""
        return stored

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that the recipe must accept."""
        return (self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low}:{self.high}{':log' * self.is_log}"


@dataclass(frozen=True)
class Choices:
    """One of several values, each as JSON, because Optuna stores no lists."""

    texts: tuple[str, ...]

    @classmethod
    def of(cls, values: Iterable[Any]) -> Choices:
        """Make choices of values."""
        return cls(tuple(json.dumps(value) for value in values))

    def suggest(self, trial: Any, key: str) -> Any:
        """Return the value of an Optuna trial."""
        return self.restored(trial.suggest_categorical(key, self.texts))

    def stored(self, value: Any) -> Any:
        """Return a value as Optuna stores it, or ``None`` if it is not among the choices."""
        return next((text for text in self.texts if json.loads(text) == value), None)

    def restored(self, stored: Any) -> Any:
        """Return the value that Optuna stored."""
        return json.loads(stored)

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that the recipe must accept."""
        return tuple(json.loads(text) for text in self.texts)

    def __str__(self) -> str:
        return f"[{', '.join(self.texts)}]"


Space = dict[str, Range | Choices]


def default_space(recipe: Recipe) -> Space:
    """Return a space that suits small data sets.

    Args:
        recipe: its head and timesteps decide which fields have an effect.
    """
    space: Space = {
        "training.learning_rate": Range(3e-4, 3e-2, is_log=True),
        "training.weight_decay": Choices.of([0.0, 1e-4, 1e-3, 1e-2]),
        "training.schedule": Choices.of(["constant", "cosine"]),
        "model.dropout": Choices.of([[0.0, 0.0], [0.3, 0.1], [0.5, 0.25], [0.7, 0.5]]),
    }
    if recipe.model.head != "linear":
        space["model.hidden"] = Choices.of([64, 128, 256, 512])
    if recipe.model.head == "timeception":
        deepest = 5 if recipe.is_timeline else min(4, int(log2(recipe.sampling.clip_timesteps)))
        if deepest > 1:
            space["model.n_layers"] = Range(1, deepest)
    elif recipe.model.head in ("tcn", "transformer"):
        space["model.n_layers"] = Range(1, 4)
    return space


def read_space(sources: Iterable[str]) -> Space:
    """Read ranges and choices.

    Args:
        sources: each ``key=range``, or a YAML file that maps keys to ranges.

    Raises:
        ValueError: if a file is missing or malformed, or a range is.

    Example:
        >>> space = read_space(["training.learning_rate=1e-4:1e-2:log", "model.hidden=[64, 128]"])
        >>> {key: str(one) for key, one in space.items()}
        {'training.learning_rate': '0.0001:0.01:log', 'model.hidden': '[64, 128]'}
    """
    space: Space = {}
    for source in sources:
        key, equals, text = source.partition("=")
        space.update({key: _parse(key, text)} if equals else _read_file(Path(source)))
    return space


def _read_file(path: Path) -> Space:
    if not path.is_file():
        must = "be a YAML file, or have the form key=low:high"
        raise ValueError(checks.problem("--space", must, str(path)))
    text = path.read_text(encoding="utf-8")
    try:  # nodes, because YAML reads 1:3 as 63
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(checks.problem(f"{path}", "map fields to ranges", text[:60]))
    texts = {
        key.value: text[value.start_mark.index : value.end_mark.index] for key, value in node.value
    }
    return {key: _parse(key, value) for key, value in texts.items()}


def _parse(key: str, text: str) -> Range | Choices:
    """Parse a range or choices."""
    where, text = f"--space {key}", text.strip().strip("\"'")
    if text.startswith(("[", "- ")):
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ValueError(checks.problem(where, _FORMS, text)) from None
        checks.require(bool(values), where, "have at least one choice", text)
        return Choices.of(values)
    words = text.split(":")
    is_log = len(words) == 3 and words[2] == "log"
    checks.require(len(words) == 2 or is_log, where, _FORMS, text)
    try:
        low, high = (int(w) if _INTEGER.fullmatch(w) else float(w) for w in words[:2])
    except ValueError:
        raise ValueError(checks.problem(where, _FORMS, text)) from None
    checks.require(low < high, where, "have a low end below its high end", text)
    checks.require(low > 0 or not is_log, where, "begin above 0, since it is logarithmic", text)
    return Range(low, high, is_log)


def check_space(space: Space, recipe: Recipe) -> None:
    """Check that the recipe has every field, and accepts the ends and choices of each.

    Combinations are not checked: a trial with an impossible one fails.

    Raises:
        ValueError: naming the first field that is unknown, fixed, or does not accept a value.
    """
    for key, one in space.items():
        is_fixed = any(key == name or key.startswith(f"{name}.") for name in _FIXED)
        advice = "A search changes what is trained, not the data or what is measured."
        searchable = not is_fixed or key == "data.bank"
        checks.require(searchable, "--space", "name a field that may vary", key, advice)
        for value in one.examples:
            _check_value(recipe, key, value)


def _check_value(recipe: Recipe, key: str, value: Any) -> None:
    """Check one value against the type and range of its field."""
    *sections, leaf = key.split(".")
    section: Any = recipe
    for name in sections:
        section = getattr(section, name, None)
    known = type(section).model_fields if isinstance(section, BaseModel) else {}
    annotation = known[leaf].annotation if leaf in known else None
    if annotation is None or any(map(_is_section, (annotation, *get_args(annotation)))):
        hint = checks.did_you_mean(key, _all_keys(recipe))
        raise ValueError(checks.problem("--space", "name a field of the recipe", key, hint))
    try:
        type(section).model_validate(section.model_dump() | {leaf: value})
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"--space {key}: {message}; got {value!r}") from None


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _all_keys(section: BaseModel, prefix: str = "") -> list[str]:
    """Dotted names of all fields."""
    keys = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        is_section = isinstance(value, BaseModel)
        keys += _all_keys(value, f"{prefix}{name}.") if is_section else [prefix + name]
    return keys
