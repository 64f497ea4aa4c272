"""Damaged and wrong databases of features and subtitles, and the messages about them."""

import json
import math
import re
from pathlib import Path

import lz4.frame
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.records.assembly import check_part
from data.report import Report
from data.sources.original.database import SubtitleDatabase, VideoDatabase
from data.sources.original.queries import read_queries
from tests.data.sources.original.original_samples import (
    META,
    SUBTITLES,
    features,
    msgpack_value,
    npz_value,
    refusal,
    text_value,
    video_database,
    write_lmdb,
    write_texts,
)

GOOD = msgpack_value(features(4))


GOOD_NPZ = npz_value(features=features(4))


VALUES = {
    "nothing": (b"", r"cannot be read \(ValueError: "),
    "text": (b"features", "cannot be read"),
    "cut msgpack": (GOOD[:60], "cannot be read"),
    "list": (msgpack.dumps([1]), "cannot be read"),
    "no features": (msgpack.dumps({"feature": 1}), r"cannot be read \(KeyError: 'features'\)"),
    "no array": (msgpack.dumps({"features": [[1.5]]}), "cannot be read"),
    "other shape": (msgpack_value(features(4), shape=[4, 6]), "cannot be read"),
    "objects": (msgpack_value(features(4), type="|O", kind=b"O"), "cannot be read"),
    "type": (msgpack_value(features(4), type=","), "cannot be read"),
    "integers": (msgpack_value(features(4, dtype=np.int32)), r"is int32\[4, 5\]"),
    "rank 1": (msgpack_value(np.zeros(3)), r"has features \[3\]: \[frames, width\]"),
    "no frames": (msgpack_value(features(0)), r"has features \[0, 5\]"),
    "infinite": (msgpack_value(features(4) + np.inf), "has NaN or infinite values"),
    "cut npz": (GOOD_NPZ[:-30], r"cannot be read \(BadZipFile"),
    "spoiled npz": (GOOD_NPZ[:90] + bytes(9) + GOOD_NPZ[99:], "cannot be read"),
    "npz without features": (npz_value(feature=features(4)), r"cannot be read .*features\.npy"),
    "npz of objects": (npz_value(features=np.array([[{}]])), "cannot be read"),
    "npz of rank 3": (npz_value(features=np.zeros((2, 3, 1))), r"has features \[2, 3, 1\]"),
}


@pytest.mark.parametrize(("value", "said"), VALUES.values(), ids=VALUES)
def test_says_which_features_cannot_be_used(tmp_path, value, said):
    database = VideoDatabase(video_database(tmp_path, a=value))
    with pytest.raises(
        InputError, match=f"^{tmp_path}/resnet_slowfast_1.5, clip a {said}"
    ) as caught:
        database.read("a", Report())
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("array", [np.zeros(3), features(0), np.zeros((2, 3, 1))])
@pytest.mark.parametrize("value", [msgpack_value, lambda array: npz_value(features=array)])
def test_features_of_another_shape_have_no_number_of_frames(tmp_path, array, value):
    database = VideoDatabase(video_database(tmp_path, a=value(array)))
    with pytest.raises(InputError, match=re.escape(f"clip a has features {list(array.shape)}: ")):
        database.num_frames("a")


@settings(max_examples=60, deadline=None)
@given(
    value=st.sampled_from([GOOD, GOOD_NPZ]),
    where=st.integers(0, 500),
    replaced=st.integers(0, 9),
    by=st.binary(max_size=9),
)
def test_damaged_features_are_an_input_error_or_still_features(
    tmp_path_factory, value, where, replaced, by
):
    where %= len(value)
    folder = tmp_path_factory.mktemp("damaged")
    write_lmdb(folder, {"a": value[:where] + by + value[where + replaced :] or b"x"})
    database = VideoDatabase(folder)
    for said in (
        refusal(lambda: check_part(*database.read("a", Report()), "it")),
        refusal(lambda: database.num_frames("a")),
    ):
        assert not said or said.startswith(f"{folder}, clip a ")


def test_says_what_else_is_wrong_with_a_database_of_features(tmp_path):
    folder = video_database(tmp_path)
    with pytest.raises(InputError, match=r"clip b has features 5 wide, .* parts of 2 \+ 2: "):
        VideoDatabase(folder, (2, 2)).read("b", Report())
    with pytest.raises(InputError, match="clip z is missing"):
        VideoDatabase(folder).read("z", Report())
    for content, said in (("{", "it is not JSON"), ("[]", "it has to be an object in braces")):
        (tmp_path / "id2nframe.json").write_text(content)
        with pytest.raises(InputError, match=rf"id2nframe\.json.*{said}"):
            VideoDatabase(folder)
    for count in (0, "4", None, 3.0):
        (tmp_path / "id2nframe.json").write_text(json.dumps({"a": count}))
        said = rf"id2nframe\.json says that clip a has {count!r} frames"
        with pytest.raises(InputError, match=said):
            VideoDatabase(folder).read("a", Report())
        with pytest.raises(InputError, match=said):
            VideoDatabase(folder).num_frames("a")


def open_any(folder: Path) -> list:
    """The three ways to open a database."""
    return [
        lambda: VideoDatabase(folder),
        lambda: SubtitleDatabase(folder),
        lambda: read_queries(folder, Report()),
    ]


