import csv
import json
import pickle
import shutil

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from scipy import io

from timeception.datasets import read_timed
from timeception.features import FeatureBank
from timeception.features.bank.arrays import likely_axes, load, parse_axes, to_steps
from timeception.features.bank.importing import FrameLabels, import_features
from timeception.features.bank.store import MismatchError


def features(n_steps=9, channels=4, height=2, width=3, seed=0):
    values = np.random.default_rng(seed).normal(size=(n_steps, channels, height, width))
    return values.astype(np.float16)


def save_hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def save_pickle_2(path, array):
    path.write_bytes(pickle.dumps(array, protocol=2))


SAVERS = {
    "npy": np.save,
    "npz": lambda path, array: np.savez(path, x=array),
    "hdf5": lambda path, array: save_hdf5(path, **{"group/x": array}),
    "safetensors": lambda path, array: save_file({"x": array}, path),
    "pickle": save_pickle_2,
    "mat": lambda path, array: io.savemat(path, {"x": array}, appendmat=False),
    "torch": lambda path, array: torch.save({"x": torch.from_numpy(array)}, path),
}


@pytest.mark.parametrize("kind", SAVERS)
@pytest.mark.parametrize("suffix", ["npy", "npz", "h5", "safetensors", "pkl", "dat"])
def test_content_tells_the_kind_never_the_suffix(tmp_path, kind, suffix):
    expected = features()
    made = tmp_path / f"made.{kind}.npz" if kind == "npz" else tmp_path / f"made.{kind}.npy"
    SAVERS[kind](made, expected)
    file = made.rename(tmp_path / f"video.{suffix}")
    report = import_features([file], tmp_path / "bank", axes="TCHW")
    video_id = "video.dat" if suffix == "dat" else "video"
    assert report.done == [video_id]
    entry = FeatureBank(tmp_path / "bank")[video_id]
    np.testing.assert_array_equal(entry.features, expected)
    assert entry.provenance["format"] == kind
    assert entry.provenance["source"]["name"] == file.name


@given(
    axes=st.permutations("TCHW").map("".join) | st.permutations("TC").map("".join),
    has_clip=st.booleans(),
    data=st.data(),
)
def test_every_axis_order_becomes_steps(axes, has_clip, data):
    steps = features()
    if "H" not in axes:
        steps = steps[:, :, :1, :1]
    array = steps if "H" in axes else steps[:, :, 0, 0]
    array = array.transpose(["TCHW".index(axis) for axis in axes])
    if has_clip:
        position = data.draw(st.integers(0, len(axes)))
        array = np.expand_dims(array, position)
        axes = axes[:position] + "N" + axes[position:]
    np.testing.assert_array_equal(to_steps(array, parse_axes(axes.lower())), steps)


@pytest.mark.parametrize(
    ("shape", "n_labels", "expected"),
    [
        ((128, 1024), None, ("TC", "CT")),
        ((128, 1024), 128, ("TC",)),
        ((128, 1024), 1024, ("CT",)),
        ((1, 128, 1024), None, ("NTC", "NCT")),
        ((128, 7, 7, 1024), None, ("THWC",)),
        ((128, 1024, 7, 7), None, ("TCHW", "CTHW")),
        ((1024, 128, 7, 7), 128, ("CTHW",)),
        ((128, 4, 7, 1024), None, ("TCHW", "THWC", "CTHW")),
        ((7, 7, 7, 7), None, ("TCHW", "THWC", "CTHW")),
        ((128, 1024, 1, 1), None, ("TCHW", "THWC", "CTHW")),
        ((1, 128, 7, 7, 1024), None, ("NTHWC",)),
    ],
)
def test_shapes_tell_the_axes_only_where_they_leave_no_doubt(shape, n_labels, expected):
    assert likely_axes(shape, n_labels) == expected


@pytest.mark.parametrize(
    ("shape", "n_labels", "message"),
    [
        ((1024,), None, r"shape \(1024,\) match no common axis order. Pass it with --axes"),
        ((2, 128, 1024), None, "match no common axis order"),
        ((128, 1024), 127, "with 127 labels match no common axis order"),
    ],
)
def test_shapes_that_are_no_features_are_told(shape, n_labels, message):
    with pytest.raises(ValueError, match=message):
        likely_axes(shape, n_labels)


@pytest.mark.parametrize("axes", ["", "T", "TT", "TCH", "TCHWX", "TCC", "CHW"])
def test_axes_that_are_none_are_told(axes):
    with pytest.raises(ValueError, match="axes must contain T, C, and both or neither of H and W"):
        parse_axes(axes)


