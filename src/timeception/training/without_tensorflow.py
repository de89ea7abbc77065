"""Stop other packages from importing an installed TensorFlow that the training does not use.

The import takes seconds and prints warnings. A program that has loaded TensorFlow itself is left
alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast


def keep_tensorflow_out_of_tensorboard() -> None:
    """Make TensorBoard write without TensorFlow; call this before it writes.

    TensorBoard does not import TensorFlow if a module of this name exists.
    """
    if "tensorflow" not in sys.modules:
        name = "tensorboard.compat.notf"
        sys.modules.setdefault(name, ModuleType(name))


@contextmanager
def tensorflow_hidden() -> Iterator[None]:
    """Let code that uses TensorFlow only if it is installed find none."""
    if "tensorflow" in sys.modules:
        yield
        return
    modules = cast("dict[str, Any]", sys.modules)
    modules["tensorflow"] = None  # imports then fail
    try:
        yield
    finally:
        del modules["tensorflow"]
