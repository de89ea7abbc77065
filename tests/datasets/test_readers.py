"""Folders, CSV files, timed actions and file names become the same records."""

import pytest

from timeception.datasets import (
    Interval,
    TimedVideo,
    find_videos,
    from_csv,
    from_folder,
    from_names,
    intervals_of_frames,
    read_timed,
    video_id_of,
    write_timed,
)


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def summary(dataset):
    return [(record.video_id, record.labels, record.split) for record in dataset.records]


def test_folder_a_class(tmp_path):
    touch(tmp_path, "wave/b.mp4", "wave/day1/a.MOV", "kick/a.mkv", "kick/.b.mp4", "kick/notes.txt")
    touch(tmp_path, ".cache/x/c.mp4", "README.txt")
    data = from_folder(tmp_path)
    assert data.classes == ("kick", "wave")
    assert not data.is_multilabel
    assert summary(data) == [
        ("kick/a", ("kick",), ""),
        ("wave/b", ("wave",), ""),
        ("wave/day1/a", ("wave",), ""),
    ]
    assert data.records[0].path == str(tmp_path / "kick/a.mkv")


def test_folder_a_split_and_class(tmp_path):
    touch(tmp_path, "train/wave/a.mp4", "train/kick/b.mp4", "val/wave/c.mp4")
    data = from_folder(tmp_path)
    assert data.classes == ("kick", "wave")
    assert summary(data) == [
        ("train/kick/b", ("kick",), "train"),
        ("train/wave/a", ("wave",), "train"),
        ("val/wave/c", ("wave",), "validation"),
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.mp4", "wave/b.mp4", "kick/c.mp4"], r"LABEL/video.*'a'"),
        (["train/a.mp4", "train/wave/b.mp4"], r"SPLIT/LABEL/video.*'train/a'"),
        (["wave/a.mp4"], "classes must be at least two"),
        (["wave/a.mp4", "kick/notes.txt"], r"hold videos; got \['kick'\]"),
        (["wave/a.mp4", "wave/a.avi", "kick/b.mp4"], r"one file per id.*a\.avi.*a\.mp4"),
        ([], "classes must be at least two"),
    ],
)
def test_bad_folders(tmp_path, files, message):
    touch(tmp_path, *files)
    with pytest.raises(ValueError, match=message):
        from_folder(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="be an existing folder"):
        find_videos(tmp_path / "nothing")


@pytest.mark.parametrize("path", ["", "/abs/a.mp4", "../a.mp4", "a/../../b.mp4"])
def test_ids_lie_below_the_folder(path):
    with pytest.raises(ValueError, match="be below the data set's folder"):
        video_id_of(path)


def test_csv_of_many_labels(tmp_path):
    file = tmp_path / "kitchen.csv"
    text = "note,path,labels,split\nx,day1/a.mp4,cut; pour,train\n\n,b,pour,val\n"
    file.write_text("\ufeff" + text, encoding="utf-8")
    data = from_csv(file)
    assert (data.name, data.classes, data.is_multilabel) == ("kitchen", ("cut", "pour"), True)
    assert summary(data) == [("day1/a", ("cut", "pour"), "train"), ("b", ("pour",), "validation")]
    assert data.records[0].path == "day1/a.mp4"
    assert data.targets().tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("rows", "separator", "labels"),
    [
        (["a,c1 c2", "b,c1"], None, [("c1", "c2"), ("c1",)]),
        (["a,pour water;cut", "b,pour water"], None, [("pour water", "cut"), ("pour water",)]),
        (["a,pour water", "b,cut"], ";", [("pour water",), ("cut",)]),
        (["a,pour water", "b,cut"], None, [("pour", "water"), ("cut",)]),
    ],
)
def test_separator_of_labels(tmp_path, rows, separator, labels):
    file = tmp_path / "v.csv"
    file.write_text("\n".join(["path,labels", *rows]))
    data = from_csv(file, separator)
    assert [record.labels for record in data.records] == labels
    assert data.is_multilabel == any(len(names) > 1 for names in labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na,x\n", r"first line must name the column\(s\) labels; got 'path,label'"),
        ("", r"name the column\(s\) path, labels"),
        ("path,labels\n", "at least one video"),
        ("path,labels\na,x\nb,\n", "v.csv, line 3: labels must name at least one class; got ''"),
        ("path,labels\na,x\nb, ; \n", "line 3: labels must name at least one class"),
        ("path,labels\na,x x\n", "line 2: labels must name each class once; got 'x x'"),
        ("path,labels\na.mp4,x\na.avi,y\n", "line 3: path must occur once; got 'a.avi'"),
        ("path,labels\n/a.mp4,x\n", "line 2: path must be below"),
        ("path,labels\na,x,y\n", "line 2: row must have 2 fields like the header; got 'a,x,y'"),
        ("path,labels\na\nb,\n", r"2 bad lines.\n  line 2: row must .*\n  line 3: labels must"),
        ('path,labels\na,"x\n', "not CSV"),
    ],
)
def test_bad_csv_rows(tmp_path, text, message):
    file = tmp_path / "v.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        from_csv(file)


