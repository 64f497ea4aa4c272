"""Reading state dicts: files of PyTorch, files of the tests, and damaged or wrong files."""

import collections
import pickle
import struct
import tarfile
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from hero_jax.conversion.torch.read import read_state_dict
from tests.hero_jax.conversion.torch.torch_archives import (
    MACHINE,
    TYPES,
    WEIGHT,
    Call,
    Payload,
    Storage,
    pickled,
    refusal,
    save_legacy,
    save_zip,
    tensor,
    whole,
)
from tests.paths import TESTDATA

REAL = TESTDATA / "torch"
SAVE = pytest.mark.parametrize("save", [save_zip, save_legacy])


def assert_same(got, expected):
    assert list(got) == list(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, name
        np.testing.assert_array_equal(got[name], array, err_msg=name, strict=True)


# Files that can be read


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_files_written_by_pytorch(name):
    with np.load(REAL / "expected.npz") as expected:
        got = read_state_dict(REAL / name)
        assert_same(got, dict(expected))
    assert np.shares_memory(got["parameter"], got["tied"])
    assert np.shares_memory(got["base"], got["transposed"])
    assert not any(array.flags.writeable for array in got.values())


@SAVE
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_dtype_and_pickle_protocol(tmp_path, save, protocol):
    arrays = {name: (np.arange(6) % 2).reshape(2, 3).astype(name) for name in TYPES}
    content = collections.OrderedDict((name, whole(array, name)) for name, array in arrays.items())
    content._metadata = collections.OrderedDict({"": {"version": 1}})
    assert_same(read_state_dict(save(tmp_path / "a.pt", content, protocol)), arrays)


@SAVE
def test_bfloat16_becomes_float32(tmp_path, save):
    narrow = np.array([[1.5, -2.0], [3e38, 0.007]], ml_dtypes.bfloat16)
    path = save(tmp_path / "a.bin", {"a": whole(narrow, kind="BFloat16")})
    assert_same(read_state_dict(path), {"a": narrow.astype(np.float32)})


@settings(deadline=None, max_examples=60)
@given(data=st.data())
@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_any_view_of_a_shared_storage(tmp_path_factory, save, data):
    memory = np.arange(60, dtype=np.float32)
    storage, content, expected = Storage(memory, "7"), {}, {}
    for i in range(data.draw(st.integers(1, 3))):
        view = memory.reshape(data.draw(st.sampled_from([(60,), (5, 12), (3, 4, 5)])))
        view = view[
            tuple(
                slice(data.draw(st.integers(0, n)), None, data.draw(st.integers(1, 3)))
                for n in view.shape
            )
        ].transpose(data.draw(st.permutations(range(view.ndim))))
        offset = (view.__array_interface__["data"][0] - memory.ctypes.data) // 4
        # NumPy moves the start of an empty view; PyTorch's may stand anywhere in its storage.
        offset = offset if view.size else data.draw(st.integers(0, 60))
        content[f"t{i}"] = tensor(storage, offset, view.shape, tuple(n // 4 for n in view.strides))
        expected[f"t{i}"] = view
    got = read_state_dict(save(tmp_path_factory.mktemp("views") / "a.pt", content))
    assert_same(got, expected)
    if len(got) > 1 and all(array.size for array in got.values()):
        roots = {array.base.__array_interface__["data"][0] for array in got.values()}
        assert len(roots) == 1, "the storage was read more than once"


@SAVE
def test_parameters_are_their_tensors(tmp_path, save):
    hooks = collections.OrderedDict()
    content = {"a": Call("torch._utils", "_rebuild_parameter", whole(WEIGHT), True, hooks)}
    assert_same(read_state_dict(save(tmp_path / "a.pth", content)), {"a": WEIGHT})


@SAVE
def test_the_one_dict_of_tensors_is_unwrapped(tmp_path, save):
    size = Call("torch", "Size", (2, 3))
    content = {
        "state_dict": {"a": whole(WEIGHT)},
        "optimizer": {"state": {0: {"mean": whole(WEIGHT, "1")}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 3,
        "size": size,
        "best": None,
    }
    assert_same(read_state_dict(save(tmp_path / "a.pt", content)), {"a": WEIGHT})


@SAVE
def test_the_flag_that_hero_saves_beside_the_tensors_is_ignored(tmp_path, save):
    content = {"a": whole(WEIGHT), "vocab_padded": True}
    assert_same(read_state_dict(save(tmp_path / "a.pt", content)), {"a": WEIGHT})


def test_storages_outside_the_state_dict_are_not_read(tmp_path):
    content = {"model": {"a": whole(WEIGHT)}, "ema": [whole(WEIGHT, "1")]}
    path = save_zip(tmp_path / "a.pt", content)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("archive/data/1")
    damaged = bytearray(path.read_bytes())
    damaged[info.header_offset + 30 + len(info.filename)] ^= 1
    path.write_bytes(damaged)
    assert_same(read_state_dict(path), {"a": WEIGHT})


def test_the_module_prefix_is_removed_if_every_name_has_it(tmp_path):
    both = {"module.a": WEIGHT, "module.module.b": WEIGHT}
    content = {name: whole(array, name) for name, array in both.items()}
    assert list(read_state_dict(save_zip(tmp_path / "a.pt", content))) == ["a", "module.b"]
    content["c"] = whole(WEIGHT, "c")
    assert list(read_state_dict(save_zip(tmp_path / "b.pt", content))) == [*both, "c"]
    np.savez(tmp_path / "c.npz", **both)
    assert list(read_state_dict(tmp_path / "c.npz")) == ["a", "module.b"]


def test_npz_and_safetensors(tmp_path):
    arrays = {"a.weight": WEIGHT, "b": np.arange(3), "c": np.float16([1.5])}
    np.savez(tmp_path / "a.npz", **arrays)
    assert_same(read_state_dict(tmp_path / "a.npz"), arrays)
    narrow = WEIGHT.astype(ml_dtypes.bfloat16)
    safetensors.numpy.save_file({**arrays, "d": narrow}, tmp_path / "a.safetensors")
    got = read_state_dict(str(tmp_path / "a.safetensors"))
    assert_same(dict(sorted(got.items())), {**arrays, "d": WEIGHT})
    assert not any(array.flags.writeable for array in got.values())


# Files that are refused


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_a_truncated_file_is_refused(tmp_path, name):
    raw = (REAL / name).read_bytes()
    path = tmp_path / name
    for length in {0, 1, 3, 600, len(raw) - 1, *range(0, len(raw), 37)}:
        path.write_bytes(raw[:length])
        refusal(path)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "expected.npz"])
def test_a_changed_byte_is_read_or_refused(tmp_path_factory, name, data):
    raw = bytearray((REAL / name).read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / name
    path.write_bytes(raw)
    try:
        arrays = read_state_dict(path)
    except InputError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - either outcome is right
    else:
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_a_changed_value_in_a_zip_file_is_noticed(tmp_path):
    path = save_zip(tmp_path / "a.pt", {"a": whole(WEIGHT)})
    raw = path.read_bytes()
    at = raw.index(WEIGHT.tobytes())
    path.write_bytes(raw[:at] + b"\x01" + raw[at + 1 :])
    assert "its member 'data/0' cannot be read" in refusal(path)


def test_missing_files_and_unknown_kinds(tmp_path):
    for suffix in (".pt", ".npz", ".safetensors", ".txt"):
        assert "does not exist" in refusal(tmp_path / f"a{suffix}")
    (tmp_path / "folder.pt").mkdir()
    assert "is no file" in refusal(tmp_path / "folder.pt")
    (tmp_path / "a.txt").write_text("x")
    assert ".safetensors" in refusal(tmp_path / "a.txt")


@pytest.mark.parametrize("suffix", ["pt", "npz", "safetensors"])
def test_an_empty_file_and_a_web_page(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    for raw in (b"", b"<!DOCTYPE html><html>\n" * 40):
        path.write_bytes(raw)
        refusal(path)


def test_files_that_are_not_torchs(tmp_path):
    path = tmp_path / "a.pt"
    with path.open("wb") as file:
        np.savez(file, a=WEIGHT)
    assert "no data.pkl" in refusal(path)
    path.write_bytes(pickle.dumps([1], protocol=2))
    assert "no PyTorch file" in refusal(path)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("sys_info"))
    assert "tar" in refusal(path)
    save_zip(path, {"a": whole(WEIGHT)}, compression=zipfile.ZIP_DEFLATED)
    assert "compression" in refusal(path)


def test_other_machines_and_versions(tmp_path):
    path, content = tmp_path / "a.pt", {"a": whole(WEIGHT)}
    save_zip(path, content, extra=[("archive/byteorder", "big")])
    assert "big-endian" in refusal(path)
    save_legacy(path, content, machine={**MACHINE, "little_endian": False})
    assert "big-endian" in refusal(path)
    save_legacy(path, content, version=1002)
    assert "unknown version" in refusal(path)


def test_legacy_storages_that_disagree_with_the_pickle(tmp_path):
    path = tmp_path / "a.pt"
    program, storages = pickled({"a": whole(WEIGHT, "0")}, legacy=True)
    save_legacy(path, (program, {}))
    assert "list of storages" in refusal(path)
    save_legacy(path, (program, {**storages, "1": Storage(WEIGHT, "1")}))
    assert "list of storages" in refusal(path)
    save_legacy(path, (program, {"0": Storage(np.zeros(3), "0")}))
    assert "list of storages" in refusal(path)


def test_a_storage_longer_than_its_pickle_says(tmp_path):
    program, _ = pickled({"a": whole(WEIGHT)})
    path = save_zip(tmp_path / "a.pt", (program, {"0": Storage(np.zeros(7, np.float32), "0")}))
    assert "tensor 'a'" in refusal(path)


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.array([{}], object), "Python objects under 'a'"),
        (np.array(["x"]), "no array of numbers under 'a'"),
        (WEIGHT.astype(ml_dtypes.bfloat16), "no array of numbers under 'a'"),
    ],
)
def test_npz_with_other_content(tmp_path, array, named):
    np.savez(tmp_path / "a.npz", a=array)
    assert named in refusal(tmp_path / "a.npz")


def test_npz_object_arrays_are_not_executed(tmp_path):
    made = tmp_path / "made"
    np.savez(tmp_path / "a.npz", a=np.array([Payload(made)], object))
    assert "nothing in it was executed" in refusal(tmp_path / "a.npz")
    assert not made.exists()


def test_safetensors_of_a_dtype_numpy_lacks(tmp_path):
    path = tmp_path / "a.safetensors"
    narrow = WEIGHT.astype(ml_dtypes.float8_e4m3fn)
    header = b'{"a":{"dtype":"F8_E4M3","shape":[2,3],"data_offsets":[0,6]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + narrow.tobytes())
    assert "'a' as F8_E4M3" in refusal(path)
