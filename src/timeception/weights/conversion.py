"""Exact conversion of weights from any known file to a file of PyTorch, Keras or JAX."""

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

#: Suffixes of each framework's files; a name without a suffix is a saved-model folder.
SUFFIXES = {
    "torch": (".pt", ".safetensors"),
    "keras": (".keras", ".weights.h5"),
    "jax": (".safetensors", ".npz"),
}


def convert(source: str | Path, destination: str | Path, to: str) -> Checkpoint:
    """Convert weights. Reading or writing PyTorch files requires PyTorch, no other framework.

    ============  =====================================================================
    to            destination
    ============  =====================================================================
    torch         ``*.pt``, a dictionary with a ``state_dict``; ``*.safetensors``
    keras         ``*.keras``, a whole model; ``*.weights.h5`` for ``load_weights``
    jax           ``*.safetensors`` or ``*.npz``, for ``timeception.jax.load``
    any           a folder, for ``from_pretrained`` of all three
    ============  =====================================================================

    Args:
        source: Anything that ``read_checkpoint`` reads: a file of 2019 or of this project, or a
            saved-model folder.
        destination: The file or folder to write. An existing one is replaced at the end.
        to: ``"torch"``, ``"keras"`` or ``"jax"``.

    Returns:
        The checkpoint read from ``source``.

    Raises:
        FileNotFoundError: If ``source`` does not exist.
        ValueError: If ``source`` is not a Timeception network, ``to`` is unknown, or
            ``destination`` has a suffix of another framework.
    """
    checks.one_of("to", to, list(SUFFIXES))
    destination = Path(destination)
    suffix = next((s for s in SUFFIXES[to] if destination.name.endswith(s)), "")
    is_known = bool(suffix) or not destination.suffix or destination.is_dir()
    must = f"be a folder, or end in {' or '.join(SUFFIXES[to])} for {to}"
    checks.require(is_known, "destination", must, str(destination))
    checkpoint = read_checkpoint(source)
    if suffix:
        with replacing(destination) as file:
            _WRITERS[suffix](file, checkpoint)
        return checkpoint
    if not isinstance(checkpoint.spec, ClassifierSpec):
        must = "hold a classifier if the destination is a folder"
        advice = "Choose a file as destination."
        raise ValueError(checks.problem("source", must, "only Timeception layers", advice))
    pipeline = checkpoint.provenance.get("pipeline")
    write_folder(destination, checkpoint.spec, checkpoint.arrays, pipeline)
    return checkpoint


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
    write_keras3(path, checkpoint.spec, checkpoint.arrays, checkpoint.provenance.get("pipeline"))


_WRITERS: dict[str, Callable[[Path, Checkpoint], None]] = {
    ".pt": _write_torch,
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
    ".keras": _write_keras,
    ".weights.h5": _write_keras,
}
