"""Plug-ins: installed packages that register backbones, data sets, protocols, losses or heads."""

from __future__ import annotations

import importlib.metadata
import logging
from functools import cache

logger = logging.getLogger(__name__)


@cache
def load(group: str) -> None:
    """Load the entry points of a group, so that other packages can register what they add.

    An entry point names a module, which registers when it is imported, or a function without
    arguments, which is called. One that fails is reported as a warning and skipped. Each group is
    loaded once.

    Args:
        group: such as ``timeception.backbones``.
    """
    for entry in importlib.metadata.entry_points(group=group):
        try:
            loaded = entry.load()
            if callable(loaded):
                loaded()
        except (Exception, SystemExit) as error:
            package = entry.dist.name if entry.dist else "unknown"
            reason = f"{type(error).__name__}: {error}"
            what = "plug-in %r of the package %r (%s) cannot be loaded and is skipped: %s"
            logger.warning(what, entry.name, package, group, reason)
