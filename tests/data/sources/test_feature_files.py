"""Files of features: PyTorch's, names in capitals, patterns, and what else lies in a folder."""

import collections
import re
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest

from data.errors import InputError
from data.report import Report
from data.sources.feature_part import UNREAD
from data.sources.features import FeatureParts
from tests.hero_jax.conversion.torch.torch_archives import (
    Call,
    Payload,
    Storage,
    save_legacy,
    save_zip,
    tensor,
    whole,
)

SAVE = pytest.mark.parametrize("save", [save_zip, save_legacy])


def values(num_frames: int = 4, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(num_frames).standard_normal((num_frames, 3)).astype(dtype)


def read(folder, video_id: str, *patterns: str) -> np.ndarray:
    (part,) = FeatureParts([folder], patterns).read(video_id, Report())
    return part


# Files of PyTorch


@SAVE
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
@pytest.mark.parametrize("kind", ["tensor", "parameter", "features of a dict", "only one"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_reads_tensors(tmp_path, save, suffix, kind, dtype):
    expected = values(dtype=dtype)
    stored = whole(expected)
    hooks = collections.OrderedDict()
    content = {
        "tensor": stored,
        "parameter": Call("torch._utils", "_rebuild_parameter", stored, True, hooks),
        "features of a dict": {"features": stored, "times": whole(np.arange(4), "1")},
        "only one": {"clip": stored, "fps": 1.5, "name": "a"},
    }[kind]
    save(tmp_path / f"a{suffix}", content)
    parts = FeatureParts([tmp_path])
    assert parts.num_frames("a") == 4
    got = read(tmp_path, "a")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected)


@SAVE
def test_reads_bfloat16_and_views(tmp_path, save):
    narrow = values().astype(ml_dtypes.bfloat16)
    save(tmp_path / "narrow.pt", whole(narrow, kind="BFloat16"))
    np.testing.assert_array_equal(read(tmp_path, "narrow"), narrow.astype(np.float32))
    memory = values(6)
    save(tmp_path / "view.pt", tensor(Storage(memory, "0"), 1, (3, 2), (6, 1)))
    np.testing.assert_array_equal(read(tmp_path, "view"), memory[::2, 1:])


def test_counts_the_frames_of_a_tensor_without_its_values(tmp_path):
    path = save_zip(tmp_path / "a.pt", whole(values()))
    raw = path.read_bytes()
    at = raw.index(values().tobytes())
    path.write_bytes(raw[:at] + b"\x01" + raw[at + 1 :])
    assert FeatureParts([tmp_path]).num_frames("a") == 4
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))} is cut short or damaged"):
        read(tmp_path, "a")


@SAVE
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds a value of type list, not a tensor: save tensors alone"),
        ({"epoch": 3}, r"has no tensor features but \[\]"),
        ({"x": whole(values()), "y": whole(values(), "1")}, r"features but \['x', 'y'\]"),
        (whole(np.arange(6).reshape(2, 3)), r"is int64\[2, 3\]: floating point"),
        (whole(values()[0]), r"is float32\[3\]: floating point"),
        (tensor(Storage(values(), "0"), 0, (2**20, 3), (0, 1)), "repeats its values: save a copy"),
        (tensor(Storage(values(), "0"), 9, (4, 3), (3, 1)), "is cut short or damaged"),
    ],
)
def test_refuses_other_content(tmp_path, save, content, said):
    path = save(tmp_path / "a.pt", content)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))} .*{said}"):
        read(tmp_path, "a")


@SAVE
def test_executes_nothing(tmp_path, save):
    made = tmp_path / "made"
    path = save(tmp_path / "a.pt", {"features": Payload(made)})
    with pytest.raises(InputError, match=r"a\.pt holds .*mkdir.* nothing in it was executed"):
        FeatureParts([tmp_path]).num_frames("a")
    assert not made.exists()
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.pt is empty"):
        FeatureParts([tmp_path]).num_frames("a")
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"a\.pt cannot be read .*: extract it again"):
        FeatureParts([tmp_path]).num_frames("a")


# Names


def test_extensions_may_be_in_capitals(tmp_path):
    np.save(tmp_path / "a", values(4))
    (tmp_path / "a.npy").rename(tmp_path / "a.NPY")
    np.savez(tmp_path / "b.npz", features=values(5))
    (tmp_path / "b.npz").rename(tmp_path / "b.Npz")
    with h5py.File(tmp_path / "c.H5", "w") as file:
        file["features"] = values(6)
    lengths = {i: len(read(tmp_path, i)) for i in FeatureParts([tmp_path]).ids()}
    assert lengths == {"a": 4, "b": 5, "c": 6}
    with h5py.File(tmp_path / "all.HDF5", "w") as file:
        file["d"] = values(7)
    assert len(read(tmp_path / "all.HDF5", "d")) == 7


def test_what_is_not_read_is_counted_and_named(tmp_path):
    np.save(tmp_path / "a.npy", values())
    for name in ("README.txt", "a.json", "b.mat", "c"):
        (tmp_path / name).touch()
    (tmp_path / "old.npy").mkdir()
    report = Report()
    assert FeatureParts([tmp_path], report=report).ids() == {"a"}
    assert report.counts == {UNREAD: 5}
    assert report.examples[UNREAD] == [str(tmp_path / n) for n in ("README.txt", "a.json", "b.mat")]


def test_leftovers_of_systems_are_passed_over(tmp_path):
    np.save(tmp_path / "a.npy", values())
    for name in ("._a.npy", ".DS_Store", ".hidden.npz", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "__MACOSX").mkdir()
    np.savez(tmp_path / "b.npz", resnet=values())
    with zipfile.ZipFile(tmp_path / "b.npz", "a") as archive:
        archive.writestr("__MACOSX/._resnet.npy", b"\0\5\x16\7")
    report = Report()
    assert FeatureParts([tmp_path], report=report).ids() == {"a", "b"}
    assert report.counts == {}
    np.testing.assert_array_equal(read(tmp_path, "b"), values())


