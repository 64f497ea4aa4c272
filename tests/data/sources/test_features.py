"""Features in every kind of file, parts that differ in length, and files that are damaged."""

import pickle
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.report import Report
from data.sources.features import FeatureParts
from tests.hero_jax.conversion.torch.torch_archives import save_legacy, save_zip, whole

CUT = "frames cut: a part of the features is one longer"


def one_file_each(extension, write):
    """Returns a function that writes a part as a folder and returns its path."""

    def write_part(path: Path, videos: dict[str, np.ndarray]) -> Path:
        path.mkdir(exist_ok=True)
        for video_id, values in videos.items():
            write(path / f"{video_id}{extension}", values)
        return path

    return write_part


def one_file(name, extension=".h5"):
    """Returns a function that writes a part as one file; {} in `name` is the video's id."""

    def write_part(path: Path, videos: dict[str, np.ndarray]) -> Path:
        path = path.with_suffix(extension)
        with h5py.File(path, "w") as file:
            for video_id, values in videos.items():
                file[name.format(video_id)] = values
        return path

    return write_part


def hdf5(name):
    def write(path, values):
        with h5py.File(path, "w") as file:
            file["features" if name is None else name] = values
            if name is None:
                file["times"] = np.arange(len(values))

    return write


FORMS = {
    "npz": one_file_each(".npz", lambda path, x: np.savez(path, other=x[:1], features=x)),
    "packed npz": one_file_each(".npz", lambda path, x: np.savez_compressed(path, features=x)),
    "npz of one array": one_file_each(".npz", lambda path, x: np.savez(path, resnet=x)),
    "npy": one_file_each(".npy", np.save),
    "Fortran npy": one_file_each(".npy", lambda path, x: np.save(path, np.asfortranarray(x))),
    "h5": one_file_each(".h5", hdf5(None)),
    "hdf5 of one dataset": one_file_each(".hdf5", hdf5("resnet")),
    "pt": one_file_each(".pt", lambda path, x: save_zip(path, whole(x))),
    "legacy pth": one_file_each(".pth", lambda path, x: save_legacy(path, {"features": whole(x)})),
    "datasets": one_file("{}"),
    "groups": one_file("{}/features", ".hdf5"),
    "groups of one dataset": one_file("{}/resnet_features"),
}


