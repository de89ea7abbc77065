from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests import oracle
from timeception.spec import ClassifierSpec, PoolingSpec, TimeceptionSpec
from timeception.weights import read_folder, write_folder

SPECS = {
    "timeception": ClassifierSpec(
        TimeceptionSpec(24, 2, 2, expansion=1.5), 3, hidden=8, dropout=(0.1, 0.2), map_size=(2, 3)
    ),
    "pooling": PoolingSpec(24, 3, hidden=8),
}


@pytest.mark.parametrize("model_type", SPECS)
def test_round_trip(model_type: str, tmp_path: Path) -> None:
    spec = SPECS[model_type]
    arrays = oracle.random_arrays(spec.parameter_shapes())
    pipeline = {"classes": ["a", "é"], "fps": 12.5}
    write_folder(tmp_path / "new" / "model", spec, arrays, pipeline)
    again, loaded, kept = read_folder(tmp_path / "new" / "model")
    assert (again, kept) == (spec, pipeline)
    assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)
    config = json.loads((tmp_path / "new" / "model" / "config.json").read_text("utf-8"))
    assert (config["model_type"], config["format_version"]) == (model_type, 1)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = SPECS["timeception"]
    arrays = oracle.random_arrays(spec.parameter_shapes())
    write_folder(tmp_path / "a", spec, arrays)
    write_folder(tmp_path / "b", spec, dict(reversed(arrays.items())))
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


BAD_FOLDERS = {
    "other model": (lambda f: edit(f, model_type="bert"), "model_type in .* must be one of"),
    "later format": (lambda f: edit(f, format_version=9), "format_version in .* must be one of 1"),
    "unknown field": (lambda f: edit(f, spec={"n_clases": 3}), "Did you mean 'n_classes'"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "it has no model.safetensors"),
    "other weights": (
        lambda f: write_folder_weights(f, SPECS["pooling"], 7),
        r"hidden.weight: \(7, 48\) received, \(8, 48\) expected",
    ),
}


def write_folder_weights(folder: Path, spec: PoolingSpec, hidden: int) -> None:
    other = PoolingSpec(spec.in_channels, spec.n_classes, hidden)
    config = (folder / "config.json").read_text()
    write_folder(folder, other, oracle.random_arrays(other.parameter_shapes()))
    (folder / "config.json").write_text(config)


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folders(case: str, tmp_path: Path) -> None:
    damage, words = BAD_FOLDERS[case]
    spec = SPECS["pooling"]
    write_folder(tmp_path, spec, oracle.random_arrays(spec.parameter_shapes()))
    damage(tmp_path)
    with pytest.raises(ValueError, match=words):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["/no/such/folder", "./model", "plain", "a/b/c", "../up"])
def test_what_is_no_folder_and_no_hub_id(name: str) -> None:
    with pytest.raises(ValueError, match="existing folder, or a hub id"):
        read_folder(name)


def test_a_hub_id_is_fetched(tmp_path: Path, monkeypatch) -> None:
    spec = SPECS["pooling"]
    write_folder(tmp_path, spec, oracle.random_arrays(spec.parameter_shapes()))
    asked = {}

    def snapshot_download(repo_id: str, **options: object) -> str:
        asked.update(options, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert read_folder("user/model", revision="v2")[0] == spec
    assert (asked["repo_id"], asked["revision"]) == ("user/model", "v2")
    files = {"config.json", "model.safetensors", "backbone.safetensors", "SHA256SUMS"}
    assert set(asked["allow_patterns"]) == files


def test_a_hub_id_out_of_reach(monkeypatch) -> None:
    def snapshot_download(repo_id: str, **options: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(OSError, match="offline") as caught:
        read_folder("user/model")
    assert "is not a local folder" in caught.value.__notes__[0]


def test_wrong_arrays_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names do not match"):
        write_folder(tmp_path / "x", SPECS["pooling"], {})
    assert not (tmp_path / "x").exists()
