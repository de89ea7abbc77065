"""What every test and every example in a docstring needs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import timeception.import_order  # noqa: F401 - tests import frameworks in any order

#: Programs that made test data; they run in an earlier tree.
collect_ignore_glob = ["tests/data/*"]

_ROOT = Path(__file__).parent
_PACKAGE = _ROOT / "src" / "timeception"

#: Folders and files whose examples need a framework that may not be installed.
_NEEDS = {
    "torch": ("torch",),
    "keras": ("keras",),
    "tensorflow.py": ("keras", "tensorflow"),
    "jax": ("jax",),
}

#: What imports Keras, TensorFlow or JAX, which take longer to start than most tests to run.
_OTHER_FRAMEWORKS = (
    _ROOT / "tests" / "training" / "test_fit_keras.py",
    *(_ROOT / "tests" / name for name in ("keras", "tensorflow", "jax")),
    *(_PACKAGE / name for name in ("keras", "tensorflow.py", "jax")),
)

#: Warnings of the frameworks themselves, which nothing here can avoid.
_FRAMEWORK_WARNINGS = (
    # Keras 3 on PyTorch: np.array(tensor) asks for numpy 2's copy keyword, which tensors lack
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)


#: Files whose tests train, start other programs, or take long together.
_SLOW_FILES = {
    _ROOT / "tests" / name
    for name in (
        "test_import.py",
        "test_made_by_38d7f3f.py",
        "cli/test_stream_command.py",
        "evaluation/test_cross_validation.py",
        "features/test_extract_command.py",
        "inference/test_streams.py",
        "recipes/test_packaged_recipes.py",
        "report/test_in_browser.py",
        "search/test_search.py",
        "serving/test_browser.py",
        "training/test_best_checkpoint.py",
        "training/test_devices.py",
        "training/test_training_fields.py",
        "training/test_dropout_seeds.py",
        "training/test_loggers.py",
        "training/test_regularization.py",
        "training/test_resuming.py",
        "training/test_timelines.py",
        "training/test_worked_training.py",
    )
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the docstrings of frameworks that are not installed.

    A run without slow tests does not even import the other frameworks.
    """
    if config.option.markexpr == "not slow" and collection_path in _OTHER_FRAMEWORKS:
        return True
    for name, needed in _NEEDS.items():
        if collection_path == _PACKAGE / name and not all(map(find_spec, needed)):
            return True
    return None


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Keras' own warnings pass in its tests, and nowhere else; mark other frameworks slow."""
    folders = (_ROOT / "tests" / "keras", _PACKAGE / "keras")
    for item in items:
        if any(folder in item.path.parents for folder in folders):
            for warning in _FRAMEWORK_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))
        is_other = any(p == item.path or p in item.path.parents for p in _OTHER_FRAMEWORKS)
        if is_other or item.path in _SLOW_FILES:
            item.add_marker(pytest.mark.slow)
