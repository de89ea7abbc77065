"""What is written under a name that exists is replaced as a whole, never changed in place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import oracle
from timeception.datasets.synthetic.generate import write_mp4
from timeception.files import replacing, write_json, write_text
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.weights import convert, write_folder

SPEC = ClassifierSpec(TimeceptionSpec(8, 1, 1), 3, hidden=4)


def save(folder: Path, seed: int) -> Path:
    arrays = oracle.random_arrays(SPEC.parameter_shapes(), seed)
    write_folder(folder, SPEC, arrays, {"classes": ["a", "b", str(seed)]})
    return folder


def text(folder: Path, seed: int) -> Path:
    write_text(folder / "recipe.yaml", f"seed: {seed}\n" * 99)
    return folder / "recipe.yaml"


def json_file(folder: Path, seed: int) -> Path:
    write_json(folder / "results" / "test.json", {"seed": seed})
    return folder / "results" / "test.json"


def weights(folder: Path, seed: int) -> Path:
    return save(folder / "model", seed) / "model.safetensors"


def config(folder: Path, seed: int) -> Path:
    return save(folder / "model", seed) / "config.json"


def any_file(folder: Path, seed: int) -> Path:
    with replacing(folder / "a.bin") as temporary:
        temporary.write_bytes(bytes([seed]) * 999)
    return folder / "a.bin"


def video(folder: Path, seed: int) -> Path:
    frames = np.full((3, 32, 32, 3), 40 * seed, np.uint8)
    write_mp4(folder / "a.mp4", frames, fps=5)
    return folder / "a.mp4"


def converted(to: str, name: str) -> Callable[[Path, int], Path]:
    def write(folder: Path, seed: int) -> Path:
        convert(save(folder / f"source {seed}", seed), folder / name, to)
        return folder / name

    write.__name__ = name
    return write


WRITERS = [
    text,
    json_file,
    weights,
    config,
    any_file,
    video,
    converted("torch", "a.pt"),
    converted("torch", "a.safetensors"),
    converted("keras", "a.keras"),
    converted("keras", "a.weights.h5"),
    converted("jax", "a.npz"),
]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_an_old_file_is_left_whole(write: Callable[[Path, int], Path], tmp_path: Path) -> None:
    """Whoever has it, here by a second name, keeps all of it."""
    path = write(tmp_path, 1)
    old, second = path.read_bytes(), tmp_path / "second name"
    os.link(path, second)
    assert write(tmp_path, 2) == path
    assert second.read_bytes() == old != path.read_bytes()


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_nothing_else_is_left_behind(write: Callable[[Path, int], Path], tmp_path: Path) -> None:
    path = write(tmp_path, 1)
    before = {file.name for file in path.parent.iterdir()}
    write(tmp_path, 1)
    assert {file.name for file in path.parent.iterdir()} == before
    assert not [name for name in before if name.startswith(".") or name.endswith(".part")]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_file_that_cannot_be_put_in_place(
    write: Callable[[Path, int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, 1)
    old = path.read_bytes()
    save(tmp_path / "source 2", 2)

    def fail(source: Path, target: Path) -> None:
        assert Path(source).stat().st_size > 10  # it was written elsewhere
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, 2)
    assert path.read_bytes() == old


def test_a_failing_writer_leaves_no_trace(tmp_path: Path) -> None:
    any_file(tmp_path, 1)

    def write_half() -> None:
        with replacing(tmp_path / "a.bin") as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        write_half()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [
        ("a.bin", bytes([1]) * 999)
    ]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "b.bin").write_bytes(b"old")
    (tmp_path / "a.bin").symlink_to(tmp_path / "far" / "b.bin")
    any_file(tmp_path, 1)
    assert (tmp_path / "a.bin").is_symlink()
    assert (tmp_path / "far" / "b.bin").read_bytes() == bytes([1]) * 999


def test_nan_is_no_json(tmp_path: Path) -> None:
    json_file(tmp_path, 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "results" / "test.json", {"loss": float("nan")})
    assert json_file(tmp_path, 1).read_text() == '{\n  "seed": 1\n}\n'
