"""A search: Optuna proposes settings, each trial trains with them.

OUT/search.json    the recipe, the space and the folds: the same command continues the search
OUT/study.db       Optuna's record of all trials, which ``optuna-dashboard`` reads too
OUT/trials.csv     one row per trial
OUT/history.png    the metric of each trial, and the best so far
OUT/best.yaml      the recipe of the best trial
OUT/trial_N/       the run folder of a trial, or one run folder per fold
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from timeception import checks
from timeception.files import write_json, write_text
from timeception.recipes.recipe import Recipe
from timeception.search.space import Space, check_space
from timeception.search.trials import (
    METRIC,
    ProgressOf,
    TrialResult,
    best_of,
    draw_history,
    run_trial,
    validation_splits,
    with_settings,
    write_table,
)
from timeception.training.progress import OnProgress, ignore
from timeception.training.runs import differences

RECORD_FILE, BEST_FILE = "search.json", "best.yaml"

#: Attributes of Optuna's trials: our number, and why a trial failed. An interrupted one has no
#: error.
_NUMBER, _ERROR = "number", "error"


@dataclass(frozen=True)
class SearchResult:
    """Results of a search: all trials, in order."""

    trials: tuple[TrialResult, ...]

    @property
    def best(self) -> TrialResult | None:
        """The complete trial with the highest metric."""
        return best_of(self.trials)

    @property
    def failed(self) -> tuple[TrialResult, ...]:
        """Trials that failed."""
        return tuple(one for one in self.trials if one.state == "failed")

    def to_dict(self) -> dict[str, Any]:
        """Return the results, for JSON."""
        return {
            "metric": METRIC,
            "best": None if self.best is None else self.best.number,
            "trials": [vars(one) | {"settings": dict(one.settings)} for one in self.trials],
        }


def search(
    recipe: Recipe,
    out: str | Path,
    n_trials: int,
    space: Space,
    *,
    n_folds: int | None = None,
    group: str | None = None,
    report: Callable[[str], None] = lambda line: None,
    progress_of: ProgressOf = lambda title: ignore,
) -> SearchResult:
    """Search for the settings with the highest validation mAP; continue what was interrupted.

    Without folds, the metric of a trial is the best validation mAP over its epochs; with folds, the
    mean of that over the folds. The first trial has the recipe's own settings, where the space
    contains them. Proposals depend on the recipe's seed, the number of the trial and the earlier
    results. A trial is ended early (pruned) if its metric is below the median of earlier trials at
    the same epoch. Test videos are not used.

    Args:
        recipe: data, model and settings.
        out: folder of the search.
        n_trials: number of trials, those that ``out`` already holds included.
        space: the fields that vary.
        n_folds: number of folds of the videos that are not for testing.
        group: leave one group of these videos out; see ``make_folds``.
        report: receives a line after each trial.
        progress_of: returns what receives the progress of a training, given a title.

    Raises:
        ValueError: if the space or the data do not fit, ``out`` holds another search, or another
            process runs it.
    """
    out = Path(out)
    checks.positive_int("trials", n_trials)
    check_space(space, recipe)
    splits = validation_splits(recipe, n_folds, group)
    if group is not None:
        recipe = recipe.with_group(group)
    recipe.require_one_process("search")
    recipe = recipe.with_absolute_paths()
    _begin(out, recipe, space, {"folds": n_folds, "group": group})
    with _locked(out):
        study = _open_study(out, recipe.training.epochs)
        _fail_interrupted(study)
        while len(trials := results(study, space)) < n_trials:
            number = 1 + len(trials)
            study.sampler = optuna.samplers.TPESampler(seed=_seed(recipe.seed, number))
            if number == 1 and not study.get_trials(states=[TrialState.WAITING]):
                study.enqueue_trial(_own_settings(recipe, space))
            trial = study.ask()
            trial.set_user_attr(_NUMBER, number)
            settings = {key: one.suggest(trial, key) for key, one in space.items()}
            folder = out / f"trial_{number}"
            titled = partial(_titled, progress_of, number)
            _settle(study, trial, _objective(recipe, settings, splits, folder, titled))
            trials = results(study, space)
            _write(out, recipe, trials)
            report(f"[{number}/{n_trials}] {trials[-1]}")
    return SearchResult(tuple(trials))


def results(study: optuna.Study, space: Space) -> list[TrialResult]:
    """Return the ended trials of a study, in order; interrupted ones are left out."""
    found = {}
    for one in study.get_trials(deepcopy=False):
        if _NUMBER not in one.user_attrs or not one.state.is_finished():
            continue
        if one.state == TrialState.FAIL and _ERROR not in one.user_attrs:
            continue
        is_complete = one.state == TrialState.COMPLETE
        state = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
        number = one.user_attrs[_NUMBER]
        found[number] = TrialResult(
            number,
            state.get(one.state, "failed"),
            one.value if is_complete else None,
            max(one.intermediate_values, default=0),
            one.duration.total_seconds() if one.duration else 0.0,
            {key: space[key].restored(value) for key, value in one.params.items()},
            one.user_attrs.get(_ERROR, ""),
        )
    return [found[number] for number in sorted(found)]


def _objective(
    recipe: Recipe,
    settings: Mapping[str, Any],
    splits: Mapping[str, dict[str, Any]],
    folder: Path,
    progress_of: ProgressOf,
) -> Callable[[optuna.Trial], float]:
    """Return the function that Optuna maximises."""

    def run(trial: optuna.Trial) -> float:
        def on_epoch(value: float, epoch: int) -> None:
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        made = with_settings(recipe, settings)
        return run_trial(made, splits, folder, on_epoch, progress_of)

    return run


def _settle(
    study: optuna.Study, trial: optuna.Trial, objective: Callable[[optuna.Trial], float]
) -> None:
    """Run a trial and record how it ended; an interruption leaves it open."""
    try:
        value = objective(trial)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except Exception as error:  # whatever fails, the search goes on
        reason = str(error).strip() or type(error).__name__
        trial.set_user_attr(_ERROR, " ".join(reason.split()))
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)


def _open_study(out: Path, n_epochs: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=n_epochs // 4)
    return optuna.create_study(
        study_name="search",
        storage=f"sqlite:///{(out / 'study.db').absolute().as_posix()}",
        direction="maximize",
        pruner=pruner,
        load_if_exists=True,
    )


def _fail_interrupted(study: optuna.Study) -> None:
    """Close the trials that a killed process left open; their numbers are tried again."""
    for one in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(one.number, state=TrialState.FAIL)


def _titled(progress_of: ProgressOf, number: int, fold: str) -> OnProgress:
    """Return what receives the progress of one training of a trial."""
    return progress_of(f"trial {number}{fold and ', '}{fold}: ")


def _seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _own_settings(recipe: Recipe, space: Space) -> dict[str, Any]:
    """The recipe's own value of each field, as Optuna stores it, if the space contains it."""
    fields: Any = recipe.model_dump(mode="json")
    own = {}
    for key, one in space.items():
        value = fields
        for name in key.split("."):
            value = value[name]
        own[key] = one.stored(value)
    return {key: value for key, value in own.items() if value is not None}


