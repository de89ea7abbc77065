"""A bank with averaged maps: values, provenance, resuming, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from timeception.cli import main
from timeception.features.bank import FeatureBank
from timeception.features.bank.inspection import inspect
from timeception.features.bank.resizing import resize_bank
from timeception.features.maps import average_maps

SETTINGS = {"kind": "extraction", "backbone": {"name": "made"}, "stride": 2, "map_size": None}


@pytest.fixture
def bank(tmp_path: Path) -> FeatureBank:
    made = FeatureBank(tmp_path / "bank", mode="a", settings=SETTINGS, dtype="float32")
    for seed, name in enumerate(("tea/a", "tea/b")):
        maps = np.random.default_rng(seed).normal(size=(300, 3, 4, 5))
        source = {"source": {"name": f"{name}.mp4", "sha256": "0" * 64}}
        made.write(name, maps, np.arange(300) * 2, 24.0, source)
    made.record_failure("tea/c", "c.mp4", "broken")
    return made


def contents(root: Path) -> dict[str, bytes]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_maps_are_averaged_and_the_rest_is_kept(bank: FeatureBank, tmp_path: Path) -> None:
    report = resize_bank(bank, tmp_path / "new", (2, 3))
    assert (report.done, report.skipped, report.failed) == (["tea/a", "tea/b"], [], {})
    new = FeatureBank(tmp_path / "new")
    assert new.settings == {**bank.settings, "map_size": [2, 3]}
    assert new.failures == bank.failures and new.video_ids == bank.video_ids
    for video_id in bank:
        old, made = bank[video_id], new[video_id]
        np.testing.assert_array_equal(made.features, average_maps(old.features, (2, 3)))
        np.testing.assert_array_equal(made.start_frames, old.start_frames)
        assert made.fps == old.fps
        assert made.provenance["source"] == old.provenance["source"]
    assert inspect(new) == {}


def test_it_continues_and_gives_the_same_bytes(bank: FeatureBank, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    resize_bank(bank, whole, (2, 2))

    def two(ids: tuple[str, ...]) -> object:
        yield ids[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resize_bank(bank, parts, (2, 2), track=two)
    assert FeatureBank(parts).video_ids == ("tea/a",)
    report = resize_bank(bank, parts, (2, 2))
    assert (report.done, report.skipped) == (["tea/b"], ["tea/a"])
    assert contents(parts) == contents(whole)
    new = FeatureBank(parts)
    new.path("tea/a").write_bytes(b"damaged")
    assert resize_bank(bank, parts, (2, 2)).done == ["tea/a"]
    assert contents(parts) == contents(whole)


def test_changed_features_are_averaged_again(bank: FeatureBank, tmp_path: Path) -> None:
    resize_bank(bank, tmp_path / "new", (1, 1))
    bank.write("tea/a", np.ones((300, 3, 4, 5)), np.arange(300) * 2, 24.0, {"source": "other"})
    assert resize_bank(bank, tmp_path / "new", (1, 1)).done == ["tea/a"]


def test_a_damaged_file_is_reported(
    bank: FeatureBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank.path("tea/a").write_bytes(b"damaged")
    words = ["bank", "resize", str(bank.root), "--out", str(tmp_path / "new"), "--map-size", "1x2"]
    assert main(words) == 1
    shown = capsys.readouterr()
    assert "1 averaged to 1x2, 0 already done, 1 failed. Bank: " in shown.out
    assert "failed: tea/a: " in shown.err
    assert FeatureBank(tmp_path / "new")["tea/b"].features.shape == (300, 3, 1, 2)


def test_wrong_use_is_an_error(bank: FeatureBank, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="out must be another folder than the bank's"):
        resize_bank(bank, bank.root, (1, 1))
    with pytest.raises(ValueError, match="map_size must be a whole number of at least 1; got 0"):
        resize_bank(bank, tmp_path / "new", (0, 1))
    report = resize_bank(bank, tmp_path / "new", (5, 5))
    assert "be at most the features' own 4x5" in report.failed["tea/a"]
    assert not (tmp_path / "new").exists()
    resize_bank(bank, tmp_path / "new", (2, 2))
    with pytest.raises(ValueError, match="map_size"):
        resize_bank(bank, tmp_path / "new", (1, 1))
    averaged = FeatureBank(tmp_path / "new")
    with pytest.raises(
        ValueError, match=r"got 'maps averaged to 2x2'. Set sampling.map_size=\[1,1"
    ):
        resize_bank(averaged, tmp_path / "twice", (1, 1))


def test_json(bank: FeatureBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--out", str(tmp_path / "new"), "--map-size", "1x1", "--json"]
    assert main(["bank", "resize", str(bank.root), *words]) == 0
    assert '"done": [' in capsys.readouterr().out