def values(num_frames: int, width: int = 3, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(num_frames).standard_normal((num_frames, width)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
def test_reads_every_form(tmp_path, form, dtype):
    videos = {"a": values(4, dtype=dtype), "b.1": values(7, dtype=dtype)}
    parts = FeatureParts([FORMS[form](tmp_path / "part", videos)])
    assert parts.ids() == set(videos)
    assert parts.incomplete() == {}
    report = Report()
    for video_id, expected in videos.items():
        (part,) = parts.read(video_id, report)
        assert part.dtype == dtype
        np.testing.assert_array_equal(part, expected)
        assert parts.num_frames(video_id) == len(expected)
    assert report.counts == {}


def test_one_folder_can_hold_several_forms(tmp_path):
    videos = {form: values(5 + i) for i, form in enumerate(FORMS)}
    in_folder = [form for form in FORMS if "datasets" not in form and "groups" not in form]
    for form in in_folder:
        FORMS[form](tmp_path / "part", {form: videos[form]})
    (tmp_path / "part" / "README.txt").write_text("not features")
    parts = FeatureParts([tmp_path / "part"])
    assert parts.ids() == set(in_folder)
    for form in in_folder:
        np.testing.assert_array_equal(parts.read(form, Report())[0], videos[form])


def test_names_videos_that_lack_a_part(tmp_path):
    x = values(2)
    first = FORMS["npz"](tmp_path / "first", {"a": x, "b": x, "c": x})
    second = FORMS["npy"](tmp_path / "second", {"a": x, "b": x, "d": x})
    third = FORMS["groups"](tmp_path / "third", {"a": x, "c": x, "d": x})
    parts = FeatureParts([first, second, third])
    assert parts.ids() == {"a"}
    assert parts.incomplete() == {"b": third, "c": second, "d": first}


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    forms=st.lists(st.sampled_from(sorted(FORMS)), min_size=3, max_size=3),
)
def test_parts_may_differ_by_one_frame(lengths, forms):
    arrays = [values(length, width=i + 1) for i, length in enumerate(lengths)]
    with tempfile.TemporaryDirectory() as folder:
        parts = FeatureParts(
            [
                FORMS[form](Path(folder) / f"part{i}", {"a": array})
                for i, (form, array) in enumerate(zip(forms, arrays, strict=False))
            ]
        )
        report = Report()
        if max(lengths) - min(lengths) > 1:
            with pytest.raises(InputError, match="extract one of them again"):
                parts.read("a", report)
            with pytest.raises(InputError, match="extract one of them again"):
                parts.num_frames("a")
            return
        read = parts.read("a", report)
        assert parts.num_frames("a") == min(lengths)
    assert len(read) == len(arrays)
    for part, array in zip(read, arrays, strict=True):
        np.testing.assert_array_equal(part, array[: min(lengths)])
    assert report.counts == ({CUT: 1} if max(lengths) > min(lengths) else {})


def test_says_which_files_differ_and_by_how_much(tmp_path):
    folder = FORMS["npz"](tmp_path / "resnet", {"a": values(6), "b": values(6)})
    file = FORMS["datasets"](tmp_path / "slowfast", {"a": values(8), "b": values(7)})
    parts = FeatureParts([folder, file])
    report = Report()
    with pytest.raises(InputError) as caught:
        parts.read("a", report)
    assert str(caught.value).startswith(
        f"{folder / 'a.npz'} has 6 frames where a in {file} has 8: "
    )
    parts.read("b", report)
    assert report.examples[CUT] == [f"{folder / 'b.npz'} has 6 frames where b in {file} has 7"]
    assert parts.where("b") == f"{folder / 'b.npz'} and b in {file}"


def test_narrowed_readers_hold_their_videos_only(tmp_path):
    videos = {"first": values(3), "second": values(4)}
    parts = FeatureParts([FORMS[form](tmp_path / form, videos) for form in ("npy", "groups")])
    sent = pickle.dumps(parts.narrowed(["second", "no such video"]))
    assert b"first" not in sent
    narrowed = pickle.loads(sent)
    assert narrowed.ids() == {"second"}
    assert narrowed.num_frames("second") == 4
    for part in narrowed.read("second", Report()):
        np.testing.assert_array_equal(part, videos["second"])
    assert parts.ids() == set(videos)


@pytest.mark.parametrize("form", ["npz", "packed npz", "npy"])
def test_counts_frames_without_reading_them(tmp_path, form):
    FORMS[form](tmp_path / "part", {"a": values(500)})
    (path,) = (tmp_path / "part").iterdir()
    content = path.read_bytes()
    if path.suffix == ".npy":
        path.write_bytes(content[:200])
    else:
        middle = content.index(b"features.npy") + 2000
        path.write_bytes(content[:middle] + bytes(100) + content[middle + 100 :])
    parts = FeatureParts([tmp_path / "part"])
    assert parts.num_frames("a") == 500
    with pytest.raises(InputError, match=r"a\.np[yz] cannot be read"):
        parts.read("a", Report())


# Not an .npz of two arrays: a damaged list of contents may hide one of them.
DAMAGED = ["npz of one array", "packed npz", "npy", "h5", "pt", "legacy pth"]


@settings(max_examples=100, deadline=None)
@given(data=st.data(), form=st.sampled_from(DAMAGED))
def test_a_damaged_file_is_an_input_error(data, form):
    original = values(6)
    with tempfile.TemporaryDirectory() as folder:
        FORMS[form](Path(folder), {"a": original})
        (path,) = Path(folder).iterdir()
        content = bytearray(path.read_bytes())
        position = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            del content[position:]
        else:
            content[position] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        parts = FeatureParts([Path(folder)])
        outcomes = [
            outcome(lambda: parts.num_frames("a")),
            outcome(lambda: parts.read("a", Report())),
        ]
    for found in outcomes:
        if isinstance(found, InputError):
            assert str(path) in str(found)
            assert len(str(found).splitlines()) == 1
        elif isinstance(found, tuple) and path.suffix == ".npz":  # Others have no check sum.
            np.testing.assert_array_equal(found[0], original)


def outcome(use):
    """Returns the result of a call, or its InputError."""
    try:
        return use()
    except InputError as error:
        return error


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("extension", [".npy", ".npz"])
def test_never_unpickles(tmp_path, extension):
    save = {".npy": np.save, ".npz": np.savez}[extension]
    folder, trace = tmp_path / "part", tmp_path / "trace"
    folder.mkdir()
    save(folder / f"a{extension}", np.array([[Planted(trace)]], object))
    parts = FeatureParts([folder])
    with pytest.raises(InputError, match=r"a\.np[yz] is object\[1, 1\]"):
        parts.num_frames("a")
    with pytest.raises(InputError, match=r"a\.np[yz] cannot be read .*allow_pickle"):
        parts.read("a", Report())
    assert not trace.exists()


def several(path: Path, _) -> None:
    np.savez(path, resnet=values(2), slowfast=values(2))


def several_datasets(path: Path, _) -> None:
    with h5py.File(path, "w") as file:
        file["resnet"] = file["slowfast"] = values(2)


def no_values(path: Path, _) -> None:
    with h5py.File(path, "w") as file:
        file["empty"] = h5py.Empty("f")


SHAPES = {
    "rank 1": (np.zeros(6), r"is float64\[6\]"),
    "rank 3": (np.zeros((6, 3, 1)), r"is float64\[6, 3, 1\]"),
    "number": (np.float32(1), r"is float32\[\]"),
    "whole numbers": (np.zeros((6, 3), int), r"is int64\[6, 3\]"),
    "text": (np.array([[b"a"]]), r"is \|S1\[1, 1\]"),
    "no frames": (np.zeros((0, 3)), r"\[0, 3\]"),
    "no width": (np.zeros((3, 0)), r"\[3, 0\]"),
}
VALUES = {
    "NaN": ([[0, 0], [0, np.nan]], "has NaN or infinite values.* in frame 1"),
    "infinite": ([[np.inf, 0]], "has NaN or infinite values.* in frame 0"),
    "too large": ([[1e6, 0]], "larger ones than float16 holds, in frame 0"),
}


@pytest.mark.parametrize("form", ["npz", "npy", "h5", "datasets"])
@pytest.mark.parametrize(("wrong", "said"), SHAPES.values(), ids=SHAPES)
def test_refuses_arrays_other_than_sequences_of_vectors(tmp_path, form, wrong, said):
    path = tmp_path / "part"
    path = (
        one_file("{}")(path, {"a": wrong}) if form == "datasets" else write_one(form, path, wrong)
    )
    parts = FeatureParts([path])
    for use in (parts.num_frames, lambda video_id: parts.read(video_id, Report())):
        with pytest.raises(InputError, match=said) as caught:
            use("a")
        assert str(caught.value).startswith(parts.where("a"))


def write_one(extension: str, path: Path, wrong: np.ndarray) -> Path:
    write = {"npz": np.savez, "npy": np.save, "h5": hdf5("resnet")}[extension]
    return one_file_each(f".{extension}", write)(path, {"a": wrong})


@pytest.mark.parametrize("form", ["npz", "groups"])
@pytest.mark.parametrize(("wrong", "said"), VALUES.values(), ids=VALUES)
def test_refuses_values_that_records_cannot_hold(tmp_path, form, wrong, said):
    parts = FeatureParts([FORMS[form](tmp_path / "part", {"a": np.array(wrong)})])
    with pytest.raises(InputError, match=said) as caught:
        parts.read("a", Report())
    assert str(caught.value).startswith(parts.where("a"))


@pytest.mark.parametrize(
    ("extension", "write", "said"),
    [
        (".npz", several, r"a\.npz has no array features but \['resnet', 'slowfast'\]"),
        (".npz", lambda path, _: np.savez(path), r"a\.npz has no array features but \[\]"),
        (".h5", several_datasets, r"a\.h5 has no dataset features but \['resnet', 'slowfast'\]"),
        (".h5", no_values, r"a\.h5 is float32\[\]"),
    ],
)
def test_says_that_a_file_does_not_hold_one_array(tmp_path, extension, write, said):
    parts = FeatureParts([one_file_each(extension, write)(tmp_path / "part", {"a": None})])
    with pytest.raises(InputError, match=said):
        parts.num_frames("a")


def test_says_that_a_group_holds_no_dataset(tmp_path):
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file.create_group("a")
    parts = FeatureParts([tmp_path / "part.h5"])
    with pytest.raises(InputError, match=r"a in .*part\.h5 has no dataset features but \[\]"):
        parts.read("a", Report())


def test_says_that_a_part_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match=r"features .*nowhere are no folder"):
        FeatureParts([tmp_path / "nowhere"])
    (tmp_path / "a.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"features .*a\.npz are no folder"):
        FeatureParts([tmp_path / "a.npz"])
    (tmp_path / "damaged.h5").write_bytes(b"HDF")
    with pytest.raises(InputError, match=r"damaged\.h5 cannot be read"):
        FeatureParts([tmp_path / "damaged.h5"])
    with pytest.raises(InputError, match=r"none\.h5 holds no features: it needs a dataset or"):
        FeatureParts([FORMS["datasets"](tmp_path / "none", {})])
    with pytest.raises(InputError, match=r"empty holds no features: it needs ID\.npz"):
        FeatureParts([FORMS["npz"](tmp_path / "empty", {})])


def test_a_video_has_one_file_in_a_folder(tmp_path):
    for form in ("npz", "npy"):
        FORMS[form](tmp_path / "part", {"a": values(2)})
    with pytest.raises(InputError, match=r"part has both a\.np[yz] and a\.np[yz]: leave one"):
        FeatureParts([tmp_path / "part"])
