"""Reader of any known weight file, as a spec and canonical arrays."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from timeception.files import sha256_of_file
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.weights.arrays import Named, check_arrays, few
from timeception.weights.containers import (
    LazyArrays,
    as_array,
    container_of,
    damage_reported,
    open_content,
)
from timeception.weights.folder import WEIGHTS_FILE, read_folder
from timeception.weights.keras3 import is_keras3, read_keras3
from timeception.weights.names2019 import from_2019, is_2019
from timeception.weights.stored_specs import SPEC_KEY, infer_spec, load_spec

logger = logging.getLogger(__name__)

_WRAPPERS = ("state_dict", "model_state", "model_state_dict")  # Lightning and others


@dataclass(frozen=True)
class Checkpoint:
    """Weights read from a file.

    Args:
        spec: Spec of the classifier, or of the Timeception layers if there is no classifier.
        arrays: float32 arrays by the canonical names of ``spec.parameter_shapes()``.
        provenance: Origin of the arrays: ``file``, ``sha256``, ``container``, ``names``
            (``"canonical"``, ``"keras3"``, ``"torch2019"`` or ``"keras2019"``), ``left_out``
            (unused names) and, of a saved model, ``pipeline``.
    """

    spec: ClassifierSpec | TimeceptionSpec
    arrays: dict[str, np.ndarray]
    provenance: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read weights from any known file, recognised by content, never by suffix.

    The formats are PyTorch state dicts (bare or wrapped), Keras weights, safetensors, .npz, pickles
    of arrays, and saved-model folders, with the names of this project or of 2019. Files of Keras 3
    may hold a custom model that contains a ``Timeception``.

    If a file does not store the spec, channels, groups and kernels are inferred from the shapes,
    and branch 5 and the epsilon are assumed to have their defaults.

    Args:
        path: A file, or a folder written by ``save_pretrained``.

    Raises:
        FileNotFoundError: If ``path`` does not exist.
        ValueError: If the format is unknown, the file could run code, or its names and shapes do
            not match a Timeception network; the error lists what was received and expected.
    """
    path = Path(path)
    if path.is_dir():
        saved, arrays, pipeline = read_folder(path)
        if not isinstance(saved, ClassifierSpec):
            raise ValueError(f"{path} holds a {type(saved).__name__}, not a Timeception network.")
        return _checkpoint(saved, arrays, path, "folder", "canonical", [], {"pipeline": pipeline})
    container = container_of(path)
    if container == "keras" or (container == "hdf5" and is_keras3(path)):
        file = read_keras3(path)
        if file.left_out:
            names = ", ".join(file.left_out)
            logger.warning("%s: not part of Timeception, skipped: %s", path, names)
        more = {"pipeline": file.pipeline}
        return _checkpoint(file.spec, file.arrays, path, "keras", "keras3", file.left_out, more)
    named, spec_text = _read_named(path, container)
    left_out: list[str] = []
    if is_2019(named):
        spec, arrays, origin, left_out = from_2019(named)
    elif any(name.endswith("layers.0.pointwise.weight") for name in named):
        arrays = {k: v for k, v in named.items() if not k.endswith("num_batches_tracked")}
        spec, origin = load_spec(spec_text) if spec_text else infer_spec(arrays), "canonical"
    else:
        raise ValueError(
            f"{path} ({container}) is not a Timeception network.\n"
            f"  received: {few(named)}\n"
            "  expected: layers.0.pointwise.weight, ... (this project), "
            "conv_b1_g1_tc1.weight, ... (PyTorch 2019) or conv_b1_g1_tc1/kernel:0, ... (Keras 2019)"
        )
    check_arrays(str(path), spec, arrays)
    if left_out:
        logger.warning("%s: not part of the 2019 network, skipped: %s", path, ", ".join(left_out))
    return _checkpoint(spec, arrays, path, container, origin, left_out)


def _read_named(path: Path, container: str) -> tuple[Named, str | None]:
    """Return the arrays by their names in the file, and the stored spec's JSON, if any.

    Names in HDF5 are the layer and the array, ``conv_b1_g1_tc1/kernel:0``.
    """
    with damage_reported(path, container), open_content(path, container) as content:
        metadata: Mapping[str, Any] = {}
        if isinstance(content, LazyArrays):
            metadata, content = content.metadata, dict(content)
    if isinstance(content, Mapping):
        metadata = {SPEC_KEY: content.get(SPEC_KEY)} | dict(metadata)
    if container == "hdf5":
        content = {
            "/".join(name.split("/")[-2:]): array
            for name, array in content.items()
            if not name.startswith("optimizer_weights")
        }
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, not arrays by name.")
    named = {str(name): as_array(value) for name, value in content.items() if name != SPEC_KEY}
    if not named:
        raise ValueError(f"{path} ({container}) holds no arrays.")
    for prefix in ("module.", "model."):
        if all(name.startswith(prefix) for name in named):
            named = {name.removeprefix(prefix): value for name, value in named.items()}
    spec = metadata.get(SPEC_KEY)
    return named, None if spec is None else str(spec)


def _checkpoint(
    spec: ClassifierSpec | TimeceptionSpec,
    arrays: Named,
    path: Path,
    container: str,
    names: str,
    left_out: list[str],
    more: Mapping[str, Any] | None = None,
) -> Checkpoint:
    provenance = {
        "file": path.name,
        "sha256": sha256_of_file(path / WEIGHTS_FILE if path.is_dir() else path),
        "container": container,
        "names": names,
        "left_out": left_out,
        **(more or {}),
    }
    arrays = {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()}
    return Checkpoint(spec, arrays, provenance)
