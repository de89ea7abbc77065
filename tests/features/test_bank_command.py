import json
import shutil

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from timeception.cli import bank as bank_commands
from timeception.cli.bank import read_class_names
from timeception.features import FeatureBank
from timeception.features.bank import storage

runner = CliRunner()


@pytest.fixture
def run():
    app = typer.Typer()
    bank_commands.register(app)

    def run(*words, answer=None):
        return runner.invoke(app, ["bank", *map(str, words)], input=answer)

    return run


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "in"
    made.mkdir()
    for seed, name in enumerate("abc"):
        values = np.random.default_rng(seed).normal(size=(10 + seed, 4))
        labels = np.arange(10 + seed) // 4
        np.savez(made / f"{name}.npz", features=values, frame_labels=labels)
    return made


@pytest.fixture
def bank(run, folder, tmp_path):
    out = tmp_path / "bank"
    done = run("import", folder, "--out", out, "--axes", "TC", "--key", "features", "--fps", 10)
    assert done.exit_code == 0, done.output
    return FeatureBank(out, mode="a")


def test_import_writes_a_bank_and_annotations(run, folder, tmp_path):
    (tmp_path / "names.txt").write_text("0 none\n1 pour\n2 stir\n")
    words = ["import", folder, "--out", tmp_path / "bank", "--fps", 10, "--json"]
    words += ["--frame-labels", "frame_labels", "--class-names", tmp_path / "names.txt"]
    words += ["--background", 0, "--annotations", tmp_path / "a.csv"]
    done = run(*words)
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert report["done"] == ["a", "b", "c"]
    assert report["axes"] == "TC"
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[:3] == ["video,label,start,end,split", "a,pour,0.4,0.8,", "a,stir,0.8,1,"]


def test_import_reports_in_words(run, bank, folder):
    done = run("import", folder, "--out", bank.root, "--key", "features", "--axes", "TC")
    assert isinstance(done.exception, ValueError)  # other frames per second
    assert "fps: 10.0 in the bank, 1.0 asked for" in str(done.exception)
    (folder / "d.npz").write_bytes(b"PK")
    done = run(
        "import", folder, "--out", bank.root, "--key", "features", "--axes", "TC", "--fps", 10
    )
    assert done.exit_code == 1
    assert "0 imported, 3 already in the bank, 1 failed; axes TC" in done.stdout
    assert "failed: d: " in done.stderr
    assert "is a zip archive (.npz or PyTorch) that is cut off" in done.stderr


def test_import_asks_nothing_without_a_terminal(run, folder, tmp_path):
    done = run("import", folder, "--out", tmp_path / "bank", "--key", "features")
    assert isinstance(done.exception, ValueError)
    assert "Pass --axes TC or --axes CT." in str(done.exception)


def test_import_asks_at_a_terminal(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bank_commands, "_is_interactive", lambda: True)
    words = ["import", folder, "--out", tmp_path / "bank", "--key", "features"]
    done = run(*words, answer="ct\n")
    assert "TC means 10 steps of 4 channels; CT means 4 steps of 10 channels." in done.stderr
    assert "Which order is right, TC or CT?" in done.stderr
    assert "axes CT" in done.stdout
    assert done.exit_code == 1  # the other files have other lengths, so other "channels"
    assert FeatureBank(tmp_path / "bank")["a"].features.shape == (4, 10, 1, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frame-labels", "x"], "--frame-labels requires --annotations."),
        (["--annotations", "x"], "--annotations requires --frame-labels."),
        (["--background", "0"], "--background requires --frame-labels."),
        (["--axes", "XY"], "axes must contain T, C"),
        (["--dtype", "int8"], "dtype must be one of 'float16', 'float32', 'bfloat16'"),
        (["--fps", "0"], "fps must be positive"),
    ],
)
def test_wrong_use_is_reported(run, folder, tmp_path, words, message):
    words = words if "--axes" in words else [*words, "--axes", "TC"]
    done = run("import", folder, "--out", tmp_path / "bank", "--key", "features", *words)
    assert isinstance(done.exception, ValueError)
    assert message in str(done.exception)
    assert not (tmp_path / "bank").exists()


