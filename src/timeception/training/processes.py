"""Which of several training processes this is, before and after they are connected."""

from __future__ import annotations

import os
from collections.abc import Mapping

from timeception.recipes.sections import TrainingSection

#: Variables by which Lightning numbers the processes that it starts itself.
_RANKS_ON_NODES = ("NODE_RANK", "LOCAL_RANK")


def is_first(settings: TrainingSection, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is the only process of a training, or the one that writes its files.

    Example:
        >>> two = TrainingSection(devices=2)
        >>> is_first(two, {"RANK": "1"}), is_first(two, {"LOCAL_RANK": "1"}), is_first(two, {})
        (False, False, True)
        >>> is_first(TrainingSection(), {"RANK": "1"})
        True
        >>> job = {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}
        >>> is_first(two, job), is_first(two, job | {"SLURM_JOB_NAME": "bash"})
        (False, True)
    """
    if settings.n_processes == 1:
        return True
    if "RANK" in environment:  # torchrun
        return int(environment["RANK"]) == 0
    if _is_started_by_slurm(environment):
        return int(environment["SLURM_PROCID"]) == 0
    return not any(int(environment.get(name, 0)) for name in _RANKS_ON_NODES)


def _is_started_by_slurm(environment: Mapping[str, str]) -> bool:
    """Whether SLURM starts the processes, as Lightning decides it; not in an interactive job."""
    is_interactive = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return not is_interactive and {"SLURM_NTASKS", "SLURM_PROCID"} <= set(environment)
