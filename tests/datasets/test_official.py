"""Charades, Breakfast, MultiTHUMOS and Kinetics-400 from files in their official formats."""

import pytest

from tests.datasets import official_files as made
from timeception.datasets.breakfast import read_breakfast, read_breakfast_activities
from timeception.datasets.charades import read_charades
from timeception.datasets.kinetics import read_kinetics
from timeception.datasets.multithumos import read_actions_json, read_multithumos
from timeception.datasets.records import Interval
from timeception.datasets.registry import read_videos


def kinetics_files(folder):
    return [folder / "train.csv", folder / "validate.csv"]


def test_charades(tmp_path):
    data = read_charades(made.write_charades(tmp_path))
    assert data.classes == tuple(f"c{n:03d} Doing thing {n}" for n in range(4))
    assert [(v.video_id, v.split, v.duration_seconds) for v in data.videos] == [
        ("AAAA1", "train", 30.0),
        ("AAAA2", "train", 30.0),
        ("BBBB1", "test", 30.0),
    ]
    assert data.videos[0].intervals == (
        Interval("c000 Doing thing 0", 0.5, 4.0),
        Interval("c003 Doing thing 3", 3.0, 30.5),
    )
    assert data.videos[1].intervals == ()
    videos = data.to_videos()
    # the label of an action that ends before it starts counts, as in the official evaluation
    assert videos.subset("test").targets().tolist() == [[1, 1, 1, 0]]
    assert videos.labelled().video_ids == ("AAAA1", "BBBB1")


def test_breakfast(tmp_path):
    folder = made.write_breakfast(tmp_path)
    data = read_breakfast(folder)
    assert data.classes == ("SIL", "take_cup", "pour_milk")
    assert [(v.video_id, v.split, v.duration_seconds) for v in data.videos] == [
        ("P03_cam01_P03_cereals", "train", 4.0),
        ("P12_stereo01_P12_milk", "train", 2.0),
        ("P47_webcam02_P47_milk", "test", 2.0),
    ]
    assert data.videos[0].intervals[1] == Interval("take_cup", 1.0, 3.0)
    assert len(data.videos[2].intervals) == 30
    activities = read_breakfast_activities(folder)
    assert len(activities.classes) == 10
    assert not activities.is_multilabel
    assert [(r.labels[0], r.split) for r in activities.records] == [
        ("cereals", "train"),
        ("milk", "train"),
        ("milk", "test"),
    ]


def test_multithumos_in_both_forms(tmp_path):
    text = read_multithumos(made.write_multithumos(tmp_path / "text"))
    folder = made.write_json(tmp_path / "json", made.multithumos_entries())
    (folder / "class_list.txt").write_bytes((tmp_path / "text/class_list.txt").read_bytes())
    other = read_multithumos(folder)
    for data in (text, other):
        assert data.classes == made.MULTITHUMOS_CLASSES
        assert {v.video_id: (v.split, set(v.intervals)) for v in data.videos} == {
            "video_validation_0000001": (
                "train",
                {Interval("BaseballPitch", 72.8, 76.4), Interval("Run", 1.5, 5.4)},
            ),
            "video_test_0000002": ("test", {Interval("BaseballPitch", 4.0, 5.9)}),
        }
    assert [v.duration_seconds for v in other.videos] == [80.5, 9.0]
    (folder / "class_list.txt").unlink()
    assert read_multithumos(folder).classes == ("1", "2")


def test_charades_json_counts_from_zero(tmp_path):
    entries = {"AAAA1": {"subset": "training", "duration": 31.0, "actions": [[0, 0.0, 31.0]]}}
    folder = made.write_json(tmp_path, entries, "charades.json")
    data = read_actions_json(folder / "charades.json", ["hold", "put"], first_class=0)
    assert data.name == "charades"
    assert data.videos[0].labels == ("hold",)


def test_kinetics(tmp_path):
    data = read_kinetics(kinetics_files(made.write_kinetics(tmp_path)))
    assert data.classes == ("making tea", "salsa, dancing")
    assert [(r.video_id, r.labels[0], r.split) for r in data.records] == [
        ("-a_bC_dEfG1_000084_000094", "making tea", "train"),
        ("-a_bC_dEfG1_000120_000130", "making tea", "train"),
        ("xyz_000000_000010", "salsa, dancing", "train"),
        ("uvw_000005_000015", "making tea", "validation"),
    ]