def _begin(out: Path, recipe: Recipe, space: Space, folds: dict[str, Any]) -> None:
    """Record what is searched, or check that ``out`` holds the same search."""
    path = out / RECORD_FILE
    ranges = {key: str(one) for key, one in space.items()}
    record = {"recipe": recipe.model_dump(mode="json"), "space": ranges, **folds}
    if path.is_file():
        began = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"  {name}: {old!r} in the search, {new!r} now"
            for name, old, new in differences(began, record)
        ]
        if changed:
            advice = "Continue it with the same command, or choose another --out."
            raise ValueError("\n".join([f"{out} holds another search:", *changed, advice]))
        return
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no search. Choose another --out.")
    write_json(path, record)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Allow one process to run a search; the operating system ends the lock with the process."""
    with closing(sqlite3.connect(out / "lock.db", timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise ValueError(f"another process runs the search in {out}. Wait for it.") from None
        yield


def _write(out: Path, recipe: Recipe, trials: Sequence[TrialResult]) -> None:
    """Write the tables, and the recipe of the best trial."""
    write_table(trials, out / "trials.csv")
    draw_history(trials, out / "history.png")
    best = best_of(trials)
    if best is not None:
        made = with_settings(recipe, best.settings)
        about = f"Trial {best.number} of a search: validation mAP {best.value:.4f}."
        made = made.model_copy(update={"name": f"{recipe.name}_best", "about": about})
        write_text(out / BEST_FILE, made.to_yaml())
