from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests import oracle
from tests.contracts import Arrays
from timeception.spec import ClassifierSpec, PoolingSpec, TimeceptionSpec
from timeception.weights import read_checkpoint, write_folder

SPEC = ClassifierSpec(TimeceptionSpec(40, 2, 4, is_dilated=False), n_classes=3, hidden=8)


@pytest.fixture
def arrays() -> Arrays:
    return oracle.random_arrays(SPEC.parameter_shapes())


def tensors(arrays: Arrays, prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: torch.tensor(array) for name, array in arrays.items()}


def write_legacy(arrays: Arrays, path: Path) -> None:
    torch.save(tensors(arrays), path, _use_new_zipfile_serialization=False)


def write_npz(arrays: Arrays, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


WRITERS = {
    "torch": lambda a, path: torch.save(tensors(a), path),
    "torch before 1.6": write_legacy,
    "lightning": lambda a, path: torch.save({"state_dict": tensors(a, "model."), "epoch": 1}, path),
    "data parallel": lambda a, path: torch.save(tensors(a, "module."), path),
    "double": lambda a, path: torch.save({k: v.double() for k, v in tensors(a).items()}, path),
    "safetensors": lambda a, path: save_file(a, path),
    "npz": write_npz,
    "pickle": lambda a, path: path.write_bytes(pickle.dumps(a)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_canonical_files_are_told_by_content(kind: str, arrays: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "weights.whatever"
    WRITERS[kind](arrays, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.spec == SPEC
    assert checkpoint.provenance["names"] == "canonical"
    assert all(np.array_equal(checkpoint.arrays[name], arrays[name]) for name in arrays)
    assert {a.dtype for a in checkpoint.arrays.values()} == {np.dtype(np.float32)}


def test_the_counter_of_batches_is_ignored(arrays: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(tensors(arrays) | {"norm.num_batches_tracked": torch.tensor(3)}, path)
    assert set(read_checkpoint(path).arrays) == set(arrays)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize(("channels", "n_groups"), [(40, 4), (128, 1), (1024, 8), (96, 2)])
def test_layers_alone_tell_their_spec(
    channels: int, n_groups: int, n_layers: int, tmp_path: Path
) -> None:
    spec = TimeceptionSpec(channels, n_layers, n_groups)
    save_file(oracle.random_arrays(spec.parameter_shapes()), tmp_path / "x")
    assert read_checkpoint(tmp_path / "x").spec == spec


def test_saved_folder(arrays: Arrays, tmp_path: Path) -> None:
    spec = ClassifierSpec(SPEC.timeception.replace(pool_lookahead=False), 3, hidden=8)
    write_folder(tmp_path / "model", spec, arrays, {"classes": ["a", "b", "c"]})
    checkpoint = read_checkpoint(tmp_path / "model")
    assert checkpoint.spec == spec
    assert checkpoint.provenance["pipeline"] == {"classes": ["a", "b", "c"]}
    assert len(checkpoint.provenance["sha256"]) == 64


def write_2019(path: Path, spec: TimeceptionSpec, head: dict[str, tuple[int, ...]]) -> Arrays:
    """A PyTorch file with the names of 2019; returns its arrays."""
    shapes: dict[str, tuple[int, ...]] = dict(head)
    for number, layer in enumerate(spec.layers, start=1):
        width = (layer.branch_channels,)
        for group in range(1, spec.n_groups + 1):
            for branch in range(1, 6):
                block = f"b{branch}_g{group}_tc{number}"
                shapes[f"timeception.conv_{block}.weight"] = (*width, layer.group_channels, 1, 1, 1)
                shapes[f"timeception.conv_{block}.bias"] = width
                for leaf in ("weight", "bias", "running_mean", "running_var"):
                    shapes[f"timeception.bn_{block}.{leaf}"] = width
                if branch in (2, 3, 4):
                    kernel = f"timeception.convdw_{block}.depthwise_conv1d"
                    shapes[f"{kernel}.weight"] = (*width, 1, 2 * branch - 1)
                    shapes[f"{kernel}.bias"] = width
    arrays = oracle.random_arrays(shapes)
    torch.save(tensors(arrays), path)
    return arrays


HEAD_2019 = {
    "l1.weight": (512, 50),
    "l2.weight": (3, 512),
    "l2.bias": (3,),
    "l1.bias": (512,),
    **{f"bn1.{leaf}": (512,) for leaf in ("weight", "bias", "running_mean", "running_var")},
}


def test_rows_are_ordered_group_branch_channel(tmp_path: Path) -> None:
    spec = TimeceptionSpec(32, 2, 2)
    named = write_2019(tmp_path / "x", spec, HEAD_2019)
    arrays = read_checkpoint(tmp_path / "x").arrays
    width = spec.layers[1].branch_channels
    row = 1 * 5 * width + 3 * width + 2  # group 2, branch 4, channel 3
    theirs = named["timeception.conv_b4_g2_tc2.weight"][2].reshape(-1)
    assert np.array_equal(arrays["timeception.layers.1.pointwise.weight"][row], theirs)
    assert (
        arrays["timeception.layers.1.norm.bias"][row] == named["timeception.bn_b4_g2_tc2.bias"][2]
    )
    theirs = named["timeception.convdw_b4_g2_tc2.depthwise_conv1d.weight"][2, 0]
    assert np.array_equal(arrays["timeception.layers.1.temporal.2.weight"][width + 2], theirs)


def test_another_head_is_left_out_and_told(tmp_path: Path, caplog) -> None:
    write_2019(tmp_path / "x", TimeceptionSpec(32, 2, 2), {"fc.weight": (7, 50)})
    checkpoint = read_checkpoint(tmp_path / "x")
    assert isinstance(checkpoint.spec, TimeceptionSpec)
    assert checkpoint.provenance["left_out"] == ["fc.weight"]
    assert "not part of the 2019 network, skipped: fc.weight" in caplog.text


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")


BAD_FILES = {
    "text": (lambda a, p: p.write_text("weights"), "begins with b'weights', which no known"),
    "empty": (lambda a, p: p.write_bytes(b""), "file must not be empty"),
    "other zip": (
        lambda a, p: write_zip(p),
        r"zip archive of \['a.txt'\]",
    ),
    "empty hdf5": (lambda a, p: h5py.File(p, "w").close(), "holds no arrays"),
    "other network": (
        lambda a, p: save_file({"conv1.weight": np.ones(3)}, p),
        r"(?s)is not a Timeception network.*received: 1 arrays: conv1.weight.*expected: layers.0",
    ),
    "list": (lambda a, p: p.write_bytes(pickle.dumps([1])), "holds a list, not arrays by name"),
    "missing": (
        lambda a, p: save_file({k: v for k, v in a.items() if k != "output.bias"}, p),
        r"(?s)31 received, 32 expected.*missing: output.bias",
    ),
    "no kernels": (
        lambda a, p: save_file({k: v for k, v in a.items() if "temporal.2" not in k}, p),
        "no array 'timeception.layers.0.temporal.2.weight'",
    ),
    "unexpected": (
        lambda a, p: save_file(a | {"hidden.scale": np.ones(3)}, p),
        "unexpected: hidden.scale",
    ),
    "shape": (
        lambda a, p: save_file(a | {"norm.bias": np.ones(7)}, p),
        r"norm.bias: \(7,\) received, \(8,\) expected",
    ),
    "kept map": (
        lambda a, p: save_file(a | {"hidden.weight": np.ones((8, 240))}, p),
        "If the classifier has a map_size, read its saved-model folder",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(case: str, arrays: Arrays, tmp_path: Path) -> None:
    write, words = BAD_FILES[case]
    path = tmp_path / "weights.pt"
    write(arrays, path)
    with pytest.raises(ValueError, match=words):
        read_checkpoint(path)


def test_a_2019_file_with_a_gap(tmp_path: Path) -> None:
    spec = TimeceptionSpec(32, 2, 2)
    arrays = write_2019(tmp_path / "x", spec, HEAD_2019)
    del arrays["timeception.conv_b3_g2_tc1.bias"]
    torch.save(tensors(arrays), tmp_path / "x")
    with pytest.raises(ValueError, match=r"not 'conv_b3_g2_tc1.bias'"):
        read_checkpoint(tmp_path / "x")


def test_code_in_a_torch_file_does_not_run(tmp_path: Path) -> None:
    torch.save({"layers.0.pointwise.weight": Path("x")}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"\(torch\) cannot be read: Weights only load failed"):
        read_checkpoint(tmp_path / "x.pt")


def test_another_saved_model(tmp_path: Path) -> None:
    spec = PoolingSpec(8, 3, hidden=4)
    write_folder(tmp_path, spec, oracle.random_arrays(spec.parameter_shapes()))
    with pytest.raises(ValueError, match="PoolingSpec, not a Timeception network"):
        read_checkpoint(tmp_path)


def test_importing_loads_no_framework() -> None:
    code = "import timeception.weights, sys; print({'torch', 'keras', 'jax'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()"
