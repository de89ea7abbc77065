"""Groups of videos: from patterns and columns, suggested, and never divided."""

from __future__ import annotations

from pathlib import Path

import pytest

from timeception.datasets.groups import find_groups, group_name, split_by_groups, suggest_group
from timeception.datasets.records import VideoDataset, VideoRecord


def test_a_pattern_and_a_column_give_groups(tmp_path: Path) -> None:
    ids = ["tea/P03_cam1", "tea/P04_cam1"]
    assert find_groups(r"(?P<subject>P\d+)_", ids, tmp_path) == {
        "tea/P03_cam1": "P03",
        "tea/P04_cam1": "P04",
    }
    file = tmp_path / "videos.csv"
    file.write_text("path,labels,person\ntea/P03_cam1.mp4,tea,ann\ntea/P04_cam1.mp4,tea,bob\n")
    assert find_groups("person", ids, file) == {
        "tea/P03_cam1": "ann",
        "tea/P04_cam1": "bob",
    }
    timed = tmp_path / "actions.csv"
    timed.write_text("video,label,start,end,person\nx,a,0,1,ann\nx,b,1,2,ann\n")
    assert find_groups("person", ["x"], timed) == {"x": "ann"}


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (r"(?P<subject>Q\d+)_", "give each video a group; got .'P03_tea'"),
        (r"(P\d+)_", "have one named group"),
        (r"(?P<a>P(\d+", "be a valid regular expression"),
    ],
)
def test_wrong_patterns_raise(group: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        find_groups(group, ["P03_tea"], tmp_path)


def test_the_name_of_a_group() -> None:
    assert group_name(r"(?P<subject>P\d+)_") == "subject"
    assert group_name("person") == "person"


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (["P03_tea", "P03_milk", "P04_tea", "P04_milk"], "p"),
        (["tea/subject1-a", "tea/subject1-b", "milk/subject2-a", "milk/subject2-b"], "subject"),
        (["testvideo_up_1", "testvideo_up_2", "testvideo_down_1"], None),
        (["S1_a", "S2_a", "S3_a"], None),  # one video each: nothing to divide
        (["P03_tea", "tea", "P04_tea", "P03_b"], None),  # not in every name
    ],
)
def test_groups_are_suggested_where_names_look_like_them(ids: list[str], kind: str | None) -> None:
    found = suggest_group(ids)
    assert (found and group_name(found)) == kind
    if found:
        assert len(set(find_groups(found, ids, Path())).difference(ids)) == 0


def test_a_share_of_groups_divides_none() -> None:
    records = tuple(
        VideoRecord(f"p{person}/{label}{take}", (label,))
        for person in range(8)
        for label in ("cut", "pour")
        for take in range(2)
    )
    dataset = VideoDataset("kitchen", ("cut", "pour"), records, is_multilabel=False)
    groups = {record.video_id: record.video_id.split("/")[0] for record in records}
    splits = [split_by_groups(dataset, groups, 0.25, seed, "test") for seed in (0, 1)]
    for split in splits:
        inside = {groups[name] for name, where in split.items() if where == "test"}
        outside = {groups[name] for name, where in split.items() if where == "train"}
        assert len(inside) == 2 and not inside & outside
    assert splits[0] != splits[1]
    assert splits[0] == split_by_groups(dataset, groups, 0.25, 0, "test")
    with pytest.raises(ValueError, match="at least two groups"):
        split_by_groups(dataset, dict.fromkeys(groups, "one"), 0.25, 0, "test")
