"""Kernels in C++ for the CPU, compiled on demand; nothing runs them unless asked to."""

from __future__ import annotations

import logging

from timeception import checks
from timeception.torch.fast.native.build import NativeUnavailableError, load

logger = logging.getLogger(__name__)

IMPLEMENTATIONS = ("auto", "torch", "native")

__all__ = ["IMPLEMENTATIONS", "NativeUnavailableError", "choose", "why_unavailable"]


def why_unavailable() -> str:
    """Why the kernels cannot run here; empty if they can. Compiles them if need be."""
    try:
        load()
    except NativeUnavailableError as error:
        return str(error)
    return ""


def choose(implementation: str) -> str:
    """Decide which implementation runs, and log it.

    Args:
        implementation: ``"torch"`` (PyTorch's own operations), ``"native"`` (the C++ kernels:
            float32 on the CPU) or ``"auto"`` (native where it can be built).

    Returns:
        ``"torch"`` or ``"native"``.

    Raises:
        ValueError: if it is none of the three.
        NativeUnavailableError: if native is asked for and cannot be built.
    """
    checks.one_of("implementation", implementation, IMPLEMENTATIONS)
    if implementation == "native":
        load()
    elif implementation == "auto":
        reason = why_unavailable()
        implementation = "torch" if reason else "native"
        if reason:
            logger.warning("PyTorch's own operations run, since %s", reason)
    logger.info("implementation: %s", implementation)
    return implementation
