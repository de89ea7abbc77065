"""Plug-ins: installed packages that register backbones, data sets, protocols, losses or heads."""

import importlib.metadata
import logging
from functools import cache

_logger = logging.getLogger(__name__)


@cache
def load(group: str) -> None:
    """Load every entry point of a group once, so that what it names can register itself.

    An entry point names a module, which registers when it is imported, or a function without
    arguments, which is called. An entry point that fails is reported and skipped.

    Args:
        group: The name of the group, such as ``timeception.backbones``.
    """
    for entry_point in importlib.metadata.entry_points(group=group):
        try:
            loaded = entry_point.load()
            if callable(loaded):
                loaded()
        except Exception as error:  # any failure of another package's code
            distribution = entry_point.dist.name if entry_point.dist else "an unknown distribution"
            _logger.warning(
                "The plug-in %r of %s (entry point group %s) could not be loaded: %s: %s",
                entry_point.name,
                distribution,
                group,
                type(error).__name__,
                error,
            )