def test_stat_tells_what_a_bank_holds(run, bank):
    bank.record_failure("bad", "bad.npz", "bad.npz: broken")
    bank.path("c").write_bytes(b"x")
    found = json.loads(run("stat", bank.root, "--json").stdout)
    assert found["n_videos"] == 3
    assert found["n_steps"] == 21
    assert found["maps"] == {"4x1x1": 2}
    assert found["dtype"] == "float16"
    assert found["n_bytes"] == sum(bank.path(name).stat().st_size for name in "ab")
    assert found["settings"]["kind"] == "import"
    assert list(found["damaged"]) == ["c"]
    assert found["hours"] == pytest.approx((0.9 + 1.0) / 3600)
    done = run("stat", bank.root)
    assert done.exit_code == 0
    assert "21 (10 to 11 per video)" in done.stdout
    assert "4x1x1 (2)" in done.stdout
    assert "failed: bad: bad.npz: broken" in done.stderr
    assert "damaged: c: " in done.stderr


def test_stat_of_no_bank_is_reported(run, tmp_path):
    done = run("stat", tmp_path)
    assert isinstance(done.exception, ValueError)
    assert "not a feature bank: it has no bank.json" in str(done.exception)


def test_check_passes_a_sound_bank(run, bank, folder):
    for words in ([], ["--videos", folder]):
        done = run("check", bank.root, *words)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines() == [
            f"{bank.root}: 3 videos, no problems.",
            f"Next, train on it: timeception train RECIPE data.bank={bank.root}",
        ]


def truncated(bank, folder):
    bank.path("b").write_bytes(bank.path("b").read_bytes()[:-1])


def renamed(bank, folder):
    shutil.copy(bank.path("a"), bank.path("b"))


def not_finite(bank, folder):
    file = storage.read_header(bank.path("b"))
    content = bytearray(file.path.read_bytes())
    content[file.offset + 2 * 4 * 3 : file.offset + 2 * 4 * 3 + 2] = np.float16("nan").tobytes()
    file.path.write_bytes(content)


def other_channels(bank, folder):
    source = bank["b"].provenance["source"]
    bank.write("b", np.ones((3, 5, 1, 1)), range(3), 10, {"source": source})


def unordered(bank, folder):
    source = bank["b"].provenance["source"]
    bank.write("b", np.ones((3, 4, 1, 1)), [0, 2, 1], 10, {"source": source})


def other_settings(bank, folder):
    other = FeatureBank(bank.root.parent / "other", mode="a", settings={"stride": 3})
    other.write("b", np.ones((3, 4, 1, 1)), range(3), 10)
    shutil.copy(other.path("b"), bank.path("b"))


def other_content(bank, folder):
    np.savez(folder / "b.npz", features=np.ones((3, 4)))


def source_gone(bank, folder):
    (folder / "b.npz").unlink()


def not_imported(bank, folder):
    bank.path("b").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "damaged: "),
        (renamed, "holds the features of 'a'"),
        (not_finite, "has numbers that are not finite at step 3."),
        (other_channels, "has 5 channels; others have 4."),
        (unordered, "has start frames that do not ascend."),
        (other_settings, "was made with other settings than the bank's."),
        (other_content, "was made from another version of"),
        (source_gone, "was made from 'b.npz', which is not among the files given."),
        (not_imported, "b.npz is not in the bank."),
    ],
)
def test_check_names_each_problem(run, bank, folder, damage, message):
    damage(bank, folder)
    done = run("check", bank.root, "--videos", folder)
    assert done.exit_code == 1
    assert done.stderr.startswith("problem: b: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    report = json.loads(run("check", bank.root, "--videos", folder, "--json").stdout)
    assert list(report["problems"]) == ["b"]


def test_class_names(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("SIL\npour milk\n\nstir\n")
    assert read_class_names(str(file)) == ("SIL", "pour milk", "stir")
    file.write_text("1 pour milk\n0 SIL\n2 stir\n")
    assert read_class_names(str(file)) == ("SIL", "pour milk", "stir")
    file.write_text("1 pour\n3 stir\n")
    with pytest.raises(ValueError, match="must number its classes 0, 1, 2"):
        read_class_names(str(file))
    for text in ("a,,b", "a,b,a"):
        with pytest.raises(ValueError, match="--class-names must be unique and not empty"):
            read_class_names(text)