WRITERS = {
    "charades": made.write_charades,
    "breakfast_activities": made.write_breakfast,
    "breakfast_actions": made.write_breakfast,
    "multithumos": made.write_multithumos,
    "kinetics": made.write_kinetics,
}
ON_DISK = {
    "charades": "Charades_v1_480/AAAA1",
    "breakfast_activities": "BreakfastII/P12/stereo/P12_milk_ch1",
    "breakfast_actions": "P12/stereo/P12_milk_ch1",
    "multithumos": "validation/video_validation_0000001",
    "kinetics": "train/making tea/-a_bC_dEfG1_000084_000094",
}


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_records_take_the_ids_that_are_there(tmp_path, name):
    folder = WRITERS[name](tmp_path)
    plain = read_videos(name, folder)
    data = read_videos(name, folder, [ON_DISK[name], "elsewhere/unknown"])
    assert len(data) == len(plain)
    assert sum(a != b for a, b in zip(plain.video_ids, data.video_ids, strict=True)) == 1
    assert ON_DISK[name] in data.video_ids
    assert data.targets().tolist() == plain.targets().tolist()
    assert data.is_multilabel == (name not in ("breakfast_activities", "kinetics"))


def test_one_id_a_video(tmp_path):
    folder = made.write_charades(tmp_path)
    with pytest.raises(ValueError, match=r"have one id a video.*AAAA1: a/AAAA1, b/AAAA1"):
        read_videos("charades", folder, ["a/AAAA1", "b/AAAA1"])
    with pytest.raises(ValueError, match=r"kind .* must be one of .*'charades'.*mean 'charades'"):
        read_videos("charade", folder)


def charades_of(**files):
    def act(folder):
        read_charades(made.write_charades(folder, **files))

    return act


ROW = made.charades_row


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            charades_of(test=[ROW("AAAA1", "c000 1 2")]),
            r"Charades_v1_test.csv, line 3: id must occur once; got 'AAAA1'. "
            "It is also listed in Charades_v1_train.csv",
        ),
        (
            charades_of(train=[ROW("A", ""), ROW("A", "")]),
            "line 5: id must occur once; got 'A'. It is also listed in Charades_v1_train.csv",
        ),
        (charades_of(train=[ROW("", "")]), "line 3: id must name a video"),
        (charades_of(train=[ROW("A", "c900 1 2")]), "name one of 4 classes; got 'c900'"),
        (charades_of(train=[ROW("A", "c001 1")]), "actions must be 'c000 START END;...'"),
        (charades_of(train=[ROW("A", "c001 1 x")]), "end must be seconds of at least 0; got 'x'"),
        (charades_of(train=[ROW("A", "", "long")]), "length must be seconds.*got 'long'"),
        (charades_of(train=["A,B"]), "row must have 11 fields"),
    ],
)
def test_bad_charades(tmp_path, act, message):
    with pytest.raises(ValueError, match=message):
        act(tmp_path)


def test_charades_files_that_are_wrong_or_missing(tmp_path):
    folder = made.write_charades(tmp_path)
    (folder / "Charades_v1_classes.txt").write_text("c000 Hold\nc002 Put\n")
    with pytest.raises(ValueError, match=r"classes.txt, line 2: class must be 'c001 NAME'"):
        read_charades(folder)
    (folder / "Charades_v1_classes.txt").write_text("c000\n")
    with pytest.raises(ValueError, match="line 1: class must be 'c000 NAME'"):
        read_charades(folder)
    made.write_charades(tmp_path)
    (folder / "Charades_v1_test.csv").write_text("video,label\n")
    with pytest.raises(ValueError, match=r"name the column\(s\) id, actions; got 'video,label'"):
        read_charades(folder)
    (folder / "Charades_v1_test.csv").unlink()
    with pytest.raises(ValueError, match=r"be an existing file; got .*Charades_v1_test.csv"):
        read_charades(folder)


