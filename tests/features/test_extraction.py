import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.videos import IDS, files, make_video
from timeception.backbones import create_backbone
from timeception.features import BankError, FeatureBank
from timeception.features.bank.store import MismatchError
from timeception.features.extraction.extract import extract, extract_features, restore_backbone
from timeception.video import VideoError, VideoReader


def plain(path, backbone, stride):
    """Features of a video by the plainest loop."""
    with VideoReader(path) as video:
        frames, size = video.read(range(len(video))), backbone.frames_per_segment
    starts = list(range(0, max(1, len(frames) - size + 1), stride))
    steps = []
    for start in starts:
        segment = [frames[min(start + i, len(frames) - 1)] for i in range(size)]
        batch = torch.from_numpy(backbone.transform(np.stack(segment)))[None]
        steps.append(backbone(batch).mean(dim=2)[0])
    return torch.stack(steps).numpy(), starts


@pytest.mark.parametrize(("name", "stride"), [("tiny_images", 3), ("tiny_videos", 8)])
@pytest.mark.parametrize("n_workers", [1, 3])
def test_a_bank_holds_the_features_of_every_segment(folder, tmp_path, name, stride, n_workers):
    backbone = create_backbone(name)
    report = extract(
        [folder], tmp_path, backbone, stride=stride, dtype="float32", n_workers=n_workers
    )
    assert (report.done, report.skipped, report.failed) == (IDS, [], {})
    bank = FeatureBank(tmp_path)
    assert bank.video_ids == tuple(IDS)
    for path in folder.rglob("*.*"):
        video_id = path.relative_to(folder).with_suffix("").as_posix()
        if video_id in IDS:
            features, starts = plain(path, backbone, stride)
            entry = bank[video_id]
            np.testing.assert_allclose(entry.features, features, atol=1e-5)
            np.testing.assert_array_equal(entry.start_frames, starts)
            assert entry.fps == pytest.approx(12, rel=1e-3)  # Matroska rounds times
    assert report.n_frames == sum(bank.n_steps(i) for i in IDS) * backbone.frames_per_segment


@pytest.mark.parametrize(("stride", "n_steps"), [(1, 33), (5, 7), (8, 5), (30, 2)])
def test_segments_may_overlap_touch_or_leave_gaps(folder, videos, stride, n_steps):
    path = folder / "tea" / "P03.mp4"
    found = extract_features(path, videos, stride=stride)
    features, starts = plain(path, videos, stride)
    assert len(found.features) == n_steps
    np.testing.assert_allclose(found.features, features, atol=1e-5)
    np.testing.assert_array_equal(found.start_frames, starts)
    assert (found.fps, found.n_frames) == (pytest.approx(12), 40)


def test_strides_by_default(folder, tmp_path, images, videos):
    extract([folder / "short.mp4"], tmp_path / "images", images)
    extract([folder / "short.mp4"], tmp_path / "videos", videos)
    assert FeatureBank(tmp_path / "images").settings["stride"] == 8
    assert FeatureBank(tmp_path / "videos").settings["stride"] == 8


def test_provenance_names_settings_and_source(folder, tmp_path, images):
    extract([folder], tmp_path, images, stride=4)
    bank = FeatureBank(tmp_path)
    provenance = bank["tea/P04.v2"].provenance
    source = folder / "tea" / "P04.v2.mkv"
    assert provenance["backbone"] == images.describe()
    assert provenance["backbone"]["weights"]["sha256"] == images.weights_hash
    assert provenance["stride"] == 4
    assert provenance["frames_per_segment"] == 1
    assert provenance["n_frames"] == 17
    assert provenance["decoder"].startswith("PyAV ")
    assert provenance["source"]["name"] == "P04.v2.mkv"
    assert provenance["source"]["size_bytes"] == source.stat().st_size
    assert len(provenance["source"]["sha256"]) == 64
    assert "timeception_version" in provenance
    assert str(folder) not in json.dumps(provenance)
    assert bank.settings["backbone"] == images.describe()