def test_many_bad_rows_are_counted(tmp_path):
    file = tmp_path / "v.csv"
    file.write_text("path,labels\n" + "".join(f"v{i},\n" for i in range(25)))
    with pytest.raises(ValueError, match=r"25 bad lines[\s\S]*line 11: .*\n  \.\.\. 15 more$"):
        from_csv(file)


def test_single_label_data_with_two_labels(tmp_path):
    file = tmp_path / "v.csv"
    file.write_text("path,labels\na,x y\n")
    with pytest.raises(ValueError, match=r"labels of a must be exactly one.*'x', 'y'"):
        from_csv(file, is_multilabel=False)


def test_no_text_and_no_file(tmp_path):
    (tmp_path / "v.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        from_csv(tmp_path / "v.csv")
    with pytest.raises(ValueError, match="be an existing file"):
        from_csv(tmp_path / "w.csv")


def test_timed_actions(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text(
        "video,label,start,end,split\n"
        "a.mp4,pour,4,6.5,train\nb,,,,test\na,cut,0,5,train\na,pour,8,9,train\n"
    )
    data = read_timed(file)
    assert data.classes == ("cut", "pour")
    assert data.video_ids == ("a", "b")
    assert data.subset("train").videos[0].intervals == (
        Interval("cut", 0, 5),
        Interval("pour", 4, 6.5),
        Interval("pour", 8, 9),
    )
    videos = data.to_videos()
    assert summary(videos) == [("a", ("cut", "pour"), "train"), ("b", (), "test")]
    assert data.without_classes(["cut"]).to_videos().targets().tolist() == [[1], [0]]

    write_timed(tmp_path / "again.csv", data.videos)
    assert read_timed(tmp_path / "again.csv").videos == data.videos


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,pour,x,2,", "t.csv, line 3: start must be seconds of at least 0; got 'x'"),
        ("a,pour,-1,2,", "line 3: start must be seconds of at least 0; got '-1'"),
        ("a,pour,0,nan,", "line 3: end must be seconds of at least 0; got 'nan'"),
        ("a,pour,0,inf,", "line 3: end must be seconds of at least 0; got 'inf'"),
        ("a,pour,3,2,", r"line 3: end must be after the start \(3\), in seconds; got '2'"),
        ("a,pour,2,2,", r"line 3: end must be after the start \(2\)"),
        ("a,,1,2,", "line 3: label must be a class name; got ''"),
        (",pour,1,2,", "line 3: path must be below"),
        ("a,pour,1,2,test", "line 3: split of a must be '' in every row; got 'test'"),
    ],
)
def test_bad_timed_rows(tmp_path, row, message):
    file = tmp_path / "t.csv"
    file.write_text(f"video,label,start,end,split\na,cut,0,1,\n{row}\n")
    with pytest.raises(ValueError, match=message):
        read_timed(file)


def test_unknown_class_names_the_nearest(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("video,label,start,end\na,puor,0,1\n")
    with pytest.raises(ValueError, match=r"labels of a must be one of 'cut', 'pour'.*mean 'pour'"):
        read_timed(file, classes=("cut", "pour"))


def test_runs_of_frame_labels():
    labels = ["SIL", "SIL", "pour", "stir", "stir", "pour"]
    assert intervals_of_frames(labels, fps=2, ignored=["SIL"]) == (
        Interval("pour", 1.0, 1.5),
        Interval("stir", 1.5, 2.5),
        Interval("pour", 2.5, 3.0),
    )
    assert intervals_of_frames([], fps=2) == ()
    with pytest.raises(ValueError, match="fps must be positive"):
        intervals_of_frames(labels, fps=0)


def test_names():
    data = from_names(["take_wave_1", "take_kick_2"], r"take_(?P<label>[a-z]+)_(?P<split>\d)")
    assert data.classes == ("kick", "wave")
    assert summary(data) == [("take_wave_1", ("wave",), "1"), ("take_kick_2", ("kick",), "2")]


@pytest.mark.parametrize(
    ("ids", "pattern", "message"),
    [
        (["a_1"], "(?P<label>[a-z]", "pattern must be a regular expression"),
        (["a_1"], "([a-z])", r"have a group \(\?P<label>...\)"),
        (["a_1", "22"], "(?P<label>[a-z])", r"every video a label.*'22'"),
        (["a_1"], "(?P<label>[b-z]*)", "every video a label"),
        ([], "(?P<label>[a-z])", "at least one video"),
    ],
)
def test_bad_patterns(ids, pattern, message):
    with pytest.raises(ValueError, match=message):
        from_names(ids, pattern)


def test_a_video_without_actions_has_no_labels():
    assert TimedVideo("a", ()).labels == ()