@pytest.mark.parametrize(
    ("videos", "mapping", "message"),
    [
        (
            {"P03_cam01_P03_milk": ["SLI"]},
            "0 SIL\n",
            "milk.txt, line 1: label must be one of 'SIL'",
        ),
        ({"P03_cam01_P03_milk": []}, "0 SIL\n", "hold a label for every frame"),
        ({"P03_cam01_P04_milk": ["SIL"]}, "0 SIL\n", "named like P03_cam01_P03_cereals"),
        ({"P55_cam01_P55_milk": ["SIL"]}, "0 SIL\n", "one of P03 to P54; got '55'"),
        ({"P03_cam01_P03_mlik": ["SIL"]}, "0 SIL\n", "activity of .* Did you mean 'milk'"),
        ({"P03_cam01_P03_milk": ["SIL"]}, "1 SIL\n", "mapping.txt, line 1: class must be '0 NAME'"),
        ({"P03_cam01_P03_milk": ["SIL"]}, "0\n", "mapping.txt, line 1: class must be '0 NAME'"),
        ({"P03_cam01_P03_milk": ["SIL"]}, "", "mapping.txt must hold 'index name' lines"),
        ({"notes": ["SIL"], "P03": ["SIL"]}, "0 SIL\n", "2 bad lines"),
    ],
)
def test_bad_breakfast(tmp_path, videos, mapping, message):
    folder = made.write_breakfast(tmp_path, videos, mapping)
    with pytest.raises(ValueError, match=message):
        read_breakfast(folder)


def test_breakfast_without_label_files(tmp_path):
    (tmp_path / "mapping.txt").write_text("0 SIL\n")
    for read in (read_breakfast, read_breakfast_activities):
        with pytest.raises(ValueError, match="groundTruth must hold label files"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"Run": "video_test_1 1.0\n"}, "Run.txt, line 1: line must be 'video start end'"),
        (
            {"Run": "video_1 1.0 2.0\n"},
            "named video_validation_\\* or video_test_\\*; got 'video_1'",
        ),
        ({"Run": "video_test_1 a 2.0\n"}, "start must be seconds of at least 0; got 'a'"),
        ({"Rnu": ""}, r"unexpected: Rnu"),
    ],
)
def test_bad_multithumos_text(tmp_path, files, message):
    made.write_multithumos(tmp_path)
    made.write_multithumos(tmp_path, files)
    with pytest.raises(ValueError, match=message):
        read_multithumos(tmp_path)


def test_multithumos_needs_its_class_list(tmp_path):
    made.write_multithumos(tmp_path)
    (tmp_path / "class_list.txt").write_text("0 BaseballPitch\n")
    with pytest.raises(ValueError, match=r"class_list.txt, line 1: class must be '1 NAME'"):
        read_multithumos(tmp_path)
    (tmp_path / "class_list.txt").unlink()
    with pytest.raises(ValueError, match="exist; it has the order of classes"):
        read_multithumos(tmp_path)


def entry(**changes):
    return {"v": {"subset": "testing", "duration": 9, "actions": [[1, 0, 1]]} | changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "map video ids to annotations; got 'list'"),
        ({"v": 1}, "v: entry must have subset, duration and actions"),
        (entry(subset="tset"), "v: subset must be one of .*; got 'tset'. Did you mean 'test'"),
        (entry(duration="x"), "v: duration must be seconds"),
        (entry(actions=[[0, 0, 1]]), "v: class must lie in 1 to 3; got 0"),
        (entry(actions=[[4, 0, 1]]), "v: class must lie in 1 to 3; got 4"),
        (entry(actions=[["Run", 0, 1]]), "v: class must lie in 1 to 3; got 'Run'"),
        (entry(actions=[[1, 0]]), r"v: action must be \[class, start, end\]"),
        (entry(actions=[[1, -1, 1]]), "v: start must be seconds of at least 0; got '-1'"),
    ],
)
def test_bad_multithumos_json(tmp_path, content, message):
    made.write_json(tmp_path, content)
    with pytest.raises(ValueError, match=message):
        read_actions_json(tmp_path / "multithumos.json", made.MULTITHUMOS_CLASSES, first_class=1)


def test_no_json(tmp_path):
    (tmp_path / "multithumos.json").write_text('{"v": 1,\n')
    with pytest.raises(ValueError, match=r"multithumos.json, line 2: not JSON"):
        read_multithumos(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([",abc,1,11,train"], "line 2: label must be a class name; got ''"),
        (["tea,,1,11,train"], "line 2: youtube_id must name a video"),
        (["tea,abc,1.5,11,train"], "line 2: times must be whole seconds.*got '1.5-11'"),
        (["tea,abc,11,1,train"], "line 2: times must be whole seconds, start before end"),
        (["tea,abc,x,1,train"], "line 2: time_start must be seconds"),
        (
            ["tea,uvw,5,15,train"],
            "validate.csv, line 2: clip must occur once.*also listed in train.csv",
        ),
    ],
)
def test_bad_kinetics(tmp_path, rows, message):
    folder = made.write_kinetics(tmp_path, train=rows)
    with pytest.raises(ValueError, match=message):
        read_kinetics(kinetics_files(folder))