def test_says_that_a_folder_is_no_database(tmp_path):
    folder = tmp_path / "tv.db"
    for content, said in (
        (None, " is no database, it has no data.mdb"),
        (b"LMDB" * 5000, r"/data\.mdb cannot be read \(.*no file of LMDB"),
        (b"", r"/data\.mdb cannot be read"),
    ):
        if content is not None:
            folder.mkdir(exist_ok=True)
            (folder / "data.mdb").write_bytes(content)
        for opening in open_any(folder):
            with pytest.raises(InputError, match=f"^{folder}{said}") as caught:
                opening()
            assert len(str(caught.value).splitlines()) == 1


def test_a_truncated_file_does_not_crash_the_process(tmp_path):
    values = {str(i): {"desc": "x" * 3000, "input_ids": [1]} for i in range(50)}
    folder = write_texts(tmp_path / "tv.db", values)
    assert len(read_queries(folder, Report())[1]) == 50
    content = (folder / "data.mdb").read_bytes()
    for size in (9000, len(content) // 2, len(content) - 1):
        (folder / "data.mdb").write_bytes(content[:size])
        for opening in open_any(folder):
            with pytest.raises(InputError, match=r"data\.mdb .* has \d+ of its \d+ bytes"):
                opening()


def test_keys_have_to_be_text(tmp_path):
    write_lmdb(tmp_path / "tv.db", {b"\xff": text_value({})})
    (tmp_path / "tv.db" / "meta.json").write_text(json.dumps(META))
    for opening in open_any(tmp_path / "tv.db"):
        with pytest.raises(InputError, match=r"tv\.db cannot be read \(UnicodeDecodeError"):
            opening()


META_MISTAKES = {
    "no meta": (None, r"meta\.json is missing"),
    "list": ([], "it has to be an object"),
    "no frame_length": (META | {"frame_length": None}, "frame_length is missing"),
    "frame_length": (META | {"frame_length": 0}, r"frame_length is 0\.0"),
    "no tokenizer": (META | {"tokenizer": None}, "tokenizer is missing"),
    "no mask": (META | {"MASK": None}, "'MASK': None"),
}


@pytest.mark.parametrize(("meta", "said"), META_MISTAKES.values(), ids=META_MISTAKES)
def test_says_what_is_wrong_in_meta_json(tmp_path, meta, said):
    folder = write_texts(tmp_path / "sub.db", SUBTITLES, meta)
    with pytest.raises(InputError, match=rf"sub\.db/meta\.json.*{said}" if meta else said):
        SubtitleDatabase(folder)


def changed(number: int, **changes) -> dict:
    """Clip a with other values in one of its subtitles."""
    value = json.loads(json.dumps(SUBTITLES["a"]))
    value["sub"][number] |= changes
    return value


A = SUBTITLES["a"]


SUBTITLE_MISTAKES = {
    "no sub": ({k: A[k] for k in A.keys() - {"sub"}}, ": sub is missing"),
    "no ids": ({k: A[k] for k in A.keys() - {"input_ids"}}, ": input_ids is missing"),
    "fewer ids": (A | {"input_ids": [[1]]}, ": sub has 3 entries, input_ids 1"),
    "nested ids": (A | {"input_ids": [[1], [[2]], [3]]}, ", subtitle 1: input_ids has to hold"),
    "negative ids": (A | {"input_ids": [[-1], [2], [3]]}, ", subtitle 0: input_ids has to hold"),
    "no text": (changed(2, text=None), ", subtitle 2: text is missing"),
    "no start": (changed(0, start=None), ", subtitle 0: start is missing"),
    "end": (changed(0, end="0:01"), ", subtitle 0: end has to be a number"),
    "NaN": (changed(0, end=math.nan), ", subtitle 0: end is not finite"),
    "text for a subtitle": (A | {"sub": ["hi", "ho", "ha"]}, ", subtitle 0: it has to be an obj"),
    "no fields": ([1], ": it has to be an object"),
}


@pytest.mark.parametrize(("value", "said"), SUBTITLE_MISTAKES.values(), ids=SUBTITLE_MISTAKES)
def test_says_which_subtitles_cannot_be_used(tmp_path, value, said):
    database = SubtitleDatabase(write_texts(tmp_path / "sub.db", SUBTITLES | {"a": value}))
    for method in (lambda: database.read("a", Report()), lambda: database.stored_alignment("a", 9)):
        with pytest.raises(InputError, match=f"^{tmp_path}/sub.db, clip a{said}") as caught:
            method()
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "pairs", [None, [3], [[0, 1]], [[0, [-1]]], [[0, [2**63]]], [["0", [1]]], [[0, ["1"]]]]
)
def test_says_which_alignment_cannot_be_used(tmp_path, pairs):
    values = {"a": SUBTITLES["a"] | {"unique_sub2frames": pairs}}
    database = SubtitleDatabase(write_texts(tmp_path / "sub.db", values))
    assert len(database.read("a", Report())) == 2
    with pytest.raises(InputError, match="clip a: unique_sub2frames "):
        database.stored_alignment("a", 9)


@pytest.mark.parametrize("value", [b"", b"\x04", text_value({"sub": []})[:-9], b"x" * 40])
def test_says_which_text_cannot_be_decoded(tmp_path, value):
    folder = write_texts(tmp_path / "tv.db", {})
    write_lmdb(folder, {"7": value})
    with pytest.raises(InputError, match=r"tv\.db, clip 7 cannot be read \("):
        SubtitleDatabase(folder).read("7", Report())
    with pytest.raises(InputError, match=r"tv\.db, query 7 cannot be read \("):
        read_queries(folder, Report())
    write_lmdb(folder, {"7": lz4.frame.compress(b"\xc1")})
    with pytest.raises(InputError, match=r"tv\.db, query 7 cannot be read \(FormatError"):
        read_queries(folder, Report())
