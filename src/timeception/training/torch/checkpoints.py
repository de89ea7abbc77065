"""Training states that appear whole, are kept twice, and are verified before training resumes."""

from __future__ import annotations

import logging
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from timeception.files import replacing

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
_DAMAGE = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    struct.error,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
_logger = logging.getLogger(__name__)


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target, then renames it; keeps the last two of ``last.ckpt``.

    Lightning writes to the system's temporary folder and moves the file. If that folder is on
    another file system, the move copies over the old checkpoint, and an interruption destroys it.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; the ``last.ckpt`` that it replaces becomes ``previous.ckpt``.

        Raises:
            TypeError: if ``storage_options`` is given.
            OSError: if the file cannot be written. The older checkpoints stay.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options must be None; got {storage_options!r}")
        target = Path(path)
        with replacing(target) as temporary:
            torch.save(checkpoint, temporary)
            if target.name == LAST and target.exists():
                _keep(target, target.with_name(PREVIOUS))


def _keep(last: Path, previous: Path) -> None:
    """Give the last checkpoint a second name, so that it exists until it is replaced."""
    link = previous.with_name(f"{previous.name}.new")
    link.unlink(missing_ok=True)
    try:
        link.hardlink_to(last)
    except OSError:  # a file system without hard links
        last.replace(previous)
    else:
        link.replace(previous)


def find_checkpoint(folder: Path) -> Path | None:
    """Find the newest undamaged training state; None if training has not reached its first one.

    A damaged ``last.ckpt`` is renamed to ``last.ckpt.damaged``, so that it never replaces the good
    older one.

    Raises:
        ValueError: if there are training states, and all are damaged.
    """
    damaged: list[str] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            missing = path.name == LAST and path.with_name(PREVIOUS).exists()
            damaged += [f"{path} is missing"] if missing else []
            continue
        problem = _problem(path)
        if problem is None:
            if damaged:
                _set_aside(folder / LAST)  # nothing happens if it is missing
                _logger.warning("%s. Training resumes from %s, the one before.", damaged[0], path)
            return path
        damaged.append(f"{path} is damaged ({problem})")
    if damaged:
        raise ValueError(
            f"{'; '.join(damaged)}. No older checkpoint is left to resume from. "
            "Train again with another --out."
        )
    return None


def _set_aside(path: Path) -> None:
    try:
        path.replace(path.with_name(f"{path.name}.damaged"))
    except FileNotFoundError:  # another process of this training was faster
        return


def _problem(path: Path) -> str | None:
    """Say what is wrong with a checkpoint, or None: checksums of all its parts, then its structure.

    Errors of the file system are raised: they do not show that the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
        if wrong is not None:
            return f"the checksum of {wrong} does not match"
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except _DAMAGE as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None
