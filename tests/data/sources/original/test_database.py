"""The original's databases: those its scripts wrote, and small ones written here the same way."""

import concurrent.futures
import json
import math
import multiprocessing
import pickle
import re
import sys
from pathlib import Path

import lz4.frame
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from data.errors import InputError
from data.records.alignment import align
from data.records.assembly import check_part
from data.report import Report
from data.schema import RawSubtitle, SpecialIds
from data.sources.original.database import SubtitleDatabase, VideoDatabase
from data.sources.original.queries import read_queries
from data.tokenizer import Tokenizer, normalise_subtitle
from tests.data.sources.original.original_samples import (
    LAYOUT,
    META,
    SHARED,
    SUBTITLES,
    clips_of,
    features,
    msgpack_value,
    needs_shared,
    npz_value,
    refusal,
    text_value,
    video_database,
    write_lmdb,
    write_texts,
)


@needs_shared
def test_features_are_those_that_the_original_joined(tmp_path):
    folder = LAYOUT / "video_db" / "tv" / "resnet_slowfast_1.5"
    database = VideoDatabase(folder, (128, 64))
    counts = json.loads((folder.parent / "id2nframe.json").read_text())
    assert database.ids() == counts.keys()
    assert len(counts) == 40
    report = Report()
    stored = {clip_id: database.read(clip_id, report) for clip_id in counts}
    for clip_id, parts in stored.items():
        for network, part in zip(("resnet", "slowfast"), parts, strict=True):
            path = SHARED / "tvr_text" / "features" / network / f"{clip_id}.npz"
            expected = np.load(path)["features"][: counts[clip_id]]
            np.testing.assert_array_equal(part.astype(np.float16), expected)
        assert database.num_frames(clip_id) == len(parts[0]) == counts[clip_id]
    assert not report.counts
    joined = {clip_id: np.concatenate(parts, axis=1) for clip_id, parts in stored.items()}
    values = {clip_id: npz_value(features=array) for clip_id, array in joined.items()}
    write_lmdb(tmp_path / "resnet_slowfast_1.5_compressed", values)
    compressed = VideoDatabase(tmp_path / "resnet_slowfast_1.5_compressed")
    assert compressed.ids() == database.ids()
    for clip_id, array in joined.items():
        (part,) = compressed.read(clip_id, report)
        np.testing.assert_array_equal(part, array)
        assert compressed.num_frames(clip_id) == len(array)


@needs_shared
def test_subtitles_are_those_that_the_original_prepared():
    database = SubtitleDatabase(LAYOUT / "txt_db" / "tv_subtitles.db")
    assert database.seconds_per_feature == 1.5
    assert database.tokenizer_name == "roberta-base"
    assert database.special_ids == SpecialIds(cls=0, pad=1, sep=2, mask=50264)
    tokenizer = Tokenizer.load(SHARED / "roberta_bpe")
    rows = {row["vid_name"]: row["sub"] for row in clips_of(LAYOUT / "ann" / "subtitles.jsonl")}
    assert database.ids() == rows.keys()
    counts = json.loads((LAYOUT / "video_db" / "tv" / "id2nframe.json").read_text())
    report = Report()
    for clip_id, expected in rows.items():
        subtitles = database.read(clip_id, report)
        found = [{"text": s.text, "start": s.start, "end": s.end} for s in subtitles]
        assert found == expected
        ids = [tokenizer.encode(normalise_subtitle(row["text"])) for row in expected]
        assert [list(s.token_ids) for s in subtitles] == ids
        stored = database.stored_alignment(clip_id, counts[clip_id])
        assert stored.dtype == np.int32
        np.testing.assert_array_equal(stored, align(subtitles, counts[clip_id], 1.5))
    assert not report.counts


def test_reads_both_formats_of_features(tmp_path):
    named_otherwise = msgpack_value(features(3), encode=str)
    database = VideoDatabase(video_database(tmp_path, c=named_otherwise), (3, 2))
    assert database.ids() == {"a", "b", "c"}
    for clip_id, num_frames in (("a", 4), ("b", 6), ("c", 3)):
        first, second = database.read(clip_id, Report())
        assert database.num_frames(clip_id) == num_frames
        np.testing.assert_array_equal(first, features(num_frames)[:, :3])
        np.testing.assert_array_equal(second, features(num_frames)[:, 3:])
        assert first.dtype == np.float32


@settings(max_examples=25, deadline=None)
@given(
    array=numpy_st.arrays(
        st.sampled_from(["<f2", "<f4", "<f8", ">f4"]),
        st.tuples(st.integers(1, 5), st.integers(1, 4)),
        elements=st.floats(-1000, 1000, width=16),
    )
)
def test_reads_back_any_features(tmp_path_factory, array):
    folder = tmp_path_factory.mktemp("video")
    write_lmdb(folder, {"plain": msgpack_value(array), "npz": npz_value(features=array)})
    database = VideoDatabase(folder)
    for clip_id in ("plain", "npz"):
        (part,) = database.read(clip_id, Report())
        np.testing.assert_array_equal(part, array)
        assert part.dtype == array.dtype
        assert database.num_frames(clip_id) == len(array)