def test_maps_are_averaged_down(folder, images):
    whole = extract_features(folder / "milk.avi", images).features
    pooled = extract_features(folder / "milk.avi", images, map_size=(1, 1)).features
    np.testing.assert_allclose(pooled[..., 0, 0], whole.mean((2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["tiny_images", "tiny_videos"])
def test_neighbours_workers_and_order_change_no_bit(folder, tmp_path, name):
    backbone = create_backbone(name)
    extract([folder], tmp_path / "all", backbone, stride=2, n_workers=4, batch_size=5)
    for video_id in IDS:
        path = next(folder.rglob(f"{Path(video_id).name}.*"))
        extract([path], tmp_path / "alone", backbone, stride=2, n_workers=1, batch_size=5)
        alone = FeatureBank(tmp_path / "alone")[Path(video_id).name].features
        np.testing.assert_array_equal(FeatureBank(tmp_path / "all")[video_id].features, alone)


@settings(max_examples=15, deadline=None)
@given(
    order=st.permutations(IDS),
    n_workers=st.integers(1, 4),
    n_first=st.integers(0, 4),
)
def test_runs_in_parts_equal_one_run(folder, tmp_path_factory, order, n_workers, n_first):
    root, backbone = tmp_path_factory.mktemp("bank"), create_backbone("tiny_images")
    parts = tmp_path_factory.mktemp("part")
    for video_id in order[:n_first]:
        source = next(folder.rglob(f"{Path(video_id).name}.*"))
        target = parts / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    if n_first:
        extract([parts], root / "parts", backbone, stride=2, n_workers=n_workers)
    report = extract([folder], root / "parts", backbone, stride=2, n_workers=n_workers)
    assert report.skipped == sorted(order[:n_first])
    extract([folder], root / "whole", backbone, stride=2)
    assert files(root / "parts") == files(root / "whole")


def test_a_second_run_skips_and_touches_nothing(folder, tmp_path, images):
    extract([folder], tmp_path, images)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    report = extract([folder], tmp_path, images)
    assert (report.done, report.skipped, report.n_frames) == ([], IDS, 0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_other_settings_are_refused_and_named(folder, tmp_path, images):
    extract([folder], tmp_path, images)
    with pytest.raises(MismatchError, match=r"stride: 8 in the bank, 4 asked for"):
        extract([folder], tmp_path, images, stride=4)
    with pytest.raises(MismatchError, match=r"map_size: null in the bank, \[1, 2\] asked for"):
        extract([folder], tmp_path, images, map_size=(1, 2))
    other = create_backbone("tiny_images", seed=1)
    with pytest.raises(MismatchError, match=r"backbone.weights.sha256: .* in the bank, .* asked"):
        extract([folder], tmp_path, other)
    before = files(tmp_path)
    report = extract([folder], tmp_path, other, is_overwritten=True)
    assert report.done == IDS
    after = files(tmp_path)
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


def test_an_interrupted_overwrite_is_reported_and_resumed(folder, tmp_path, images):
    extract([folder], tmp_path / "bank", images)
    extract([folder], tmp_path / "whole", images, stride=4)

    def interrupt(report):
        if report.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(
            [folder],
            tmp_path / "bank",
            images,
            stride=4,
            n_workers=1,
            is_overwritten=True,
            on_progress=interrupt,
        )
    bank = FeatureBank(tmp_path / "bank")
    shutil.copy(FeatureBank(tmp_path / "whole").path("milk"), bank.path("milk"))
    other = FeatureBank(tmp_path / "other", mode="a", settings={"kind": "other"})
    other.write("short", np.ones((1, 6, 4, 4)), [0], 12)
    shutil.copy(other.path("short"), bank.path("short"))
    with pytest.raises(BankError, match="was made with other settings than the bank's"):
        bank.draw("short", 3)
    report = extract([folder], tmp_path / "bank", images, stride=4)
    assert "short" in report.done
    assert "milk" in report.skipped
    assert files(tmp_path / "bank") == files(tmp_path / "whole")


def test_other_content_is_refused_unless_overwritten(folder, tmp_path, images):
    copy = shutil.copytree(folder, tmp_path / "videos")
    extract([copy], tmp_path / "bank", images)
    make_video(copy / "short.mp4", 5, seed=9)
    with pytest.raises(MismatchError, match=r"'short' from .*short.mp4.*\n.*source.size_bytes"):
        extract([copy], tmp_path / "bank", images)
    report = extract([copy], tmp_path / "bank", images, is_overwritten=True)
    assert report.done == ["short"]
    assert len(report.skipped) == 3


def test_broken_videos_are_recorded_and_tried_again(folder, tmp_path, images):
    copy = shutil.copytree(folder, tmp_path / "videos")
    (copy / "text.mp4").write_text("this is no video\n" * 9)
    (copy / "empty.mov").write_bytes(b"")
    content = (copy / "tea" / "P03.mp4").read_bytes()
    (copy / "cut.mp4").write_bytes(content[: len(content) // 2])
    make_video(copy / "tiny.mp4", 9, width=16, height=16)
    images.transform = images.transform.replace(resize=None, crop=20)
    report = extract([copy], tmp_path / "bank", images)
    bank = FeatureBank(tmp_path / "bank")
    assert report.done == IDS == list(bank.video_ids)
    assert list(report.failed) == ["cut", "empty", "text", "tiny"]
    assert "sides of at least the crop (20)" in report.failed["tiny"]
    for video_id, error in report.failed.items():
        path = str(next(copy.glob(f"{video_id}.*")))
        assert bank.failures[video_id] == {"path": path, "error": error}
        assert path in error
        assert "\n" not in error
    assert not list((tmp_path / "bank").rglob("*.tmp"))
    shutil.copy(copy / "short.mp4", copy / "text.mp4")
    again = extract([copy], tmp_path / "bank", images)
    assert again.done == ["text"]
    assert list(again.failed) == list(bank.failures) == ["cut", "empty", "tiny"]


def test_a_broken_video_by_itself_raises(tmp_path, images):
    (tmp_path / "text.mp4").write_text("this is no video")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        extract_features(tmp_path / "text.mp4", images)


def test_features_too_large_for_the_type_fail_that_video_only(folder, tmp_path, images):
    with torch.no_grad():
        images.network.conv.weight *= 1e6
    report = extract([folder], tmp_path, images)
    assert sorted(report.failed) == IDS
    assert "must fit float16" in report.failed["short"]
    assert "--dtype float32 or bfloat16" in report.failed["short"]
    images = create_backbone("tiny_images")
    assert extract([folder], tmp_path, images, is_overwritten=True).done == IDS


def test_errors_of_the_program_stop_the_run_and_leave_no_halves(folder, tmp_path, images):
    calls = []

    def break_down(module, inputs, output):
        calls.append(output.device.type)
        if calls.count("cpu") > 4:
            raise RuntimeError("out of memory")

    images.network.conv.register_forward_hook(break_down)
    with pytest.raises(RuntimeError, match="out of memory"):
        extract([folder], tmp_path, images, stride=1)
    assert len(FeatureBank(tmp_path)) < 4
    assert not FeatureBank(tmp_path).failures
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_interrupted_run_leaves_no_halves(folder, tmp_path, images):
    def interrupt(report):
        if report.n_frames:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract([folder], tmp_path, images, stride=1, on_progress=interrupt)
    assert not list(tmp_path.rglob("*.tmp"))
    extract([folder], tmp_path, images, stride=1)
    assert FeatureBank(tmp_path).video_ids == tuple(IDS)


def test_progress_counts_up_to_everything(folder, tmp_path, images):
    (tmp_path / "videos").mkdir()
    copy = shutil.copytree(folder, tmp_path / "videos" / "good")
    (copy / "text.mp4").write_text("this is no video")
    seen = []

    def see(report):
        seen.append((report.n_bytes_done, report.n_frames, len(report.done)))
        assert report.n_bytes == sum(p.stat().st_size for p in copy.rglob("*.[ma][pkv][4vi]"))
        assert report.n_videos == 5

    report = extract([tmp_path / "videos"], tmp_path / "bank", images, on_progress=see)
    assert seen == sorted(seen)
    assert seen[-1] == (pytest.approx(report.n_bytes), report.n_frames, 4)
    assert report.to_dict()["frames_per_second"] == pytest.approx(report.n_frames / report.seconds)


def test_sources_are_folders_files_and_lists(folder, tmp_path, images):
    (tmp_path / "list.txt").write_text(f"{folder / 'milk.avi'}\nin/short.mp4\n\nin/absent.mp4\n")
    (tmp_path / "in").mkdir()
    shutil.copy(folder / "short.mp4", tmp_path / "in")
    shutil.copy(folder / "short.mp4", tmp_path / "odd.name")
    report = extract(
        [tmp_path / "list.txt", folder / "tea", tmp_path / "odd.name"], tmp_path / "bank", images
    )
    assert report.done == ["P03", "P04.v2", "in/short", "milk", "odd.name"]
    assert "absent.mp4: does not exist" in report.failed["in/absent"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: [root / "absent"], "no such file or folder: .*absent"),
        (lambda root: [root], "no video files in "),
    ],
)
def test_wrong_sources_are_reported(tmp_path, images, make, message):
    with pytest.raises(ValueError, match=message):
        extract(make(tmp_path), tmp_path / "bank", images)
    assert not (tmp_path / "bank").exists()


def test_two_files_of_one_id_are_named(folder, tmp_path, images):
    shutil.copy(folder / "milk.avi", tmp_path / "short.avi")
    with pytest.raises(
        ValueError, match=r"id 'short' must belong to one file.*short.mp4.*short.avi"
    ):
        extract([folder, tmp_path / "short.avi"], tmp_path / "bank", images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 0}, "stride must be a whole number of at least 1; got 0"),
        ({"map_size": (0, 2)}, "map_size must be a whole number of at least 1; got 0"),
        ({"map_size": (2, 9)}, r"map_size must be at most 4x4, the size of the maps; got \(2, 9\)"),
        ({"map_size": (2,)}, r"map_size must be \(height, width\)"),
        ({"engine": "dask"}, "engine must be one of 'local', 'ray'; got 'dask'"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"precision": "fp16"}, "precision must be one of 'fp32', 'bf16'; got 'fp16'"),
        ({"batch_size": -1}, "batch_size must be a whole number of at least 1"),
        ({"n_workers": -1}, "n_workers must be a whole number of at least 1"),
    ],
)
def test_wrong_arguments_are_reported(folder, tmp_path, images, arguments, message):
    with pytest.raises(ValueError, match=message):
        extract([folder], tmp_path / "bank", images, **arguments)


def test_threads_of_torch_are_as_before(folder, images):
    before = torch.get_num_threads()
    extract_features(folder / "short.mp4", images)
    assert torch.get_num_threads() == before


def test_a_backbone_comes_back_from_the_settings(folder, tmp_path):
    backbone = create_backbone("tiny_images", seed=3)
    extract([folder / "short.mp4"], tmp_path, backbone)
    again = restore_backbone(FeatureBank(tmp_path).settings)
    assert again.describe() == backbone.describe()
    settings = json.loads(json.dumps(FeatureBank(tmp_path).settings))
    settings["backbone"]["weights"]["sha256"] = "0" * 64
    with pytest.raises(
        ValueError, match=r"weights of 'tiny_images' must be the weights of the bank"
    ):
        restore_backbone(settings)
    with pytest.raises(ValueError, match="their backbone is unknown"):
        restore_backbone({"kind": "import"})
