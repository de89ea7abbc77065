import json
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import safe_open

from timeception.features import BankError, FeatureBank
from timeception.features.bank import MismatchError, MissingVideoError, storage


def maps(n_steps=6, channels=3, height=2, width=2, seed=0):
    shape = (n_steps, channels, height, width)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def bank(tmp_path):
    made = FeatureBank(tmp_path / "bank", mode="a", settings={"backbone": {"name": "mine"}})
    for index, video_id in enumerate(("tea/P03_1", "tea/P04_1", "milk.v2")):
        features = maps(6 + index, seed=index)
        made.write(video_id, features, np.arange(6 + index) * 8, 24.0, {"source": video_id})
    return FeatureBank(tmp_path / "bank")


def test_entry_holds_what_was_written(bank):
    entry = bank["tea/P04_1"]
    np.testing.assert_array_equal(entry.features, maps(7, seed=1).astype(np.float16))
    np.testing.assert_array_equal(entry.start_frames, np.arange(7) * 8)
    assert entry.fps == 24.0
    assert entry.provenance["source"] == "tea/P04_1"
    assert entry.provenance["settings_fingerprint"] == bank.fingerprint
    assert bank.n_steps("tea/P04_1") == 7


def test_ids_are_sorted_and_counted(bank):
    assert bank.video_ids == ("milk.v2", "tea/P03_1", "tea/P04_1")
    assert list(bank) == list(bank.video_ids)
    assert len(bank) == 3
    assert "tea/P03_1" in bank
    assert "tea/P99" not in bank
    assert "../bank" not in bank
    assert 3 not in bank


def test_files_open_with_the_safetensors_library(bank):
    with safe_open(bank.path("tea/P03_1"), framework="numpy") as file:
        assert sorted(file.keys()) == ["features", "start_frames"]
        np.testing.assert_array_equal(
            file.get_tensor("features"), maps(6, seed=0).astype(np.float16)
        )
        np.testing.assert_array_equal(file.get_tensor("start_frames"), np.arange(6) * 8)
        assert list(file.metadata()) == ["timeception"]
        assert json.loads(file.metadata()["timeception"])["video_id"] == "tea/P03_1"


def test_bfloat16_opens_with_the_safetensors_library_as_torch_rounds(tmp_path):
    torch = pytest.importorskip("torch")
    bank = FeatureBank(tmp_path, mode="a", dtype="bfloat16")
    features = maps(50)
    bank.write("a", features, np.arange(50), 1.0)
    expected = torch.from_numpy(features).bfloat16()
    with safe_open(bank.path("a"), framework="pt") as file:
        assert torch.equal(file.get_tensor("features"), expected)
    np.testing.assert_array_equal(bank["a"].features, expected.float().numpy())
    assert bank.draw("a", 4).dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(
    arrays(
        np.float32,
        (3, 2, 1, 2),
        elements=st.floats(-65504, 65504, width=32),
    ),
    st.sampled_from(["float16", "float32", "bfloat16"]),
)
def test_features_round_to_nearest(tmp_path_factory, features, dtype):
    bank = FeatureBank(tmp_path_factory.mktemp("bank"), mode="a", dtype=dtype)
    bank.write("a", features, [0, 1, 2], 25.0)
    stored = np.asarray(bank["a"].features, np.float64)
    spacing = {"float16": 2.0**-11, "float32": 0.0, "bfloat16": 2.0**-8}[dtype]
    smallest = 2.0**-25 if dtype == "float16" else 2.0**-134 if dtype == "bfloat16" else 0.0
    assert np.all(np.abs(stored - features) <= np.maximum(np.abs(features) * spacing, smallest))


