"""Pickles that hold more than tensors are refused by name without executing anything."""

import io
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.torch_files.unpickle import Pickle
from tests.hero_jax.conversion.torch.torch_archives import (
    WEIGHT,
    Payload,
    Storage,
    refusal,
    save_legacy,
    save_zip,
    tensor,
    whole,
)

SAVE = pytest.mark.parametrize("save", [save_zip, save_legacy])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "save",
    [
        lambda path, payload, protocol: save_zip(path, {"a": payload}, protocol),
        lambda path, payload, protocol: save_legacy(path, {"a": payload}, protocol),
        lambda path, payload, protocol: save_legacy(path, {}, magic=payload),
        lambda path, payload, protocol: save_legacy(path, {}, machine=payload),
        lambda path, payload, protocol: path.write_bytes(pickle.dumps(payload, protocol)),
    ],
    ids=["zip", "legacy", "legacy-magic", "legacy-machine", "pickle"],
)
def test_a_payload_is_not_executed(tmp_path, save, protocol):
    made = tmp_path / "made"
    pickle.loads(pickle.dumps(Payload(made)))
    assert made.exists(), "the payload does nothing"
    made.rmdir()
    save(tmp_path / "a.pt", Payload(made), protocol)
    sentence = refusal(tmp_path / "a.pt")
    assert f"'{os.mkdir.__module__}.mkdir'" in sentence
    assert "nothing in it was executed" in sentence
    assert not made.exists()


def program(*instructions, end=b"."):
    return b"\x80\x02" + b"".join(instructions) + end


def call(module, name, arguments=b")"):
    return f"c{module}\n{name}\n".encode() + arguments + b"R"


@SAVE
@pytest.mark.parametrize(
    ("body", "named"),
    [
        (call("builtins", "eval"), "'builtins.eval'"),
        (call("numpy._core.multiarray", "fromfile"), "'numpy._core.multiarray.fromfile'"),
        (call("numpy", "ndarray"), "damaged"),
        (call("__torch__.torch.nn", "Linear"), "damaged"),
        (b"chero.model\nHero\n)\x81", "'hero.model.Hero'"),
        (call("torch._utils", "_rebuild_sparse_tensor"), "'torch._utils._rebuild_sparse_tensor'"),
        (call("torch", "FloatStorage.from_file"), "'torch.FloatStorage.from_file'"),
        (b"\x8c\x02os\x8c\x06system\x93", "'os.system'"),
        (b"(ios\nsystem\n", "INST"),
        (b"(U\x01ao", "OBJ"),
        (b"\x82\x01", "EXT1"),
        (b"ccollections\nOrderedDict\n)\x81", "NEWOBJ"),
        (b"c__torch__.A\nB\nK\x01\x85\x81", "NEWOBJ"),
        (b"c__torch__.A\nB\n)\x81K\x01b", "damaged"),
        (b"c__torch__.A\nB\n)\x81}X\x01\0\0\0aK\x01sb}b", "damaged"),  # built twice
        (b"c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0utf-8\x86R", "damaged"),
        (b"cnumpy\ndtype\nU\x02O8\x85R", "'O8', which is not of numbers"),
        (b"cnumpy\ndtype\nU\x02f4\x85R(K\x03U\x01=NNNtb", "damaged"),
        (b"}K\x01\x85K\x02s", "a tuple as key"),
        (b"ccollections\nOrderedDict\n}X\x04\x00\x00\x00nameK\x01sb", "damaged"),
        (b"ccollections\nOrderedDict\n)\x85R", "damaged"),
        # A tuple, which may have many names.
        (b"ctorch\nSize\n(" + 65 * b"K\x01" + b"t\x85R", "damaged"),
        (b"ctorch\nFloatStorage\n)R", "damaged"),
        (b"](K\x01X\x01\x00\x00\x00au", "damaged"),
        (b"K\x01Q", "damaged"),
        (b"(K\x01K\x02K\x03K\x04K\x05tQ", "damaged"),
        (b"(X\x07\0\0\0storagectorch\nFloatStorage\nU\x01aNK\x03K\x01tQ", "damaged"),  # a view
        (b"h\x07", "damaged"),
        (b"t", "damaged"),
        (b"", "damaged"),
        (b"})" + b"\x85" * 200_000 + b"Ns", "a tuple as key"),
    ],
)
def test_content_that_no_tensor_has_is_named(tmp_path, save, body, named):
    assert named in refusal(save(tmp_path / "a.pt", (program(body), {})))


