"""Checkpoint files: containers and families by content, nothing executed, both sides printed."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from timeception.backbones.checkpoints import FAMILIES, load_into, read_state, recognise

STATE = {"layer1.0.conv1.weight": torch.arange(8.0).reshape(2, 1, 2, 2), "fc.bias": torch.ones(3)}


def assert_same(state):
    assert set(state) == set(STATE)
    for name, tensor in STATE.items():
        assert torch.equal(state[name], tensor)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"epoch": 3, "model_state": state, "cfg": "text"},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}, "arch": "x"},
        lambda state: {"best_prec1": np.float64(0.5), "state_dict": state},
    ],
)
def test_pytorch_files_wrapped_and_prefixed(tmp_path, wrap, is_zip):
    file = tmp_path / "no_extension"
    torch.save(wrap(STATE), file, _use_new_zipfile_serialization=is_zip)
    read = read_state(file)
    assert_same(read.state)
    assert read.family.title == "2D-ResNet (torchvision, timm)" and read.name == "no_extension"


def test_safetensors_under_any_extension(tmp_path):
    file = tmp_path / "weights.pkl"
    save_file(STATE, file)
    assert_same(read_state(file).state)


class RunsCode:
    def __reduce__(self):
        return Path.touch, (Path(self.target),)


def test_code_in_a_pytorch_file_is_not_run(tmp_path):
    bad, target = RunsCode(), tmp_path / "touched"
    bad.target = str(target)
    file = tmp_path / "weights.pt"
    torch.save({"state_dict": STATE, "extra": bad}, file)
    with pytest.raises(ValueError, match="could not be read without executing code"):
        read_state(file)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ""),
        (b"a text file, not weights", "begins with b'a text f"),
        (b"PK\x03\x04 cut short", ""),
        (b"\x06\0\0\0\0\0\0\0{broken", "It is incomplete or damaged"),
    ],
)
def test_other_files_are_refused(tmp_path, content, words):
    file = tmp_path / "weights.pt"
    file.write_bytes(content)
    needed = r"weights must be a PyTorch, safetensors or Caffe2 pickle file of weights; got"
    with pytest.raises(ValueError, match=f"{needed} .*{words}"):
        read_state(file)


def test_hdf5_files_are_to_be_converted(tmp_path):
    h5py.File(tmp_path / "weights.pt", "w").close()
    with pytest.raises(ValueError, match=r"It is of the kind hdf5\. Convert it to PyTorch first"):
        read_state(tmp_path / "weights.pt")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}])
def test_files_without_tensors_are_refused(tmp_path, content):
    file = tmp_path / "weights.pt"
    torch.save(content, file)
    with pytest.raises(ValueError, match=r"It contains (a list, not named|no) tensors"):
        read_state(file)


def test_absent_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"weights must be an existing file; got .*absent"):
        read_state(tmp_path / "absent.pt")


def test_families_are_distinguished():
    for family in FAMILIES:
        state = {family.signature: torch.empty((1,) * family.rank)}
        assert recognise(state) is family
    assert recognise({"unknown.weight": torch.empty(1)}) is None


def test_mismatch_prints_both_sides():
    with pytest.raises(ValueError, match=r"(?s)weights x: names.*missing: bias, weight.*"
                                         r"unexpected: kernel\nlooks odd"):  # fmt: skip
        load_into(nn.Linear(2, 3), {"kernel": torch.ones(3)}, "weights x", "looks odd")
    state = {"weight": torch.ones(2, 3), "bias": torch.ones(3)}
    with pytest.raises(ValueError, match=r"1 of 2 shapes .*\n  weight: 2x3 received, 3x2 expected"):
        load_into(nn.Linear(2, 3), state, "weights x")


def test_batch_counters_may_be_absent():
    norm = nn.BatchNorm1d(2)
    load_into(norm, {k: torch.full((2,), 2.0) for k in
                     ("weight", "bias", "running_mean", "running_var")}, "norm")  # fmt: skip
    assert torch.equal(norm.running_var, torch.full((2,), 2.0))


def test_pickle_module_is_not_used_on_python_pickles(tmp_path):
    bad, target = RunsCode(), tmp_path / "touched"
    bad.target = str(target)
    file = tmp_path / "caffe2.pkl"
    file.write_bytes(pickle.dumps({"blobs": {"conv1_w": bad}}))
    with pytest.raises(ValueError):
        read_state(file)
    assert not target.exists()
