"""Weights from any known file into a file of PyTorch, Keras or JAX, number for number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from timeception import checks
from timeception.files import replacing
from timeception.spec import ClassifierSpec
from timeception.weights.folder import write_folder
from timeception.weights.keras3 import write_keras3
from timeception.weights.reading import Checkpoint, read_checkpoint
from timeception.weights.stored_specs import SPEC_KEY, dump_spec

#: What each framework's files end in; a name without an ending is a saved-model folder.
SUFFIXES = {
    "torch": (".pt", ".safetensors"),
    "keras": (".keras", ".weights.h5"),
    "jax": (".safetensors", ".npz"),
}


def convert(source: str | Path, destination: str | Path, to: str) -> Checkpoint:
    """Convert weights; no framework but PyTorch, for its own files, is needed.

    ============  =====================================================================
    to            destination
    ============  =====================================================================
    torch         ``*.pt``, a dictionary whose ``state_dict`` loads; ``*.safetensors``
    keras         ``*.keras``, a whole model; ``*.weights.h5`` for ``load_weights``
    jax           ``*.safetensors`` or ``*.npz``, for ``timeception.jax.load``
    any of them   a folder, which all three read by ``from_pretrained``
    ============  =====================================================================

    Args:
        source: whatever ``read_checkpoint`` reads: files of 2019, of this project, folders.
        destination: replaced if it exists, once all is written.
        to: ``"torch"``, ``"keras"`` or ``"jax"``.

    Returns:
        what was read from ``source``.

    Raises:
        FileNotFoundError: if there is nothing at ``source``.
        ValueError: if ``source`` is no Timeception network, ``to`` is unknown, or
            ``destination`` has an ending that ``to`` has not.
    """
    checks.one_of("to", to, list(SUFFIXES))
    destination = Path(destination)
    suffix = next((s for s in SUFFIXES[to] if destination.name.endswith(s)), "")
    checks.require(
        bool(suffix) or not destination.suffix or destination.is_dir(),
        "destination",
        f"be a folder, or end in {' or '.join(SUFFIXES[to])} for {to}",
        str(destination),
    )
    checkpoint = read_checkpoint(source)
    if not suffix:
        _write_folder(destination, checkpoint)
        return checkpoint
    with replacing(destination) as file:
        _WRITERS[suffix](file, checkpoint)
    return checkpoint


def _write_folder(path: Path, checkpoint: Checkpoint) -> None:
    spec = checkpoint.spec
    checks.require(
        isinstance(spec, ClassifierSpec),
        "source",
        "hold a classifier to become a folder",
        "layers alone",
        "Name a file as destination.",
    )
    assert isinstance(spec, ClassifierSpec)
    write_folder(path, spec, checkpoint.arrays, checkpoint.provenance.get("pipeline"))


def _write_torch(path: Path, checkpoint: Checkpoint) -> None:
    import torch  # a framework is loaded only when its file is written

    state = {name: torch.from_numpy(array) for name, array in checkpoint.arrays.items()}
    torch.save({"state_dict": state, SPEC_KEY: dump_spec(checkpoint.spec)}, path)


def _write_safetensors(path: Path, checkpoint: Checkpoint) -> None:
    save_file(checkpoint.arrays, path, metadata={SPEC_KEY: dump_spec(checkpoint.spec)})


def _write_npz(path: Path, checkpoint: Checkpoint) -> None:
    stored = {**checkpoint.arrays, SPEC_KEY: np.array(dump_spec(checkpoint.spec))}
    np.savez(path, allow_pickle=False, **stored)


def _write_keras(path: Path, checkpoint: Checkpoint) -> None:
    pipeline = checkpoint.provenance.get("pipeline")
    write_keras3(path, checkpoint.spec, checkpoint.arrays, pipeline)


_WRITERS: dict[str, Callable[[Path, Checkpoint], None]] = {
    ".pt": _write_torch,
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
    ".keras": _write_keras,
    ".weights.h5": _write_keras,
}