@pytest.mark.parametrize(
    ("array", "axes", "message"),
    [
        (np.zeros((3, 4)), "TCHW", r"axes must name the 2 axes of features of shape \(3, 4\)"),
        (np.zeros((2, 3, 4)), "NTC", "axis N must have length 1, one video per file; got 2"),
        (np.zeros((0, 4)), "TC", "features must not be empty"),
        (np.zeros((3, 4), complex), "TC", "features must be real numbers; got 'complex128'"),
        (np.array([["a", "b"]]), "TC", "features must be real numbers"),
        (np.zeros((3, 4), bool), "TC", "features must be real numbers"),
    ],
)
def test_arrays_that_are_no_features_are_told(array, axes, message):
    with pytest.raises(ValueError, match=message):
        to_steps(array, axes)


def test_the_keras_files_of_2019(tmp_path):
    """Pickles (T, H, W, C), which Python 2 wrote."""
    array = np.arange(5 * 7 * 7 * 3, dtype=np.float32).reshape(5, 7, 7, 3)
    text = pickle.dumps(array, protocol=0)
    (tmp_path / "old.pkl").write_bytes(text)
    report = import_features([tmp_path / "old.pkl"], tmp_path / "bank")
    assert report.axes == "THWC"
    stored = FeatureBank(tmp_path / "bank")["old"].features
    np.testing.assert_array_equal(stored, array.transpose(0, 3, 1, 2))


