"""Hashes, and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import stat

import pytest

from timeception import files


def test_hashes_are_sha256(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    expected = hashlib.sha256(b"abc").hexdigest()
    assert files.sha256_of_file(file) == files.sha256_of([b"a", b"bc"]) == expected


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_have_the_usual_mode_and_leave_nothing_else(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.write_text(tmp_path / "new" / "a.txt", "ä\n")
        with files.replacing(tmp_path / "new" / "b.txt") as temporary:
            assert temporary.name == "b.txt"
            temporary.write_text("whole")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "a.txt").read_bytes() == "ä\n".encode()
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "new").iterdir()}
    assert modes == dict.fromkeys(["a.txt", "b.txt"], 0o666 & ~mask)


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.json"
    files.write_json(file, {"b": 1, "a": "ä"})
    assert file.read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "ä"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(file, float("nan"))
    with pytest.raises(RuntimeError), files.replacing(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert '"b": 1' in file.read_text(encoding="utf-8")


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to("target")
    files.write_text(tmp_path / "link", "text")
    with files.replacing(tmp_path / "link") as temporary:
        temporary.write_text("other text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "other text"


def test_what_runs_is_not_stale(tmp_path):
    files.temporary_path(tmp_path / "a").write_text("half")
    with files.replacing(tmp_path / "b") as temporary:
        temporary.write_text("whole")
        assert files.remove_stale(tmp_path) == 0
    folder = tmp_path / f".0123.{files._HOST}-99999999.tmp"
    (folder / "inside").mkdir(parents=True)
    assert files.remove_stale(tmp_path) == 1
    assert not folder.exists()


def test_a_dead_process_of_the_same_number_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_numbers", iter([0, 0, 0, 0]))
    files.temporary_path(tmp_path / "a").mkdir()
    with files.replacing(tmp_path / "a") as temporary:
        temporary.write_text("whole")
    files.temporary_path(tmp_path / "a").write_text("half")
    files.write_text(tmp_path / "a", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]