@settings(max_examples=40, deadline=None)
@given(
    n_steps=st.integers(1, 40),
    n_timesteps=st.integers(1, 50),
    window=st.tuples(st.integers(0, 39), st.integers(1, 40)),
    seed=st.none() | st.integers(0, 5),
)
def test_draw_takes_ordered_steps_of_the_window(
    tmp_path_factory, n_steps, n_timesteps, window, seed
):
    start = min(window[0], n_steps - 1)
    stop = min(start + window[1], n_steps)
    bank = FeatureBank(tmp_path_factory.mktemp("bank"), mode="a")
    bank.write("a", np.arange(n_steps).reshape(-1, 1, 1, 1), np.arange(n_steps), 1.0)
    rng = None if seed is None else np.random.default_rng(seed)
    drawn = bank.draw("a", n_timesteps, rng, start, stop)
    assert drawn.shape == (n_timesteps, 1, 1, 1)
    steps = drawn.ravel().astype(int)
    assert (np.diff(steps) >= 0).all()
    assert steps.min() >= start
    assert steps.max() < stop
    if n_timesteps <= stop - start:
        assert len(set(steps)) == n_timesteps
    rng = None if seed is None else np.random.default_rng(seed)
    np.testing.assert_array_equal(bank.draw("a", n_timesteps, rng, start, stop), drawn)


def test_draw_is_a_writable_copy_and_entries_are_not(bank):
    drawn = bank.draw("milk.v2", 4)
    drawn[:] = 0
    assert type(drawn) is np.ndarray
    assert np.any(bank["milk.v2"].features)
    with pytest.raises(ValueError, match="read-only"):
        bank["milk.v2"].features[:] = 0


@pytest.mark.parametrize("window", [(0, 0), (3, 2), (-1, 3), (0, 9), (8, None)])
def test_windows_outside_the_video_are_errors(bank, window):
    with pytest.raises(ValueError, match=r"start, stop must be a window.*'milk.v2' has 8 steps"):
        bank.draw("milk.v2", 2, None, *window)


def test_bytes_depend_on_content_alone(tmp_path):
    content = []
    for name, order in (("one", (0, 2, 4)), ("two", (4, 0, 2))):
        bank = FeatureBank(tmp_path / name, mode="a", settings={"b": 1, "a": {"d": 2, "c": (3,)}})
        with bank.begin("v", (6, 3, 2, 2), np.arange(6), 25, {"z": 1, "a": 2}) as pending:
            for step in order:
                pending.put(step, maps()[step : step + 2])
            pending.commit()
        content.append([bank.path("v").read_bytes(), (bank.root / "bank.json").read_bytes()])
    assert content[0] == content[1]


def test_a_file_that_is_not_committed_leaves_nothing(tmp_path):
    bank = FeatureBank(tmp_path, mode="a")
    with bank.begin("v", (6, 3, 2, 2), np.arange(6), 25) as pending:
        pending.put(0, maps()[:5])
        with pytest.raises(ValueError, match="be put for every step; got '1 steps missing'"):
            pending.commit()
    assert len(bank) == 0
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["bank.json"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    bank = FeatureBank(tmp_path, mode="a")
    bank.write("v", maps(2), [0, 8], 25)
    with bank.begin("v", (4, 3, 2, 2), np.arange(4), 25) as pending:
        pending.put(0, maps(4))
        assert bank.n_steps("v") == 2
        pending.commit()
    assert bank.n_steps("v") == 4


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (70000.0, "float16", r"'tea/1' must fit float16 \(at most 65504\).*float32 or bfloat16"),
        (-1e6, "float16", "'tea/1' must fit float16"),
        (3.4e38, "bfloat16", "'tea/1' must fit bfloat16.*Choose --dtype float32"),
        (1e39, "float32", "'tea/1' must fit float32"),
        (np.nan, "float32", "'tea/1' must be finite numbers; got nan"),
        (np.inf, "float16", "'tea/1' must be finite numbers; got inf"),
    ],
)
def test_numbers_that_cannot_be_stored_are_errors(tmp_path, value, dtype, message):
    bank = FeatureBank(tmp_path, mode="a", dtype=dtype)
    features = maps().astype(np.float64)
    features[3, 1, 0, 1] = value
    with pytest.raises(ValueError, match=message):
        bank.write("tea/1", features, np.arange(6), 25)
    assert len(bank) == 0
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("v", maps()[0], [0, 1, 2], 25), r"have the shape \(S, C, H, W\)"),
        (("v", maps(0), [], 25), r"have the shape \(S, C, H, W\), none of them 0"),
        (("v", maps(), [0, 8], 25), "start_frames of 'v' must be 6 frame numbers"),
        (("v", maps(), range(6), 0), "fps of 'v' must be positive; got 0"),
        (("v", maps(), range(6), float("nan")), "fps of 'v' must be positive"),
        (("../v", maps(), range(6), 25), "video_id must be a plain relative path; got '../v'"),
        (("/v", maps(), range(6), 25), "video_id must be a plain relative path"),
        (("a//v", maps(), range(6), 25), "video_id must be a plain relative path"),
        (("", maps(), range(6), 25), "video_id must be a plain relative path"),
        (("v", maps(), range(6), 25, {"path": object()}), "must be plain JSON"),
    ],
)
def test_bad_writes_are_told(tmp_path, arguments, message):
    bank = FeatureBank(tmp_path, mode="a")
    with pytest.raises(ValueError, match=message):
        bank.write(*arguments)
    assert len(bank) == 0


