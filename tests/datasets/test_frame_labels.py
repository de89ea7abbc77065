"""Labels of frames become timed actions."""

import numpy as np
import pytest

from timeception.datasets.frame_labels import read_frame_labels
from timeception.datasets.records import Interval


def test_text_and_arrays(tmp_path):
    (tmp_path / "P03").mkdir()
    (tmp_path / "P03/tea.txt").write_text("SIL\npour\npour\n")
    data = read_frame_labels(tmp_path, fps=2, ignored=["SIL"])
    assert data.videos[0].video_id == "P03/tea"
    assert data.videos[0].intervals == (Interval("pour", 0.5, 1.5),)
    assert data.videos[0].duration_seconds == 1.5
    assert data.classes == ("pour",)


def test_numbers_and_their_names(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    np.save(folder / "a.npy", np.array([10, 10, 9]))
    assert read_frame_labels(folder, fps=1).classes == ("9", "10")
    names = tmp_path / "names.txt"
    names.write_text("9 stir soup\n10 background\n")
    data = read_frame_labels(folder, fps=1, names=names, ignored=["background"])
    assert data.classes == ("stir soup",)
    assert data.videos[0].intervals == (Interval("stir soup", 2.0, 3.0),)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({}, {}, "hold .txt, .npy, .npz files; got 'none'"),
        ({"a": [1], "b": [1]}, {}, "key must name the labels; got None. The file holds a, b"),
        ({"a": [1], "b": [1]}, {"key": "c"}, "key must be one of 'a', 'b'; got 'c'"),
        ({"a": [1.0]}, {}, "whole numbers, one a frame; got 'float64 of shape"),
        ({"a": [[1]]}, {}, "whole numbers, one a frame; got 'int64 of shape"),
        ({"a": [1]}, {"fps": 0}, "fps must be positive"),
    ],
)
def test_bad_labels(tmp_path, arrays, options, message):
    if arrays:
        np.savez(tmp_path / "v.npz", **{name: np.array(value) for name, value in arrays.items()})
    with pytest.raises(ValueError, match=message):
        read_frame_labels(tmp_path, **{"fps": 1, **options})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n", "line 1: line must be 'index name'; got '1'"),
        ("a b\n", "line 1: line must be 'index name'; got 'a b'"),
        ("1 a\n1 b\n", "line 2: line must have an index and a name of its own"),
        ("1 a\n2 a\n", "line 2: line must have an index and a name of its own"),
        ("2 a\n", r"v.npy: labels must have a name; got \[1\]"),
    ],
)
def test_bad_names(tmp_path, text, message):
    (tmp_path / "l").mkdir()
    np.save(tmp_path / "l/v.npy", np.array([1]))
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_frame_labels(tmp_path / "l", 1, names=tmp_path / "names.txt")