def test_bfloat16_safetensors(tmp_path):
    from safetensors.torch import save_file as save_torch

    tensor = torch.randn(5, 4).bfloat16()
    save_torch({"x": tensor}, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(loaded.features, tensor.float().numpy())


def test_time_base_and_ids(tmp_path):
    (tmp_path / "in" / "tea").mkdir(parents=True)
    np.save(tmp_path / "in" / "tea" / "P03.v2.npy", features()[:, :, 0, 0])
    (tmp_path / "in" / "README.md").write_text("(features of tea)")
    (tmp_path / "in" / ".hidden.npy").write_text("x")
    import_features([tmp_path / "in"], tmp_path / "bank", axes="TC", fps=25, stride=8)
    bank = FeatureBank(tmp_path / "bank")
    assert bank.video_ids == ("tea/P03.v2",)
    np.testing.assert_array_equal(bank["tea/P03.v2"].start_frames, np.arange(9) * 8)
    assert bank["tea/P03.v2"].fps == 25
    assert bank["tea/P03.v2"].features.shape == (9, 4, 1, 1)
    assert bank.settings == {"kind": "import", "fps": 25.0, "stride": 8, "dtype": "float16"}


def test_two_files_of_one_id_are_named(tmp_path):
    np.save(tmp_path / "a.npy", features())
    np.savez(tmp_path / "a.npz", features())
    with pytest.raises(ValueError, match=r"id 'a' must belong to one file.*a.npy.*a.npz"):
        import_features([tmp_path], tmp_path / "bank", axes="TCHW")


def test_every_array_of_a_file_as_a_video(tmp_path):
    save_hdf5(tmp_path / "all.h5", **{"tea/P03": features(5), "P04": features(6, seed=1)})
    report = import_features([tmp_path / "all.h5"], tmp_path / "bank", axes="TCHW", key="*")
    assert report.done == ["P04", "tea/P03"]
    stored = FeatureBank(tmp_path / "bank")["P04"].features
    np.testing.assert_array_equal(stored, features(6, seed=1))
    again = import_features([tmp_path / "all.h5"], tmp_path / "bank", axes="TCHW", key="*")
    assert again.skipped == ["P04", "tea/P03"]


def test_keys_are_told_or_listed(tmp_path):
    np.savez(tmp_path / "a.npz", rgb=features(), flow=features(seed=1))
    with pytest.raises(ValueError, match=r"a.npz holds 'rgb', 'flow'. Choose the .* with --key"):
        import_features([tmp_path / "a.npz"], tmp_path / "bank", axes="TCHW")
    with pytest.raises(ValueError, match=r"but --key is 'flw'. Did you mean 'flow'?"):
        import_features([tmp_path / "a.npz"], tmp_path / "bank", axes="TCHW", key="flw")
    assert not (tmp_path / "bank").exists()
    report = import_features([tmp_path / "a.npz"], tmp_path / "bank", axes="TCHW", key="flow")
    assert report.done == ["a"]
    assert FeatureBank(tmp_path / "bank").failures == {}


@pytest.mark.parametrize("axes", [None, "TCHW"])
def test_one_message_for_all_files_without_a_key(tmp_path, axes):
    for name in "abc":
        np.savez(tmp_path / f"{name}.npz", rgb=features(), flow=features(seed=1))
    (tmp_path / "0.npz").write_bytes(b"PK")
    with pytest.raises(ValueError) as caught:
        import_features([tmp_path], tmp_path / "bank", axes=axes)
    message = "each of 3 files holds 'rgb', 'flow'. Choose the features with --key."
    assert str(caught.value) == message
    np.savez(tmp_path / "c.npz", x=features(), y=features(), z=features())
    with pytest.raises(ValueError, match="Some hold other arrays: the next holds 'x', 'y', 'z'"):
        import_features([tmp_path], tmp_path / "bank", axes=axes)
    assert not (tmp_path / "bank").exists()


def test_files_that_need_another_key_fail_alone(tmp_path):
    np.savez(tmp_path / "a.npz", rgb=features(), flow=features(seed=1))
    np.savez(tmp_path / "b.npz", rgb=features())
    report = import_features([tmp_path], tmp_path / "bank", axes="TCHW")
    assert report.done == ["b"] and "with --key" in report.failed["a"]


def test_an_import_of_nothing_leaves_no_bank(tmp_path):
    file, bank = tmp_path / "a.npy", tmp_path / "new" / "bank"
    np.save(file, np.full((9, 4), np.nan))
    report = import_features([file], bank, axes="TC")
    assert report.failed.keys() == {"a"} and not bank.parent.exists()
    bank.mkdir(parents=True)
    (bank / "notes.txt").write_text("mine")
    import_features([file], bank, axes="TC")
    assert [path.name for path in bank.iterdir()] == ["notes.txt"]


def test_an_interrupted_import_leaves_no_empty_bank(tmp_path):
    np.save(tmp_path / "a.npy", features())

    def stop(items):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_features([tmp_path], tmp_path / "bank", axes="TCHW", track=stop)
    assert not (tmp_path / "bank").exists()


def test_a_failed_import_keeps_an_existing_bank(tmp_path):
    np.save(tmp_path / "a.npy", features())
    import_features([tmp_path / "a.npy"], tmp_path / "bank", axes="TCHW")
    np.save(tmp_path / "b.npy", np.full((9, 4, 2, 3), np.nan))
    import_features([tmp_path / "b.npy"], tmp_path / "bank", axes="TCHW")
    bank = FeatureBank(tmp_path / "bank")
    assert (bank.video_ids, list(bank.failures)) == (("a",), ["b"])


def test_doubt_about_axes_is_asked_once_or_told(tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", features()[:, :, 0, 0])
    message = (
        r"a.npy have shape \(9, 4\). TC means 9 steps of 4 channels; "
        r"CT means 4 steps of 9 channels. Pass --axes TC or --axes CT."
    )
    with pytest.raises(ValueError, match=message):
        import_features([tmp_path], tmp_path / "bank")
    assert not (tmp_path / "bank").exists()
    questions = []

    def answer(question, options):
        questions.append((question, options))
        return "tc"

    report = import_features([tmp_path], tmp_path / "bank", ask=answer)
    assert report.axes == "TC"
    assert report.done == ["a", "b"]
    assert [options for _, options in questions] == [("TC", "CT")]


class Evil:
    def __reduce__(self):
        return print, ("run",)


def damaged_files(folder):
    np.save(folder / "empty", features())
    (folder / "empty.npy").write_bytes(b"")
    (folder / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    (folder / "text.h5").write_text("these are no features")
    for kind, save in SAVERS.items():
        suffix = ".npz" if kind == "npz" else ".npy"
        save(folder / f"cut_{kind}{suffix}", features(90))
        content = (folder / f"cut_{kind}{suffix}").read_bytes()
        (folder / f"cut_{kind}{suffix}").write_bytes(content[: len(content) * 2 // 3])
    np.save(folder / "huge.npy", np.full((3, 4, 2, 3), 1e6, np.float32))
    np.save(folder / "nan.npy", np.full((3, 4, 2, 3), np.nan, np.float32))
    np.save(folder / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "other.npy", features(channels=5))
    np.save(folder / "flat.npy", features()[:, :, 0, 0])


def test_broken_files_are_recorded_and_never_stop_the_rest(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    damaged_files(folder)
    np.save(folder / "a_good.npy", features())
    np.save(folder / "z_good.npy", features(seed=2))
    report = import_features([folder], tmp_path / "bank", axes="TCHW")
    assert report.done == ["a_good", "z_good"]
    assert "run" not in capsys.readouterr().out
    words = {
        "empty": "file must not be empty",
        "evil": "requires 'builtins.print'",
        "text": "which no known file does",
        "cut_mat": "cannot be read",
        "cut_npy": "cannot be read",
        "cut_npz": "is a zip archive .* that is cut off",
        "cut_hdf5": "cannot be read: .*truncated",
        "cut_safetensors": "cannot be read",
        "cut_pickle": "not a readable pickle",
        "cut_torch": "is a zip archive .* that is cut off",
        "huge": "'huge' must fit float16 .*--dtype float32 or bfloat16",
        "nan": "'nan' must be finite numbers",
        "objects": "cannot be read",
        "other": "have 4 channels like 'a_good' in the bank; got 5. They were read with axes TCHW",
        "flat": "axes must name the 2 axes",
    }
    assert sorted(report.failed) == sorted(words)
    bank = FeatureBank(tmp_path / "bank")
    for video_id, word in words.items():
        with pytest.raises(ValueError, match=word):
            raise ValueError(report.failed[video_id])
        assert bank.failures[video_id]["error"] == report.failed[video_id]
        assert bank.failures[video_id]["path"] == str(next(folder.glob(f"{video_id}.*")))
    np.save(folder / "nan.npy", features())
    again = import_features([folder], tmp_path / "bank", axes="TCHW")
    assert again.done == ["nan"]
    assert again.skipped == ["a_good", "z_good"]
    assert "nan" not in FeatureBank(tmp_path / "bank").failures


def test_a_second_import_skips_what_matches_and_refuses_the_rest(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "bank"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        np.save(folder / f"{name}.npy", features(seed=seed))
    import_features([folder], out, axes="TCHW")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert import_features([folder], out, axes="TCHW").skipped == ["a", "b", "c"]
    np.save(folder / "b.npy", features(seed=9))
    np.save(folder / "c.npy", features(n_steps=4))
    with pytest.raises(MismatchError) as caught:
        import_features([folder], out, axes="TCHW")
    text = str(caught.value)
    assert "does not match 2 of the files" in text
    assert "source.sha256" in text
    assert "source.size_bytes: 560 in the bank, 320 asked for" in text
    assert text.endswith("or pass --overwrite to replace features that do not match.")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before
    report = import_features([folder], out, axes="TCHW", is_overwritten=True)
    assert (report.done, report.skipped) == (["b", "c"], ["a"])
    with pytest.raises(MismatchError, match=r'axes: "TCHW" in the bank, "CTHW" asked for'):
        import_features([folder], out, axes="CTHW")
    with pytest.raises(MismatchError, match=r"fps: 1.0 in the bank, 25.0 asked for"):
        import_features([folder], out, axes="TCHW", fps=25)
    (folder / "b.npy").unlink()
    with pytest.raises(MismatchError, match=r"would leave 1 video\(s\) in the bank.*: b\."):
        import_features([folder], out, axes="TCHW", fps=25, is_overwritten=True)


def test_a_damaged_bank_file_is_made_again(tmp_path):
    np.save(tmp_path / "a.npy", features())
    import_features([tmp_path / "a.npy"], tmp_path / "bank", axes="TCHW")
    bank = FeatureBank(tmp_path / "bank")
    good = bank.path("a").read_bytes()
    bank.path("a").write_bytes(good[:-7])
    assert import_features([tmp_path / "a.npy"], tmp_path / "bank", axes="TCHW").done == ["a"]
    assert bank.path("a").read_bytes() == good


def labelled(folder, labels, name="a", channels=4):
    folder.mkdir(exist_ok=True)
    values = features(len(labels), channels)[:, :, 0, 0]
    np.savez(folder / f"{name}.npz", features=values, frame_labels=labels)


def rows(file):
    with file.open() as stream:
        return [tuple(row)[:4] for row in csv.reader(stream)][1:]


def test_labels_of_steps_become_timed_annotations(tmp_path):
    labelled(tmp_path / "in", np.array([0, 0, 2, 2, 2, 1, 0, 1], np.uint8))
    labelled(tmp_path / "in", np.array([0, 0, 0], np.uint8), "idle")
    (tmp_path / "in" / "broken.npz").write_bytes(b"PK")
    labels = FrameLabels("frame_labels", tmp_path / "a.csv", ("none", "pour", "stir"), "0")
    for _ in range(2):  # the second run skips the features and writes the labels again
        report = import_features(
            [tmp_path / "in"], tmp_path / "bank", fps=30, stride=2, labels=labels
        )
        assert report.axes == "TC"  # told by the number of labels
        assert list(report.failed) == ["broken"]
        assert rows(tmp_path / "a.csv") == [
            ("a", "stir", "0.133333333", "0.333333333"),
            ("a", "pour", "0.333333333", "0.4"),
            ("a", "pour", "0.466666667", "0.533333333"),
            ("idle", "", "", ""),
        ]
    assert report.skipped == ["a", "idle"]
    assert read_timed(tmp_path / "a.csv").classes == ("pour", "stir")


@pytest.mark.parametrize(
    ("labels", "names", "background", "expected"),
    [
        (np.array([1, 1, 3]), None, "1", ["3"]),
        (np.array([1.0, 1.0, 0.0]), None, None, ["1", "0"]),
        (np.array(["pour", "pour", "SIL"]), None, "SIL", ["pour"]),
        (np.array([b"pour", b"SIL", b"stir"]), None, "SIL", ["pour", "stir"]),
        (np.array([[0], [1], [1]]), ("a", "b"), None, ["a", "b"]),
        (np.array([True, False, False]), ("no", "yes"), "0", ["yes"]),
    ],
)
def test_labels_of_many_kinds(tmp_path, labels, names, background, expected):
    labelled(tmp_path / "in", labels)
    told = FrameLabels("frame_labels", tmp_path / "a.csv", names, background)
    report = import_features([tmp_path / "in"], tmp_path / "bank", axes="TC", labels=told)
    assert report.done == ["a"]
    assert [row[1] for row in rows(tmp_path / "a.csv")] == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, 2]), "have one of the 2 class names; got 2"),
        (np.array([0, -1, 1]), "have one of the 2 class names; got -1"),
        (np.array([0.5, 1, 1]), "be whole numbers or names"),
        (np.array([0, 1j, 1]), "be whole numbers or names; got 'complex128'"),
        (np.eye(3), r"be 3, one per step; got \(3, 3\)"),
    ],
)
def test_bad_labels_are_told(tmp_path, labels, message):
    labelled(tmp_path / "in", labels)
    told = FrameLabels("frame_labels", tmp_path / "a.csv", ("none", "pour"))
    report = import_features([tmp_path / "in"], tmp_path / "bank", axes="TC", labels=told)
    with pytest.raises(ValueError, match=f"labels 'frame_labels' must {message}"):
        raise ValueError(report.failed["a"])
    told = FrameLabels("frame_label", tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"--frame-labels is 'frame_label'. Did you mean 'frame_l"):
        import_features([tmp_path / "in"], tmp_path / "bank", axes="TC", labels=told)


def test_a_background_without_a_name_is_told(tmp_path):
    with pytest.raises(ValueError, match="background must be a class's number; got 7"):
        FrameLabels("frame_labels", tmp_path / "a.csv", ("none", "pour"), "7")


def test_reports_are_json(tmp_path):
    labelled(tmp_path / "in", np.array([0, 1]))
    report = import_features([tmp_path / "in"], tmp_path / "bank", axes="TC", key="features")
    loaded = json.loads(json.dumps(report.to_dict()))
    assert loaded["done"] == ["a"]
    assert loaded["failed"] == {}
    assert loaded["seconds"] >= 0


def test_real_features(shared, tmp_path):
    folder = shared / "data" / "gtea" / "split_1"
    if not folder.is_dir():
        pytest.skip("the shared data is absent")
    files = sorted(folder.glob("S1_*.npz"))
    told = FrameLabels("frame_labels", tmp_path / "a.csv", background="0")
    report = import_features(files, tmp_path / "bank", fps=15, labels=told)
    assert len(report.done) == len(files) > 0
    bank = FeatureBank(tmp_path / "bank")
    for file in files:
        with np.load(file) as source:
            np.testing.assert_array_equal(bank[file.stem].features[..., 0, 0], source["features"])
            labels = source["frame_labels"]
        timed = np.zeros(len(labels), int)
        for video, label, start, end in rows(tmp_path / "a.csv"):
            if video == file.stem:
                timed[round(float(start) * 15) : round(float(end) * 15)] = int(label)
        np.testing.assert_array_equal(timed, labels)
    shutil.rmtree(tmp_path / "bank")