def test_missing_videos_name_the_nearest(bank):
    with pytest.raises(MissingVideoError, match=r"no video 'tea/P03'.*Did you mean 'tea/P03_1'\?"):
        bank["tea/P03"]
    with pytest.raises(KeyError):
        bank.draw("nothing", 3)
    assert bank.get("nothing") is None


def test_missing_videos_tell_why(bank):
    writer = FeatureBank(bank.root, mode="a")
    writer.record_failure("tea/bad", "tea/bad.mp4", ValueError("tea/bad.mp4: no video stream"))
    with pytest.raises(MissingVideoError, match=r"It could not be read: .*no video stream"):
        bank["tea/bad"]


def test_failures_come_and_go(bank):
    writer = FeatureBank(bank.root, mode="a")
    writer.record_failure("b", "b.mp4", "broken")
    writer.record_failure("a", "a.mp4", "broken too")
    assert bank.failures == {
        "a": {"path": "a.mp4", "error": "broken too"},
        "b": {"path": "b.mp4", "error": "broken"},
    }
    writer.clear_failure("a")
    assert list(bank.failures) == ["b"]
    writer.clear_failure("b")
    assert bank.failures == {}
    assert not (bank.root / "failures.json").exists()


def truncate(path, size=-10):
    content = path.read_bytes()
    path.write_bytes(content[:size])


def with_header(path, **changes):
    with safe_open(path, framework="numpy") as file:
        metadata = json.loads(file.metadata()["timeception"])
    from safetensors.numpy import save_file

    tensors = {"features": maps(2), "start_frames": np.arange(2)}
    save_file(tensors, path, {"timeception": json.dumps({**metadata, **changes})})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "damaged: it has .* bytes instead of .*. Remove it and run the same command"),
        (lambda path: truncate(path, 100), "not a safetensors file, or truncated in its header"),
        (lambda path: truncate(path, 5), "not a safetensors file"),
        (lambda path: path.write_bytes(b""), "not a safetensors file"),
        (lambda path: path.write_text("not features" * 99), "not a safetensors file"),
        (lambda path: with_header(path, format_version=2), "format version 2; this release reads"),
        (lambda path: with_header(path, video_id="other"), "holds the features of 'other'"),
    ],
)
def test_damaged_files_are_told(bank, damage, message):
    damage(bank.path("milk.v2"))
    with pytest.raises(BankError, match=f"milk.v2.safetensors: .*{message}"):
        bank["milk.v2"]


def test_foreign_safetensors_are_told(bank):
    from safetensors.numpy import save_file

    save_file({"features": maps()}, bank.path("foreign"))
    with pytest.raises(BankError, match=r"not a file of a feature bank.*bank import"):
        bank["foreign"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not the description of a feature bank"),
        ("[]", "is not the description of a feature bank"),
        ('{"format_version": 1, "settings": {"dtype": "int8"}}', "is not the description"),
        ('{"format_version": 9, "settings": {"dtype": "float16"}}', "has format version 9"),
    ],
)
@pytest.mark.parametrize("mode", ["r", "a"])
def test_folders_that_are_no_banks_are_told(tmp_path, content, message, mode):
    (tmp_path / "bank.json").write_text(content)
    with pytest.raises(BankError, match=message):
        FeatureBank(tmp_path, mode=mode)


@pytest.mark.parametrize("folder", [".", "absent"])
def test_folders_without_a_description_are_told(tmp_path, folder):
    with pytest.raises(
        BankError, match=r"not a feature bank: it has no bank.json\. Create one with"
    ):
        FeatureBank(tmp_path / folder)