# Instructions with arguments, so that random programs get further than their first byte.
INSTRUCTIONS = [
    *(bytes([n]) for n in b"]}()tesuabRQN\x85\x86\x87\x88\x93\x94"),
    *(b"\x81", b"c__torch__.A\nB\n", b"cnumpy\ndtype\n", b"U\x02f4", b"cnumpy\nndarray\n"),
    *(b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n"),
    *(b"cnumpy._core.numeric\n_frombuffer\n", b"ctorch.jit._pickle\nbuild_intlist\n"),
    *(b"K\x00", b"K\x03", b"J\xff\xff\xff\xff", b"q\x01", b"h\x01"),
    *(b"X\x07\x00\x00\x00storage", b"X\x01\x00\x00\x00a"),
    *(b"ctorch\nFloatStorage\n", b"ctorch\nSize\n", b"ccollections\nOrderedDict\n"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n"),
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00aNK\x03tQ",
]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(INSTRUCTIONS), max_size=40))
def test_any_program_is_interpreted_or_refused(instructions):
    known = (dict, list, tuple, str, bytes, int, float, type(None))
    try:
        value = Pickle().load(io.BytesIO(program(*instructions)))
    except InputError:
        return
    assert isinstance(value, known) or type(value).__module__ == "data.torch_files.inert"


@SAVE
@pytest.mark.parametrize(
    "arguments",
    [
        (-1, (2,), (1,)),  # before the storage
        (0, (7,), (1,)),  # behind it
        (5, (2,), (1,)),
        (0, (2, 2), (5, 1)),
        (0, (2,), (-1,)),
        (1, (2,), (-1,)),
        (0, (-1,), (1,)),
        (0, (2**40, 2**40), (0, 0)),
        (0, (2,), (2**70,)),
        (0, (2,), (1, 1)),
        (0, (1,) * 70, (1,) * 70),
        (0, ("a",), (1,)),
        (1.0, (2,), (1,)),
    ],
)
def test_a_view_outside_its_storage_is_refused(tmp_path, save, arguments):
    content = {"a": tensor(Storage(np.zeros(6, np.float32), "0"), *arguments)}
    assert "damaged" in refusal(save(tmp_path / "a.pt", content))


@SAVE
def test_a_sign_yet_to_be_applied_is_refused(tmp_path, save):
    lazy = whole(WEIGHT)
    lazy.reduced = lazy.reduced[0], (*lazy.reduced[1], {"neg": True})
    assert "conjugate or sign" in refusal(save(tmp_path / "a.pt", {"a": lazy}))


@SAVE
@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([1, 2], "a value of type list"),
        (whole(WEIGHT), "a value of type tensor"),
        ({}, "no arrays"),
        (
            {"model": 1, "epoch": 3},
            "its keys are 'model', 'epoch'; dicts of tensors are under none",
        ),
        (
            {"a": {"x": whole(WEIGHT)}, "b": {"x": whole(WEIGHT)}},
            "are under 'a', 'b'",
        ),
        ({"model": {"x": whole(WEIGHT)}, "y": whole(WEIGHT)}, "its keys are 'model', 'y'"),
        ({"x": whole(WEIGHT), "step": 3}, "its keys are 'x', 'step'"),
        ({"model": {1: whole(WEIGHT)}}, "under none of them"),
        ({str(i): i for i in range(12)}, "'9' and 2 more"),
    ],
)
def test_other_content_is_described(tmp_path, save, content, named):
    assert named in refusal(save(tmp_path / "a.pt", content))


def test_two_tensors_disagree_on_their_storage(tmp_path):
    three = np.zeros(3)
    assert three.nbytes == WEIGHT.nbytes
    content = {"a": whole(WEIGHT, "0"), "b": whole(three, "0")}
    assert "damaged" in refusal(save_zip(tmp_path / "a.pt", content))


def test_a_deeply_nested_storage_key_is_refused(tmp_path):
    path = save_legacy(tmp_path / "a.pt", {"a": whole(WEIGHT)})
    raw = path.read_bytes()
    keys = pickle.dumps(["0"], protocol=2)
    path.write_bytes(raw.replace(keys, program(b"])", b"\x85" * 200_000, b"a")))
    assert "list of storages" in refusal(path)
