"""The spec inside a bare weight file, where its container has a place for it.

The shapes of arrays do not tell where branch 5 looks, or the epsilon; files that this project
writes say it beside the arrays.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from timeception.spec import ClassifierSpec, TimeceptionSpec

SPEC_KEY = "timeception_spec"


def dump_spec(spec: ClassifierSpec | TimeceptionSpec) -> str:
    """The spec as JSON."""
    return json.dumps(spec.to_dict(), sort_keys=True)


def load_spec(text: str) -> ClassifierSpec | TimeceptionSpec:
    """The spec that ``dump_spec`` wrote.

    Example:
        >>> load_spec(dump_spec(TimeceptionSpec(64, bn_eps=1e-5))).bn_eps
        1e-05
    """
    fields = json.loads(text)
    kind = ClassifierSpec if "timeception" in fields else TimeceptionSpec
    return kind.from_dict(fields)


def stored_spec(path: Path, container: str) -> ClassifierSpec | TimeceptionSpec | None:
    """The spec that stands in a file, or ``None``.

    Args:
        path: the file.
        container: as ``containers.container_of`` tells it.
    """
    text = _READERS[container](path) if container in _READERS else None
    return load_spec(text) if text else None


def _in_safetensors(path: Path) -> str | None:
    with safe_open(path, "numpy") as file:
        metadata: dict[str, str] = file.metadata() or {}
    return metadata.get(SPEC_KEY)


def _in_npz(path: Path) -> str | None:
    with np.load(path, allow_pickle=False) as file:
        return str(file[SPEC_KEY]) if SPEC_KEY in file else None


def _in_torch(path: Path) -> str | None:
    import torch  # a framework is loaded only when its file is read

    content = torch.load(path, map_location="cpu", weights_only=True)
    text = content.get(SPEC_KEY) if isinstance(content, dict) else None
    return text if isinstance(text, str) else None


_READERS = {"safetensors": _in_safetensors, "npz": _in_npz, "torch": _in_torch}
