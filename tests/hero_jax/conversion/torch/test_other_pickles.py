"""Pickles of NumPy's arrays and files of TorchScript."""

import contextlib
import io
import pickle
import tracemalloc

import numpy as np
import pytest

from data.errors import InputError
from data.torch_files.unpickle import Pickle
from hero_jax.conversion.torch.read import read_state_dict
from tests.hero_jax.conversion.torch.torch_archives import Payload, pickled, refusal, whole
from tests.hero_jax.extractors.weight_files import (
    Script,
    python2_array,
    save_caffe2,
    save_torchscript,
    script_of,
)

# Pickles of arrays


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4)),
        np.arange(3, dtype=np.uint8),
        np.array([True, False]),
        np.array(2.5),
        np.zeros((0, 3), np.float32),
    ],
)
def test_any_array_of_python_2(tmp_path, array):
    path = save_caffe2(tmp_path / "a.pkl", {"a": array})
    got = read_state_dict(path)["a"]
    native = array.astype(array.dtype.newbyteorder("="))
    np.testing.assert_array_equal(got, native, strict=True)


def test_arrays_of_python_3_in_any_order_of_axes(tmp_path):
    array = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    views = {"a": array, "b": array.transpose(2, 0, 1), "c": array.T, "d": array[:, ::2]}
    for protocol in range(2, 6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(views, protocol))
        got = read_state_dict(tmp_path / "a.pkl")
        for name, view in views.items():
            np.testing.assert_array_equal(got[name], view, strict=True)


def test_arrays_that_are_not_whole(tmp_path):
    path, array = tmp_path / "a.pkl", np.arange(6, dtype=np.float32)
    for program in (
        python2_array(array, raw=array.tobytes()[:-1]),
        python2_array(array, raw=b""),
        python2_array(array.reshape(2, 3), raw=array.tobytes() * 2),
    ):
        save_caffe2(path, {}, a=program)
        assert "damaged" in refusal(path)
    save_caffe2(path, {"a": array})
    whole_file = path.read_bytes()
    for length in range(0, len(whole_file), 7):
        path.write_bytes(whole_file[:length])
        refusal(path)


@pytest.mark.parametrize("kind", ["O8", "U4", "S1", "V8", "M8", "c8", "f16", "f4,f4"])
def test_arrays_of_no_numbers_are_refused(tmp_path, kind):
    save_caffe2(tmp_path / "a.pkl", {}, a=python2_array(np.zeros(2), kind))
    assert f"{kind!r}, which is not of numbers" in refusal(tmp_path / "a.pkl")


def test_objects_in_an_array_are_not_executed(tmp_path):
    made = tmp_path / "made"
    content = {"a": np.array([Payload(made)], object)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, 2))
    assert "nothing in it was executed" in refusal(tmp_path / "a.pkl")
    assert not made.exists()


def test_a_pickle_of_tensors_without_their_values(tmp_path):
    program, _ = pickled({"a": whole(np.zeros(3))})
    (tmp_path / "a.pt").write_bytes(program)
    assert "is a pickle, but no PyTorch file" in refusal(tmp_path / "a.pt")


# TorchScript


def test_modules_that_are_two_or_hold_themselves(tmp_path):
    attributes = {"weight": whole(np.zeros(3), "0")}
    both = {"a": Script("A", attributes), "b": Script("B", attributes)}
    path = save_torchscript(tmp_path / "b.pt", Script("Module", both))
    assert "one module under two names, 'b' too" in refusal(path)
    attributes["itself"] = Script("A", attributes)
    path = save_torchscript(tmp_path / "c.pt", Script("Module", attributes))
    assert "one module under two names, 'itself' too" in refusal(path)


def test_names_of_modules_are_bounded(tmp_path):
    script = script_of({f"{'a' * 600}.{'b' * 600}": np.zeros(1)})
    assert "more than 1000 characters" in refusal(save_torchscript(tmp_path / "a.pt", script))


# Memory


NUMBER = b"K\x01"
KEYS = [b"X\x04\0\0\0" + b"%04d" % n for n in range(1500)]
PAIRS = b"](" + b"".join(b"](" + key + NUMBER + b"e" for key in KEYS) + b"e"
DICT = b"}(" + b"".join(key + NUMBER for key in KEYS) + b"u"
TEXT = b"X\x20\x4e\0\0" + b"a" * 20_000
REPEATED = {
    "dicts of one list": (PAIRS + b"\x85", b"ccollections\nOrderedDict\n", b"h\x02h\x01R"),
    "objects of one dict": (DICT, b"c__torch__.A\nB\n", b"h\x02)\x81h\x01b"),
    "shapes of one list": (b"](" + NUMBER * 1500 + b"e\x85", b"ctorch\nSize\n", b"h\x02h\x01R"),
    "bytes of one string": (
        TEXT + b"X\6\0\0\0latin1\x86",
        b"c_codecs\nencode\n",
        b"h\x02h\x01R",
    ),
}


@pytest.mark.parametrize("case", REPEATED)
def test_values_that_are_named_many_times_take_no_more_memory(case):
    value, symbol, repeated = REPEATED[case]
    begin = b"\x80\x02](" + value + b"q\x01" + symbol + b"q\x02"
    program = io.BytesIO(begin + repeated * 1500 + b"e.")
    tracemalloc.start()
    with contextlib.suppress(InputError):
        Pickle().load(program)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3e6


def test_an_array_under_two_names_is_read_once(tmp_path):
    array = np.arange(3)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": array, "b": array}, 2))
    got = read_state_dict(tmp_path / "a.pkl")
    assert np.shares_memory(got["a"], got["b"])


def test_messages_are_short(tmp_path):
    long = "a" * 50_000
    for content in {long: 1, f"{long}b": 2}, {"blobs": {long: np.array([None])}}:
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, 2))
        assert len(refusal(tmp_path / "a.pkl")) < 1000
