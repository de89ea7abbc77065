"""Saved-model folders: ``model.safetensors`` and ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from timeception import checks
from timeception.files import replacing, sha256_of_file, write_json, write_text
from timeception.spec import ClassifierSpec, HeadSpec, LocalizerSpec, PoolingSpec
from timeception.spec.heads import LOCALIZER, head_name, head_names, spec_class
from timeception.weights.arrays import check_arrays

ModelSpec = ClassifierSpec | PoolingSpec | HeadSpec | LocalizerSpec

FORMAT_VERSION = 1
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
#: Optional files: a backbone that was trained with the head, and the SHA-256 of all files.
BACKBONE_FILE, HASHES_FILE = "backbone.safetensors", "SHA256SUMS"


def write_folder(
    folder: str | Path,
    spec: ModelSpec,
    arrays: Mapping[str, np.ndarray],
    pipeline: Mapping[str, Any] | None = None,
) -> None:
    """Write a model.

    Args:
        folder: The folder; it is created if it does not exist, and its two files are replaced.
        spec: The classifier or localizer.
        arrays: Its arrays by canonical name.
        pipeline: Plain JSON with everything else that is needed to use the weights, such as classes
            and preprocessing.

    Raises:
        ValueError: If the arrays do not match ``spec``.
        TypeError: If ``pipeline`` is not plain JSON.
    """
    check_arrays("arrays", spec, arrays)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": head_name(spec),
        "format_version": FORMAT_VERSION,
        "spec": spec.to_dict(),
        "pipeline": pipeline,
    }
    contiguous = {name: np.ascontiguousarray(arrays[name], np.float32) for name in arrays}
    with replacing(folder / WEIGHTS_FILE) as weights:
        save_file(contiguous, weights, metadata={"format": "np"})
        # inside, so that a pipeline that is not JSON leaves both files as they were
        write_json(folder / CONFIG_FILE, config, sort_keys=True, ensure_ascii=True)
    (folder / HASHES_FILE).unlink(missing_ok=True)  # last: until then they reveal a partial write


def read_folder(
    folder_or_hub_id: str | Path, **hub_options: Any
) -> tuple[Any, dict[str, np.ndarray], dict[str, Any] | None]:
    """Read a model from a folder or from the Hugging Face hub.

    Args:
        folder_or_hub_id: A folder written by ``write_folder``, or a hub id ``"user/model"``.
        hub_options: Options of ``huggingface_hub.snapshot_download``.

    Returns:
        The spec, the canonical arrays, and the pipeline that was saved with them.

    Raises:
        ValueError: If the folder is not a saved model, its arrays do not match the spec, or its
            files do not match ``SHA256SUMS``.
    """
    folder = local_folder(folder_or_hub_id, **hub_options)
    check_hashes(folder)
    missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} is not a saved model: it has no {' and no '.join(missing)}.")
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    source = str(folder / CONFIG_FILE)
    checks.one_of(f"model_type in {source}", config.get("model_type"), (*head_names(), LOCALIZER))
    checks.one_of(f"format_version in {source}", config.get("format_version"), [FORMAT_VERSION])
    spec = spec_class(config["model_type"]).from_dict(config["spec"])
    arrays = load_file(folder / WEIGHTS_FILE)
    check_arrays(str(folder / WEIGHTS_FILE), spec, arrays)
    return spec, arrays, config.get("pipeline")


def local_folder(folder_or_hub_id: str | Path, **hub_options: Any) -> Path:
    """Return the folder itself, or the folder to which a hub model is downloaded.

    Raises:
        ValueError: If it is neither a folder nor a valid hub id.
        OSError: If the model is not on the hub, or the hub cannot be reached.
    """
    folder = Path(folder_or_hub_id)
    if folder.is_dir():
        return folder
    text = str(folder_or_hub_id)
    is_hub_id = isinstance(folder_or_hub_id, str) and text.count("/") == 1 and text[0] not in "./~"
    must = "be an existing folder, or a hub id such as 'user/model'"
    checks.require(is_hub_id, "model", must, text)
    from huggingface_hub import snapshot_download

    wanted = [CONFIG_FILE, WEIGHTS_FILE, BACKBONE_FILE, HASHES_FILE]
    try:
        return Path(snapshot_download(text, allow_patterns=wanted, **hub_options))
    except OSError as error:
        error.add_note(f"{text!r} is not a local folder, so it is taken as a Hugging Face hub id.")
        raise


def write_hashes(folder: str | Path) -> dict[str, str]:
    """Write ``SHA256SUMS`` of a model's files in the format of ``sha256sum``.

    ``read_folder`` checks the files against it. Returns the hashes by file name.
    """
    names = (CONFIG_FILE, WEIGHTS_FILE, BACKBONE_FILE)
    present = [Path(folder) / name for name in names if (Path(folder) / name).is_file()]
    hashes = {path.name: sha256_of_file(path) for path in present}
    text = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
    write_text(Path(folder) / HASHES_FILE, text)
    return hashes


def check_hashes(folder: str | Path) -> dict[str, str]:
    """Check a model's files against its ``SHA256SUMS``, if any; return the hashes by file name.

    Raises:
        ValueError: If files are missing or have other hashes; the error lists them.
    """
    file = Path(folder) / HASHES_FILE
    if not file.is_file():
        return {}
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line]
    hashes = {name: digest for digest, name in lines}
    wrong = []
    for name, digest in hashes.items():
        path = Path(folder) / name
        found = sha256_of_file(path) if path.is_file() else "no such file"
        if found != digest:
            wrong.append(f"  {name}: {found} found, {digest} expected")
    if wrong:
        advice = "Download the model again, or remove SHA256SUMS if you changed the files yourself."
        raise ValueError("\n".join([f"{file} does not match its files:", *wrong, advice]))
    return hashes
