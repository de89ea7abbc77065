"""Timeception: long-range temporal reasoning for complex actions in minutes-long video.

Importing this package loads no deep-learning framework. Take what you need from
``timeception.spec``, ``timeception.torch``, ``timeception.features``, ``timeception.video``, ...
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("timeception")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
