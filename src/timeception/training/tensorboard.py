"""TensorBoard without TensorFlow: curves do not need it."""

from __future__ import annotations

import sys
from types import ModuleType


def keep_tensorflow_out_of_tensorboard() -> None:
    """Stop TensorBoard from importing an installed TensorFlow.

    The import takes seconds and prints warnings. TensorBoard skips it if a module of this name
    exists. Call this before TensorBoard writes; a program that has loaded TensorFlow itself is left
    alone.
    """
    if "tensorflow" not in sys.modules:
        name = "tensorboard.compat.notf"
        sys.modules.setdefault(name, ModuleType(name))
