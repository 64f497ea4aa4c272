"""Records: round trips, what TFDS makes of them, and datasets that are the same byte for byte."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import HealthCheck, given, settings

from data.errors import InputError
from data.records import codec, tfds_layout
from data.records.alignment import align
from data.records.assembly import make_clip, make_query
from data.records.reader import QuerySplit, Split
from data.schema import DatasetMetadata, RawSubtitle
from data.tokenizer import Tokenizer
from tests.data.clip_samples import TOKENIZER, assert_equal, build, clips, queries
from tests.data.raw_samples import raw_clip, raw_query
from tests.paths import ROOT

# Importing TensorFlow takes longer than hypothesis finds normal for one example.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def serialise(clip) -> bytes:
    features = tfds_layout.clip_features(clip.frame_features.shape[1])
    return features.serialize_example(codec.encode_clip(clip))


@patient
@given(clip=clips())
def test_a_clip_comes_back_as_it_was(clip):
    decoded = codec.decode_clip(serialise(clip), clip.frame_features.shape[1])
    assert_equal(decoded, clip)


@patient
@given(query=queries())
def test_a_query_comes_back_as_it_was(query):
    data = tfds_layout.query_features().serialize_example(codec.encode_query(query))
    assert_equal(codec.decode_query(data), query)


def a_clip(**changes):
    clip = make_clip(raw_clip(0), (3, 2), TOKENIZER, 1.5)
    return dataclasses.replace(clip, **changes)


def test_decoding_views_the_records_bytes():
    data = serialise(a_clip())
    decoded = codec.decode_clip(data, 5)
    for array in (decoded.frame_features, decoded.token_ids, decoded.frame_subtitle):
        assert array.base is not None
        assert not array.flags.writeable


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frame_features": np.zeros((8, 4), np.float16)}, "32 feature values are no multiple"),
        ({"frame_features": np.zeros((7, 5), np.float16)}, "7 frames but subtitles of 8"),
        ({"token_counts": np.array([1, 1], np.int32)}, "texts, times and tokens differ"),
        ({"subtitle_starts": np.zeros(3, np.float32)}, "texts, times and tokens differ"),
        ({"subtitle_texts": ("one",)}, "texts, times and tokens differ"),
        ({"frame_subtitle": np.full(8, 2, np.int32)}, "refer to a subtitle that it does not have"),
    ],
)
def test_decoding_refuses_parts_that_do_not_fit(changes, said):
    with pytest.raises(InputError, match=said):
        codec.decode_clip(serialise(a_clip(**changes)), 5)


@pytest.mark.parametrize("name", ["duration", "video_start"])
@pytest.mark.parametrize("count", [0, 2])
def test_decoding_refuses_more_or_fewer_numbers_than_one(name, count):
    values = codec.encode_clip(a_clip()) | {name: np.zeros(count)}
    said = f"field {name} has {count} numbers instead of one"
    with pytest.raises(InputError, match=said):
        codec.decode_clip(codec.serialise(values), 5)


def test_decoding_refuses_what_is_no_clip():
    with pytest.raises(InputError, match=r"not a tf\.train\.Example"):
        codec.decode_clip(b"\xff\xff", 5)
    query = codec.serialise(codec.encode_query(make_query(raw_query(0), "query", TOKENIZER)))
    with pytest.raises(InputError, match="no field frame_features"):
        codec.decode_clip(query, 5)


def test_a_clip_is_made_of_all_that_the_raw_clip_has():
    raw = raw_clip(1, duration=12.5, story='{"a": 1}', frame_images=(b"png",) * 8)
    clip = make_clip(raw, (3, 2), TOKENIZER, 1.5)
    np.testing.assert_array_equal(clip.frame_features[:, :3], raw.features[0])
    np.testing.assert_array_equal(clip.frame_features[:, 3:], raw.features[1])
    first, second = np.split(clip.token_ids, np.cumsum(clip.token_counts)[:-1])
    assert TOKENIZER.decode(first) == "the red square 1"
    assert TOKENIZER.decode(second) == "the blue circle"
    np.testing.assert_array_equal(clip.frame_subtitle, align(raw.subtitles, 8, 1.5))
    assert (clip.duration, clip.story, clip.frame_images) == (12.5, '{"a": 1}', (b"png",) * 8)


def test_a_clip_may_have_no_subtitles_and_no_duration():
    clip = make_clip(raw_clip(1, subtitles=()), (3, 2), TOKENIZER, 1.5)
    assert clip.duration == 12.0
    assert clip.frame_subtitle.tolist() == [-1] * 8
    assert clip.token_ids.dtype == np.int32
    assert len(clip.token_counts) == len(clip.token_ids) == len(clip.subtitle_texts) == 0


def test_subtitles_are_put_in_order():
    raw = raw_clip(1)
    mixed = dataclasses.replace(raw, subtitles=raw.subtitles[::-1])
    assert_equal(make_clip(mixed, (3, 2), TOKENIZER, 1.5), make_clip(raw, (3, 2), TOKENIZER, 1.5))


def parts(first, second):
    return {"features": (np.asarray(first), np.asarray(second))}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            parts(np.zeros((8, 3)), np.zeros((8, 4))),
            r"has .* widths \(3, 4\) where other clips have \(3",
        ),
        (parts(np.zeros((8, 3)), np.zeros((7, 2))), r"has feature parts of \[8, 7\] frames"),
        (
            parts(np.zeros((0, 3)), np.zeros((0, 2))),
            "part 0 of the features of clip clip1 has no frames",
        ),
        (
            parts(np.zeros((8, 3)), np.zeros(8)),
            r"part 1 of the features of clip clip1 is float64\[8\]",
        ),
        (
            parts(np.zeros((8, 3)), np.zeros((8, 2), int)),
            r"part 1 of the features of clip clip1 is int64",
        ),
        (parts(np.full((8, 3), np.nan), np.zeros((8, 2))), "part 0 .* has NaN .* in frame 0"),
        (parts(np.zeros((8, 3)), np.full((8, 2), 1e5)), "part 1 .* has .* than float16 holds"),
        (
            {"subtitles": (RawSubtitle("a", 3.0, 2.0),)},
            r"a subtitle lasts from 3\.0 to 2\.0 seconds",
        ),
        ({"subtitles": (RawSubtitle("a", 3.0, float("nan")),)}, "a subtitle lasts from"),
    ],
)
def test_refuses_a_clip_that_cannot_be_a_record(changes, said):
    with pytest.raises(InputError, match=said) as caught:
        make_clip(raw_clip(1, **changes), (3, 2), TOKENIZER, 1.5)
    assert "clip clip1" in str(caught.value)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


SOURCE = """
import sys
from tests.data.clip_samples import build
from tests.data.raw_samples import raw_clip, raw_query
order = [int(i) for i in sys.argv[2]]
build(sys.argv[1], {"train": map(raw_clip, order)}, {"train": map(raw_query, order)})
"""


def test_a_dataset_is_the_same_in_any_process_and_order(tmp_path):
    splits = [{"train": map(raw, range(6))} for raw in (raw_clip, raw_query)]
    build(tmp_path / "0" / "films", *splits)
    subprocess.run(
        [sys.executable, "-c", SOURCE, tmp_path / "1" / "films", "531420"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"},
        check=True,
    )
    first, second = contents(tmp_path / "0" / "films"), contents(tmp_path / "1" / "films")
    assert "clips/2.0.0/films-train.tfrecord-00000-of-00001" in first
    assert first == second


@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_dataset_holds_all_clips_and_queries(tmp_path, num_shards):
    splits = {"train": range(7), "validation": range(7, 11)}
    metadata = build(
        tmp_path / "films",
        {split: map(raw_clip, numbers) for split, numbers in splits.items()},
        {"validation": map(raw_query, splits["validation"])},
        num_shards=num_shards,
        left_out={"frames cut": 3},
    )
    for name, numbers in splits.items():
        split = Split(tmp_path / "films", name)
        read = {clip.clip_id: clip for clip in map(split.read, range(len(split)))}
        assert len(split) == len(read) == len(numbers)
        for number in numbers:
            raw = raw_clip(number)
            assert_equal(read[raw.clip_id], make_clip(raw, (3, 2), TOKENIZER, 1.5))
    queries_read = QuerySplit(tmp_path / "films", "validation")
    assert len(list((tmp_path / "films" / "clips" / "2.0.0").glob("*-of-0000?"))) == 2 * num_shards
    for query in map(queries_read.read, range(len(queries_read))):
        raw = raw_query(int(query.query_id[1:]))
        assert (query.clip_id, query.text, query.moment) == (raw.clip_id, raw.text, raw.moments[0])
        assert TOKENIZER.decode(query.token_ids) == raw.text
    assert metadata == DatasetMetadata.load(tmp_path / "films") == split.metadata
    assert metadata.name == "films"
    assert metadata.feature_widths == (3, 2)
    assert metadata.feature_width == 5
    assert metadata.seconds_per_feature == 1.5
    assert metadata.tokenizer == TOKENIZER.identity
    assert metadata.special_ids == TOKENIZER.special
    assert metadata.word_ids == TOKENIZER.word_ids
    assert metadata.clips == {"train": 7, "validation": 4}
    assert metadata.queries == {"validation": 4}
    assert metadata.left_out == {"frames cut": 3}
    assert metadata.totals["frames"] == 88
    assert metadata.totals["subtitles"] == 22
    assert Tokenizer.load(tmp_path / "films").identity == TOKENIZER.identity


def test_tfds_reads_a_dataset_too(tmp_path):
    splits = {"train": [raw_clip(3)], "validation": [raw_clip(index) for index in range(4, 9)]}
    build(tmp_path / "films", splits, {"train": [raw_query(3)]}, num_shards=2)
    builder = tfds.builder_from_directory(tmp_path / "films" / "clips" / "2.0.0")
    assert (builder.name, str(builder.version)) == ("films", "2.0.0")
    lengths = {name: split.shard_lengths for name, split in builder.info.splits.items()}
    assert lengths == {"train": [1], "validation": [2, 3]}
    assert builder.info.metadata["seconds_per_feature"] == 1.5
    (clip,) = builder.as_dataset(split="train").as_numpy_iterator()
    expected = make_clip(raw_clip(3), (3, 2), TOKENIZER, 1.5)
    np.testing.assert_array_equal(clip["frame_features"], expected.frame_features)
    np.testing.assert_array_equal(clip["frame_subtitle"], expected.frame_subtitle)
    assert [text.decode() for text in clip["subtitle_texts"]] == list(expected.subtitle_texts)
    queries = tfds.builder_from_directory(tmp_path / "films" / "queries" / "2.0.0")
    (query,) = queries.as_dataset(split="train").as_numpy_iterator()
    assert query["query_id"] == b"q3"


def test_the_metadata_needs_no_tensorflow(tmp_path):
    build(tmp_path / "films", {"train": [raw_clip(0)]})
    code = (
        "import sys; from data.records.reader import Split; "
        "Split(sys.argv[1], 'train').read(0); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "films"], cwd=ROOT, check=True)


def test_refuses_an_id_that_comes_twice(tmp_path):
    twice = {"train": [raw_clip(0)], "test": [raw_clip(1), raw_clip(0)]}
    with pytest.raises(InputError, match="video clip0 occurs twice"):
        build(tmp_path / "films", twice)
    with pytest.raises(InputError, match="query q1 occurs twice"):
        build(tmp_path / "films", {"train": [raw_clip(0)]}, {"train": [raw_query(1)] * 2})


def test_replaces_a_finished_dataset_only_when_told(tmp_path):
    build(tmp_path / "films", {"train": [raw_clip(0)]}, {"train": [raw_query(0)]})
    (tmp_path / "films" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"films exists: name another folder, or .*overwrite"):
        build(tmp_path / "films", {"train": [raw_clip(1)]})
    assert Split(tmp_path / "films", "train").read(0).clip_id == "clip0"
    build(tmp_path / "films", {"train": [raw_clip(1)]}, overwrite=True)
    assert Split(tmp_path / "films", "train").read(0).clip_id == "clip1"
    assert Split(tmp_path / "films", "train").metadata.queries == {}
    assert not (tmp_path / "films" / "queries" / "2.0.0").exists()
    assert (tmp_path / "films" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["two-films", "2films", "films."])
def test_refuses_a_name_that_tfds_cannot_use(tmp_path, name):
    with pytest.raises(InputError, match="cannot be a dataset's name"):
        build(tmp_path / name, {"train": [raw_clip(0)]})


@pytest.mark.parametrize("seconds", [0.0, -1.5, float("nan")])
def test_refuses_impossible_seconds_per_feature(tmp_path, seconds):
    with pytest.raises(InputError, match="seconds_per_feature is"):
        build(tmp_path / "films", {"train": [raw_clip(0)]}, seconds_per_feature=seconds)
