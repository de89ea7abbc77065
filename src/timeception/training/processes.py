"""Which of several training processes this is, before and after they are connected."""

from __future__ import annotations

import os
from collections.abc import Mapping

from timeception.recipes.sections import TrainingSection

#: Variables that number the processes, by whom sets them: torchrun, SLURM, Lightning.
_GLOBAL_RANKS = ("RANK", "SLURM_PROCID")
_RANKS_ON_NODES = ("NODE_RANK", "LOCAL_RANK")


def is_first(settings: TrainingSection, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is the only process of a training, or the one that writes its files.

    Example:
        >>> two = TrainingSection(devices=2)
        >>> is_first(two, {"RANK": "1"}), is_first(two, {"LOCAL_RANK": "1"}), is_first(two, {})
        (False, False, True)
        >>> is_first(TrainingSection(), {"RANK": "1"})
        True
    """
    if settings.n_processes == 1:
        return True
    for name in _GLOBAL_RANKS:
        if name in environment:
            return int(environment[name]) == 0
    return not any(int(environment.get(name, 0)) for name in _RANKS_ON_NODES)
