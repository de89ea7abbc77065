"""``timeception data check``: which data set it is, and everything that is wrong with it."""

import json

import pytest

from tests.datasets import official_files as made
from timeception.datasets.check import check_folder
from timeception.datasets.registry import recognise
from timeception.datasets.synthetic import make_synthetic_activities


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def items(report):
    return {finding.what: finding.items for finding in report.findings}


def problems(report):
    return {finding.what: finding.items for finding in report.findings if finding.is_problem}


def write_csv(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").write_text("path,labels,split\na.mp4,x,train\nsub/b.mp4,y,test\n")
    touch(folder, "a.mp4", "sub/b.mp4")


def write_timed(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "times.csv").write_text("video,label,start,end\na,x,0,1\na,y,1,2\n")
    touch(folder, "a.mp4")


def write_folders(folder):
    touch(folder, "x/a.mp4", "y/b.mp4")


KIND_WRITERS = {
    "charades": made.write_charades,
    "breakfast": made.write_breakfast,
    "multithumos": made.write_multithumos,
    "kinetics": made.write_kinetics,
    "csv": write_csv,
    "timed": write_timed,
    "folder": write_folders,
}


@pytest.mark.parametrize("key", sorted(KIND_WRITERS))
def test_kinds_are_recognised(tmp_path, key):
    KIND_WRITERS[key](tmp_path)
    assert recognise(tmp_path)[0].family == key
    report = check_folder(tmp_path)
    assert report.kind == key
    assert json.loads(json.dumps(report.to_dict()))["is_ok"] == (key in ("csv", "timed", "folder"))


def test_json_of_multithumos_is_recognised(tmp_path):
    made.write_json(tmp_path, made.multithumos_entries())
    assert recognise(tmp_path)[0].family == "multithumos"


def test_annotations_one_folder_below(tmp_path):
    made.write_charades(tmp_path / "Charades")
    touch(tmp_path, "Charades_v1_480/AAAA1.mp4", "Charades_v1_480/AAAA2.mp4")
    touch(tmp_path, "Charades_v1_480/BBBB1.mp4")
    report = check_folder(tmp_path)
    assert (report.kind, report.folder) == ("charades", str(tmp_path / "Charades"))
    assert list(problems(report)) == ["counts that differ from the known ones"]


def test_nothing_known(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n")
    with pytest.raises(ValueError, match=r"annotations of a known kind.*Charades_v1_train.csv"):
        check_folder(tmp_path)
    with pytest.raises(ValueError, match="be an existing folder"):
        check_folder(tmp_path / "nowhere")


def test_charades_against_the_known_counts(tmp_path):
    made.write_charades(tmp_path / "annotations")
    touch(tmp_path / "videos", "480/AAAA1.mp4", "full/AAAA1.mp4", "480/BBBB1.mp4", "480/CCCC1.mp4")
    report = check_folder(tmp_path / "annotations", tmp_path / "videos")
    assert report.n_video_files == 4
    assert report.counts["train videos"] == (2, 7985)
    assert report.counts["train videos without labels"] == (1, 174)
    assert report.counts["test videos without labels"] == (0, 49)
    assert report.counts["classes"] == (4, 157)
    assert report.counts["videos"] == (3, None)
    assert problems(report) == {
        "missing videos": ("AAAA2",),
        "extra videos, not in the annotations": ("480/CCCC1",),
        "duplicate ids, several files for one video": ("AAAA1: 480/AAAA1, full/AAAA1",),
        "counts that differ from the known ones": (
            "classes: 4, known 157",
            "test videos: 1, known 1863",
            "test videos without labels: 0, known 49",
            "train videos: 2, known 7985",
            "train videos without labels: 1, known 174",
        ),
    }
    notes = items(report)
    assert notes["classes without positives in test"] == ("c003 Doing thing 3",)
    assert notes["actions that do not end after they start"] == (
        "BBBB1: c002 Doing thing 2 5 to 5 s",
        "BBBB1: c000 Doing thing 0 9 to 7 s",
    )


def test_breakfast_in_its_official_folders(tmp_path):
    made.write_breakfast(tmp_path)
    touch(
        tmp_path,
        "BreakfastII/P03/cam01/P03_cereals.avi",
        "BreakfastII/P12/stereo/P12_milk_ch0.avi",
        "BreakfastII/P12/stereo/P12_milk_ch1.avi",
        "flat/P47_webcam02_P47_milk.avi",
    )
    report = check_folder(tmp_path)
    assert list(problems(report)) == ["counts that differ from the known ones"]
    assert report.counts["persons"] == (3, 52)
    assert report.counts["activities"] == (2, 10)
    assert report.counts["test videos"] == (1, 355)


def test_classes_without_positives(tmp_path):
    made.write_multithumos(tmp_path)
    touch(tmp_path, "video_validation_0000001.mp4", "video_test_0000002.mp4")
    found = problems(check_folder(tmp_path))
    assert found["classes without positives"] == ("Sit",)


def test_a_complete_copy_is_in_order(tmp_path, monkeypatch):
    made.write_kinetics(tmp_path)
    touch(
        tmp_path / "train",
        "making_tea/-a_bC_dEfG1_000084_000094.mp4",
        "making_tea/-a_bC_dEfG1_000120_000130.mp4",
        "salsa/xyz_000000_000010.mp4",
        "making_tea/uvw_000005_000015.mp4",
    )
    monkeypatch.setitem(recognise(tmp_path)[0].known, "classes", 2)
    report = check_folder(tmp_path, seconds_of=lambda path: 10.4)
    assert problems(report) == {}
    assert report.is_ok
    long = check_folder(tmp_path, seconds_of=lambda path: 300.0 if "uvw" in path.name else 10.0)
    assert problems(long) == {
        "durations that disagree with the files": (
            "uvw_000005_000015: file 300.00 s, annotation 10.00 s",
        )
    }


def test_broken_files_and_late_actions(tmp_path):
    write_timed(tmp_path)
    report = check_folder(tmp_path, seconds_of=lambda path: 0.5, tolerance_seconds=0.4)
    assert problems(report) == {
        "actions after the end of the file": ("a: action at 1.00 s, file ends at 0.50 s",)
    }

    def broken(path):
        raise ValueError(f"{path.name}: is cut short")

    report = check_folder(tmp_path, seconds_of=broken)
    assert problems(report) == {"videos that cannot be read": ("a.mp4: is cut short",)}


def test_bad_annotations_are_a_finding(tmp_path):
    made.write_charades(tmp_path, train=[made.charades_row("A", "c900 1 2")])
    report = check_folder(tmp_path)
    assert not report.is_ok
    (line,) = problems(report)["cannot be read"]
    assert "name one of 4 classes; got 'c900'" in line


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    out = tmp_path_factory.mktemp("check") / "videos"
    make_synthetic_activities(out, 2, fps=4, side=64)
    (out / "annotations.csv").rename(out / "annotations.txt")
    return out


def run(*words):
    """Run the command group alone; return exit status."""
    import typer

    from timeception.cli import data

    app = typer.Typer()
    data.register(app)
    try:
        app(["data", *map(str, words)])
    except SystemExit as end:
        return end.code
    return 0


def test_command_on_real_files(synthetic, capsys):
    assert run("check", synthetic, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["is_ok"]
    assert found["kind"] == "csv"
    assert found["counts"]["train videos"] == {"found": 6, "known": None}
    assert run("check", synthetic) == 0
    assert "no problems found" in capsys.readouterr().out


def test_command_exits_1_when_something_is_wrong(synthetic, capsys):
    broken = synthetic / "guitar_then_umbrella/000.mp4"
    whole = broken.read_bytes()
    (synthetic / "new.mp4").write_bytes(whole)
    broken.write_bytes(whole[:500])
    try:
        assert run("check", synthetic) == 1
        text = capsys.readouterr().out
        assert "PROBLEM: extra videos, not in the annotations (1)\n  new" in text
        assert "PROBLEM: videos that cannot be read (1)" in text
        assert text.endswith("\nproblems found\n")
        assert run("check", synthetic, "--no-open", "--json") == 1
        assert len(json.loads(capsys.readouterr().out)["findings"]) == 1
    finally:
        broken.write_bytes(whole)
        (synthetic / "new.mp4").unlink()


def test_command_synthesizes(tmp_path, capsys):
    out = tmp_path / "made"
    assert run("synthesize", out, "--videos-per-class", 2, "--fps", 4, "--side", 64) == 0
    assert "12 synthetic videos of 6 activities (6 test, 6 train)" in capsys.readouterr().out
    assert (out / "videos.csv").exists()