def test_cuts_frames_to_the_number_beside_the_database(tmp_path):
    folder = video_database(tmp_path)
    (tmp_path / "id2nframe.json").write_text(json.dumps({"a": 3, "b": 9, "z": 1}))
    for database in (VideoDatabase(folder), VideoDatabase(folder).narrowed(["a", "b", "y"])):
        assert database.ids() == {"a", "b"}
        assert [database.num_frames(clip_id) for clip_id in "ab"] == [3, 6]
        report = Report()
        np.testing.assert_array_equal(database.read("a", report)[0], features(4)[:3])
        assert len(database.read("b", report)[0]) == 6
        assert report.counts == {"frames cut: more than id2nframe.json says": 1}
        (example,) = report.examples["frames cut: more than id2nframe.json says"]
        assert example == f"{folder}, clip a: 3 of 4 frames are kept"


def test_nan_in_frames_that_are_cut_does_not_matter(tmp_path):
    array = features(4)
    array[3, 0] = np.nan
    folder = video_database(tmp_path, a=msgpack_value(array))
    with pytest.raises(InputError, match=r"clip a has NaN .* in frame 3"):
        VideoDatabase(folder).read("a", Report())
    (tmp_path / "id2nframe.json").write_text(json.dumps({"a": 3}))
    assert len(VideoDatabase(folder).read("a", Report())[0]) == 3


def test_subtitles_that_end_before_they_begin_are_left_out(tmp_path):
    database = SubtitleDatabase(write_texts(tmp_path / "sub.db", SUBTITLES))
    report = Report()
    assert database.read("a", report) == (
        RawSubtitle("YES &amp; no", 0.5, 3.1, (4, 5)),
        RawSubtitle("later", 4.0, 6.5, ()),
    )
    assert report.counts == {"subtitles with a mistake: left out": 1}
    (example,) = report.examples["subtitles with a mistake: left out"]
    assert (
        example == f"{tmp_path}/sub.db, clip a, subtitle 1: start and end are 3.5 and 3.2 seconds"
    )
    # Of three subtitles the last is the second that is read.
    assert database.stored_alignment("a", 7).tolist() == [0, 0, -1, 1, 1, 1, -1]
    assert database.stored_alignment("a", 4).tolist() == [0, 0, -1, 1]


def test_clips_in_which_nobody_speaks_have_no_subtitles(tmp_path):
    database = SubtitleDatabase(write_texts(tmp_path / "sub.db", SUBTITLES))
    report = Report()
    for known in (database, database.narrowed(["silent"])):
        for clip_id in ("silent", "in no database"):
            assert known.read(clip_id, report) == ()
            assert known.stored_alignment(clip_id, 3).tolist() == [-1, -1, -1]
    assert database.narrowed(["silent"]).ids() == {"silent"}
    assert database.narrowed(["silent"]).read("a", report) == ()
    assert not report.counts


def read_all(database) -> dict:
    """Reads all clips of a database; it runs in a process of its own, too."""
    return {clip_id: database.read(clip_id, Report()) for clip_id in sorted(database.ids())}


def test_databases_go_to_other_processes(tmp_path):
    videos = VideoDatabase(video_database(tmp_path), (3, 2))
    subtitles = SubtitleDatabase(write_texts(tmp_path / "sub.db", SUBTITLES))
    expected = [read_all(videos), read_all(subtitles)]
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, context) as processes:
        found = list(processes.map(read_all, [videos, subtitles] * 4))
    np.testing.assert_equal(found, expected * 4)


def test_narrowed_databases_are_small(tmp_path):
    folder = video_database(tmp_path)
    (tmp_path / "id2nframe.json").write_text(json.dumps(dict.fromkeys(map(str, range(9999)), 1)))
    narrowed = pickle.dumps(VideoDatabase(folder, (3, 2)).narrowed("b"))
    assert len(narrowed) < 1000
    (parts,) = read_all(pickle.loads(narrowed)).values()
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), features(6))


def test_threads_can_read_side_by_side(tmp_path):
    folder = write_texts(tmp_path / "sub.db", SUBTITLES)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            opened = list(threads.map(SubtitleDatabase, [folder] * 1000))
            found = list(threads.map(read_all, opened))
    finally:
        sys.setswitchinterval(interval)
    assert found == [read_all(SubtitleDatabase(folder))] * 1000


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
        (None, "is no database, it has no data.mdb"),
        (b"LMDB" * 5000, "cannot be read .*MDB_INVALID"),
        (b"", "cannot be read"),
    ):
        if content is not None:
            folder.mkdir(exist_ok=True)
            (folder / "data.mdb").write_bytes(content)
        for opening in open_any(folder):
            with pytest.raises(InputError, match=f"^{folder} {said}") as caught:
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
            with pytest.raises(InputError, match=r"data\.mdb ends before its \d+ bytes"):
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
