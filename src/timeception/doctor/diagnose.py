"""What a path is, and the checks that suit it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from timeception import checks
from timeception.doctor.advice import Advice, Track, examples
from timeception.doctor.banks import check_bank_files, find_copies, summarise
from timeception.doctor.machine import check_machine
from timeception.doctor.recipes import check_recipe_file
from timeception.doctor.runs import check_model, check_results, check_run, load_trained
from timeception.doctor.videos import Trained, check_videos
from timeception.features.bank import FeatureBank
from timeception.features.bank.store import SETTINGS_FILE
from timeception.inference.model_features import check_model_bank
from timeception.training.runs import Run
from timeception.weights.folder import CONFIG_FILE


def kind_of(path: Path) -> str:
    """Say what a path is: ``run``, ``model``, ``bank``, ``recipe`` or ``videos``.

    Raises:
        ValueError: if it does not exist, or is a file that is no recipe.
    """
    checks.require(path.exists(), "PATH", "exist", str(path))
    if path.is_file():
        advice = "Pass a run, a bank, a folder of videos, a recipe or a saved-model folder."
        is_recipe = path.suffix.lower() in (".yaml", ".yml")
        checks.require(is_recipe, "PATH", "be a folder or a recipe (.yaml)", str(path), advice)
        return "recipe"
    if Run(path).recipe_file.is_file():
        return "run"
    if (path / CONFIG_FILE).is_file():
        return "model"
    return "bank" if (path / SETTINGS_FILE).is_file() else "videos"


def diagnose(paths: Sequence[str | Path] = (), track: Track = iter) -> Iterator[Advice]:
    """Find what ruins results silently.

    Args:
        paths: Runs, banks, folders of videos, recipes or saved models. Banks and videos are also
            compared with the models among the paths. Without paths, this machine is checked.
        track: Wraps long iterations, to show progress.

    Raises:
        ValueError: if a path does not exist, or is none of these.

    Example:
        >>> for advice in diagnose(["runs/mine", "videos/new"]):  # doctest: +SKIP
        ...     print(advice.problem, advice.cure)
    """
    if not paths:
        yield from check_machine()
        return
    kinds = [(Path(path), kind_of(Path(path))) for path in paths]
    found = [load_trained(path) for path, kind in kinds if kind in ("run", "model")]
    models = [trained for trained in found if trained is not None]
    for path, kind in kinds:
        if kind == "run":
            yield from check_run(path, track)
            yield from check_results(Run(path))
        elif kind == "model":
            yield from check_model(path)
        elif kind == "recipe":
            yield from check_recipe_file(path, track)
        elif kind == "bank":
            yield from _check_bank(path, models, track)
        else:
            yield from check_videos(path, models, track)


def _check_bank(path: Path, models: Sequence[Trained], track: Track) -> Iterator[Advice]:
    place = f"bank {path}"
    try:
        bank = FeatureBank(path)
    except ValueError as error:
        yield Advice("bank-file", place, str(error), "Extract the features again.")
        return
    summaries = summarise(bank, track)
    yield from check_bank_files(bank, summaries, track)
    groups, alike = find_copies(summaries)
    copies = [" = ".join(names) for names in (*groups, *alike)]
    if copies:
        what = f"videos are equal, or nearly so ({examples(copies)})"
        yield Advice("duplicate", place, what, "Keep one of each, or keep them in one split.")
    for trained in models:
        try:
            check_model_bank(trained.model, bank)
        except ValueError as error:
            cure = "Extract with the settings of training."
            yield Advice("model-bank", place, str(error), cure)