def test_files_that_were_not_read_before_do_not_get_in_the_way(tmp_path):
    np.save(tmp_path / "a.npy", values())
    for name in ("a.pt", "a.pth", "a.NPZ"):
        (tmp_path / name).touch()
    report = Report()
    parts = FeatureParts([tmp_path], report=report)
    assert parts.files("a") == [tmp_path / "a.npy"]
    assert report.counts == {UNREAD: 3}
    (tmp_path / "a.npy").unlink()
    with pytest.raises(InputError, match=r"has both a\.NPZ and a\.pt: leave one"):
        FeatureParts([tmp_path])


def suffixed(folder):
    for video_id in ("a", "b_1", "c"):
        np.save(folder / f"{video_id}_clip.npy", values(4))
        np.save(folder / f"{video_id}_sound.npy", values(5))
        np.save(folder / f"{video_id}_fps.npy", np.float32(1.5))
        np.save(folder / f"{video_id}_timestamps_ms.npy", np.arange(4.0))
    return folder


@pytest.mark.parametrize("pattern", ["{id}_clip", "{id}_clip.npy"])
def test_a_pattern_chooses_among_the_files_of_a_video(tmp_path, pattern):
    report = Report()
    parts = FeatureParts([suffixed(tmp_path)], [pattern], report)
    assert parts.ids() == {"a", "b_1", "c"}
    assert report.counts == {UNREAD: 9}
    assert str(tmp_path / "a_fps.npy") in report.examples[UNREAD]
    np.testing.assert_array_equal(parts.read("b_1", report)[0], values(4))
    assert parts.narrowed(["a"]).files("a") == [tmp_path / "a_clip.npy"]


def test_two_parts_lie_in_one_folder_and_one_pattern_is_for_all(tmp_path):
    folder = suffixed(tmp_path)
    parts = FeatureParts([folder, folder], ["{id}_clip", "{id}_sound"])
    assert [len(part) for part in parts.read("a", Report())] == [4, 4]
    assert parts.files("a") == [folder / "a_clip.npy", folder / "a_sound.npy"]
    parts = FeatureParts([folder, folder], ["{id}_clip"])
    assert parts.files("c") == [folder / "c_clip.npy"] * 2
    with pytest.raises(InputError, match="feature_name is given 2 times for 1 parts"):
        FeatureParts([folder], ["{id}_clip", "{id}_sound"])


def test_a_pattern_may_begin_with_a_name_and_chooses_datasets(tmp_path):
    np.save(tmp_path / "clip-a.npy", values())
    assert FeatureParts([tmp_path], ["clip-{id}"]).ids() == {"a"}
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a_clip"] = values()
        file["a_fps"] = 1.5
    report = Report()
    parts = FeatureParts([tmp_path / "all.h5"], ["{id}_clip"], report)
    np.testing.assert_array_equal(parts.read("a", report)[0], values())
    assert parts.where("a") == f"a_clip in {tmp_path / 'all.h5'}"
    assert report.examples[UNREAD] == [f"a_fps in {tmp_path / 'all.h5'}"]


@pytest.mark.parametrize("pattern", ["clip", "{id}{id}", "x/{id}"])
def test_refuses_what_is_no_pattern(tmp_path, pattern):
    with pytest.raises(InputError, match=r"^feature_name=.* is no name with one \{id\}"):
        FeatureParts([suffixed(tmp_path)], [pattern])


def test_says_which_pattern_no_file_has(tmp_path):
    said = r"holds no features named \{id\}_clp: it needs ID\.npz.*, and not .*a_clip\.npy$"
    with pytest.raises(InputError, match=said):
        FeatureParts([suffixed(tmp_path)], ["{id}_clp"])


def test_says_what_lies_in_a_folder_without_features(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(
        InputError, match=r"holds no features: it needs ID\.npz.*, and not .*/train$"
    ):
        FeatureParts([tmp_path])


def test_says_that_other_files_may_lie_beside_the_features(tmp_path, caplog):
    parts = FeatureParts([suffixed(tmp_path)])
    assert "names end 3 in _clip, 3 in _fps, 3 in _sound, 3 in _timestamps_ms: if not" in (
        caplog.text
    )
    for use in (parts.num_frames, lambda video_id: parts.read(video_id, Report())):
        with pytest.raises(InputError, match=r"a_fps\.npy is .*, as feature_name=\{id\}_clip\)$"):
            use("a_fps")


def test_parts_may_name_a_video_with_its_extension(tmp_path):
    for folder, names in (("one", ("a.mp4", "b", "c")), ("two", ("a", "b.mkv", "c"))):
        (tmp_path / folder).mkdir()
        for name in names:
            np.save(tmp_path / folder / f"{name}.npy", values())
    with h5py.File(tmp_path / "three.h5", "w") as file:
        for name in ("A", "a.webm", "b", "c.avi"):
            file[name] = values()
    parts = FeatureParts([tmp_path / "one", tmp_path / "two", tmp_path / "three.h5"])
    assert parts.ids() == {"a.mp4", "b", "c"}
    assert parts.incomplete() == {"A": tmp_path / "one"}
    narrowed = parts.narrowed(["a.mp4", "b"])
    assert len(narrowed.read("a.mp4", Report())) == 3
    assert narrowed.files("b")[1:] == [tmp_path / "two" / "b.mkv.npy", tmp_path / "three.h5"]
    assert narrowed.where("a.mp4").endswith(f"a.webm in {tmp_path / 'three.h5'}")
