"""What every test and every example in a docstring needs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import timeception.import_order  # noqa: F401 - tests import frameworks in any order

_ROOT = Path(__file__).parent
_PACKAGE = _ROOT / "src" / "timeception"

#: Folders and files whose examples need a framework that may not be installed.
_NEEDS = {
    "torch": ("torch",),
    "keras": ("keras",),
    "tensorflow.py": ("keras", "tensorflow"),
    "jax": ("jax",),
}

#: Warnings of the frameworks themselves, which nothing here can avoid.
_FRAMEWORK_WARNINGS = (
    # Keras 3 on PyTorch: np.array(tensor) asks for numpy 2's copy keyword, which tensors lack
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the docstrings of frameworks that are not installed."""
    for name, needed in _NEEDS.items():
        if collection_path == _PACKAGE / name and not all(map(find_spec, needed)):
            return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the frameworks' own warnings pass in the tests of Keras, and nowhere else."""
    folders = (_ROOT / "tests" / "keras", _PACKAGE / "keras")
    for item in items:
        if any(folder in item.path.parents for folder in folders):
            for warning in _FRAMEWORK_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))