def test_other_settings_print_both_sides(tmp_path):
    settings = {"backbone": {"name": "i3d", "endpoint": "Mixed_5c"}, "stride": 8}
    FeatureBank(tmp_path, mode="a", settings=settings)
    before = (tmp_path / "bank.json").read_bytes()
    other = {"backbone": {"name": "r3d_50"}, "stride": 8, "crop": (224, 224)}
    with pytest.raises(MismatchError) as caught:
        FeatureBank(tmp_path, mode="a", settings=other)
    assert str(caught.value).splitlines() == [
        f"bank {tmp_path} was made with other settings:",
        '  backbone.endpoint: "Mixed_5c" in the bank, absent asked for',
        '  backbone.name: "i3d" in the bank, "r3d_50" asked for',
        "  crop: absent in the bank, [224, 224] asked for",
        "Choose another --out, or pass --overwrite to replace features that do not match.",
    ]
    with pytest.raises(MismatchError, match='dtype: "float16" in the bank, "float32" asked for'):
        FeatureBank(tmp_path, mode="a", settings=settings, dtype="float32")
    assert (tmp_path / "bank.json").read_bytes() == before
    FeatureBank(tmp_path, mode="a", settings=other, is_replaced=True)
    assert FeatureBank(tmp_path).settings == {**other, "crop": [224, 224], "dtype": "float16"}


def test_equal_settings_open_the_bank_again(tmp_path):
    first = FeatureBank(tmp_path, mode="a", settings={"a": 1, "b": (2, 3)}, dtype="float32")
    again = FeatureBank(tmp_path, mode="a", settings={"b": [2, 3], "a": 1}, dtype="float32")
    assert again.fingerprint == first.fingerprint
    assert FeatureBank(tmp_path, mode="a") == first


def test_reading_takes_no_settings_and_writes_nothing(bank):
    with pytest.raises(ValueError, match="mode must be 'a'; got 'r'"):
        FeatureBank(bank.root, settings={})
    with pytest.raises(ValueError, match="bank must be opened with mode='a' for writing"):
        bank.write("v", maps(), range(6), 25)
    with pytest.raises(ValueError, match="mode must be one of 'r', 'a'"):
        FeatureBank(bank.root, mode="w")


def test_temporary_files_of_dead_processes_are_removed(tmp_path):
    bank = FeatureBank(tmp_path, mode="a")
    bank.write("tea/v", maps(), range(6), 25)
    code = (
        "import sys, pathlib; from timeception import files;"
        "files.temporary_path(pathlib.Path(sys.argv[1])).write_text('half')"
    )
    target = str(bank.path("tea/w"))
    subprocess.run([sys.executable, "-c", code, target], check=True)
    pending = bank.begin("tea/x", (1, 1, 1, 1), [0], 1)  # of a process that lives: this one
    elsewhere = tmp_path / "videos" / ".0123.elsewhere-1.tmp"
    elsewhere.write_text("half")
    assert len(list(tmp_path.rglob("*.tmp"))) == 3
    FeatureBank(tmp_path, mode="a")
    assert len(list(tmp_path.rglob("*.tmp"))) == 2
    os.utime(elsewhere, (time.time() - 7200,) * 2)
    FeatureBank(tmp_path, mode="a")
    assert len(list(tmp_path.rglob("*.tmp"))) == 1
    pending.discard()
    assert bank.video_ids == ("tea/v",)


def test_reads_from_threads_and_pickles(bank):
    copy = pickle.loads(pickle.dumps(bank))
    assert copy == bank

    def sums(seed):
        rng = np.random.default_rng(seed)
        return sum(float(copy.draw(video_id, 4, rng).sum()) for video_id in copy)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(sums, range(40))) == [sums(seed) for seed in range(40)]


def test_the_largest_bfloat16_is_stated_right():
    largest = storage.DTYPES["bfloat16"][2]
    assert largest == (2 - 2**-7) * 2.0**127


def test_import_loads_no_framework():
    code = (
        "import sys, timeception.features;"
        "print([name for name in ('torch', 'tensorflow', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
