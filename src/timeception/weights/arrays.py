"""Checks that arrays match a spec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from timeception import checks
from timeception.spec import (
    ClassifierSpec,
    HeadSpec,
    LocalizerSpec,
    PoolingSpec,
    TimeceptionSpec,
)

Named = dict[str, np.ndarray]
AnySpec = TimeceptionSpec | ClassifierSpec | PoolingSpec | LocalizerSpec  # PyTorch and Keras


def check_arrays(what: str, spec: AnySpec | HeadSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """Check the names and shapes of canonical arrays. The error message begins with ``what``.

    Raises:
        ValueError: If a name is missing or unexpected, or a shape differs; the error lists what was
            received and expected.
    """
    check_shapes(what, spec.parameter_shapes(), arrays)


def check_shapes(
    what: str, expected: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray]
) -> None:
    """Check names and shapes like ``check_arrays``."""
    checks.same_names(what, expected, arrays)
    wrong = [
        f"  {name}: {arrays[name].shape} received, {shape} expected"
        for name, shape in expected.items()
        if arrays[name].shape != shape
    ]
    if wrong:
        more = [f"  ... {len(wrong) - 8} more"] if len(wrong) > 8 else []
        raise ValueError("\n".join([f"{what}: shapes do not match.", *wrong[:8], *more]))


def few(names: Iterable[str]) -> str:
    """Return the number of arrays and the first names, for messages."""
    ordered = sorted(names)
    return f"{len(ordered)} arrays: {', '.join(ordered[:4])}, ..."
