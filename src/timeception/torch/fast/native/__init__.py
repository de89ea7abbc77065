"""C++ kernels for the CPU, compiled on demand; they run only if asked for."""

from __future__ import annotations

import logging

from timeception import checks
from timeception.torch.fast.native.build import NativeUnavailableError, is_switched_off, load

logger = logging.getLogger(__name__)

IMPLEMENTATIONS = ("auto", "torch", "native")

__all__ = ["IMPLEMENTATIONS", "NativeUnavailableError", "choose", "why_unavailable"]


def why_unavailable() -> str:
    """Return why the kernels cannot run here, or an empty string; compile them if needed."""
    try:
        load()
    except NativeUnavailableError as error:
        return str(error)
    return ""


def choose(implementation: str) -> str:
    """Resolve ``"auto"`` to ``"native"`` if it is available, otherwise ``"torch"``; log the choice.

    Raises:
        ValueError: if ``implementation`` is none of the three.
        NativeUnavailableError: if native is required and not available.
    """
    checks.one_of("implementation", implementation, IMPLEMENTATIONS)
    if implementation == "native":
        load()
    elif implementation == "auto":
        reason = why_unavailable()
        implementation = "torch" if reason else "native"
        if reason and not is_switched_off():
            logger.warning("using PyTorch's own operations: %s", reason)
    logger.info("implementation: %s", implementation)
    return implementation
