"""The original's databases: those its scripts wrote, and small ones written here the same way."""

import concurrent.futures
import json
import multiprocessing
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from data.errors import InputError
from data.records.alignment import align
from data.report import Report
from data.schema import RawSubtitle, SpecialIds
from data.sources.original.database import SubtitleDatabase, VideoDatabase
from data.tokenizer import Tokenizer, normalise_subtitle
from tests.data.sources.original.original_samples import (
    LAYOUT,
    SHARED,
    SUBTITLES,
    clips_of,
    features,
    msgpack_value,
    needs_shared,
    npz_value,
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
